//! The commands that the store needs, in one list: scripts call them, or the store itself.
//!
//! `docs/operations.md` has the same list as a line of an ACL. A test below reads every script and every call of the sources
//! and holds the list to them.

/// A command, and a call of it for a script that tries whether it may be run.
pub(super) struct Command {
    pub(super) name: &'static str,
    /// Arguments with which it changes nothing, on a key that holds a string; `KEY` stands for that key. `None` for what no
    /// script may call.
    pub(super) trial: Option<&'static str>,
    /// Whether a decision needs it: without it, limits fail.
    pub(super) decides: bool,
}

const fn decides(name: &'static str, trial: &'static str) -> Command {
    Command {
        name,
        trial: Some(trial),
        decides: true,
    }
}

const fn other(name: &'static str, trial: &'static str) -> Command {
    Command {
        name,
        trial: Some(trial),
        decides: false,
    }
}

/// A command that no script may call: `HELLO` and `AUTH` are free to everybody, and `SELECT` is needed with a database alone.
const fn direct(name: &'static str, decides: bool) -> Command {
    Command {
        name,
        trial: None,
        decides,
    }
}

/// `SET` comes first: the key that it makes is what the others are tried on. `UNLINK` comes last.
pub(super) const COMMANDS: &[Command] = &[
    decides("SET", "KEY x PX 60000"),
    decides("APPEND", "KEY x"),
    decides("GETRANGE", "KEY 0 0"),
    decides("PEXPIRE", "KEY 60000"),
    decides("RENAME", "KEY KEY"),
    decides("SETRANGE", "KEY 0 x"),
    decides("STRLEN", "KEY"),
    decides("TIME", ""),
    other("HDEL", "KEY f"),
    other("HGET", "KEY f"),
    other("HINCRBY", "KEY f 1"),
    other("HKEYS", "KEY"),
    decides("HLEN", "KEY"),
    other("HMGET", "KEY f"),
    other("HSET", "KEY f x"),
    other("HSTRLEN", "KEY f"),
    other("INFO", "memory"),
    other("PFADD", "KEY x"),
    other("PFCOUNT", "KEY"),
    other("PTTL", "KEY"),
    decides("TYPE", "KEY"),
    other("ZADD", "KEY 1 x"),
    decides("ZCARD", "KEY"),
    other("ZCOUNT", "KEY 0 1"),
    other("ZRANGE", "KEY 0 1"),
    other("ZREM", "KEY x"),
    other("ZREMRANGEBYRANK", "KEY 0 1"),
    other("ZREMRANGEBYSCORE", "KEY 0 1"),
    other("ZREVRANGE", "KEY 0 1"),
    other("ZSCAN", "KEY 0"),
    other("ZSCORE", "KEY x"),
    decides("PEXPIREAT", "KEY 1"),
    decides("UNLINK", "KEY"),
    direct("EVAL", true),
    direct("EVALSHA", true),
    // Of the pool of the other connections, which makes a new one each time without them.
    direct("PING", false),
    direct("UNWATCH", false),
];

/// Whether palisade needs a command of this name, which is in capitals; `HELLO` is named where a server refuses it.
pub(super) fn is_needed(name: &str) -> bool {
    name == "HELLO" || COMMANDS.iter().any(|command| command.name == name)
}

/// The first command that a line of a script calls.
pub(super) fn called_in(line: &str) -> Option<&str> {
    let (_, rest) = line
        .split_once("l('")
        .or_else(|| line.split_once("try('"))?;
    let (name, _) = rest.split_once('\'')?;
    Some(name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;

    fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(files(&path, extension));
            } else if path.extension().is_some_and(|it| it == extension) {
                found.push(path);
            }
        }
        found
    }

    fn sources() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/redis")
    }

    /// Every command of a script; a call of anything but a name written out would escape the list.
    fn called(script: &str) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for line in script.lines() {
            let code = line.split("--").next().unwrap_or_default();
            for call in ["call(", "try("] {
                for (at, _) in code.match_indices(call) {
                    let rest = &code[at + call.len()..];
                    let name = rest.strip_prefix('\'').and_then(|it| it.split('\'').next());
                    names.insert(name.unwrap_or_else(|| panic!("{line}")).to_owned());
                }
            }
        }
        names
    }

    #[test]
    fn every_command_of_the_sources_is_on_the_list_and_every_one_of_the_list_in_the_sources() {
        let mut used = BTreeSet::from(["EVAL", "EVALSHA", "PING", "UNWATCH"].map(str::to_owned));
        let mut deciding = BTreeSet::from(["EVAL", "EVALSHA"].map(str::to_owned));
        for path in files(&sources(), "lua") {
            if path.ends_with("try_commands.lua") {
                continue;
            }
            let script = std::fs::read_to_string(&path).unwrap();
            let called = called(&script);
            if path.ends_with("admit_request.lua") {
                deciding.extend(called.iter().cloned());
            }
            used.extend(called);
        }
        for path in files(&sources(), "rs") {
            let source = std::fs::read_to_string(&path).unwrap();
            for call in [
                concat!("Call::", "command(\""),
                concat!("redis::", "cmd(\""),
            ] {
                let names = source.split(call).skip(1);
                used.extend(names.map(|rest| rest.split('"').next().unwrap().to_owned()));
            }
        }
        // Free to everybody, and asked for by the examination alone, which does without.
        for free in ["HELLO", "CONFIG"] {
            assert!(used.remove(free), "{free}");
        }
        let listed: BTreeSet<_> = COMMANDS.iter().map(|it| it.name.to_owned()).collect();
        assert_eq!(used, listed);
        assert_eq!(COMMANDS.len(), listed.len(), "one is listed twice");
        let decides = COMMANDS.iter().filter(|it| it.decides);
        let decides: BTreeSet<_> = decides.map(|it| it.name.to_owned()).collect();
        assert_eq!(deciding, decides);
    }

    #[test]
    fn operators_are_told_of_the_same_commands() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
        let text = std::fs::read_to_string(path).unwrap();
        let line = text.lines().find(|line| line.starts_with("ACL SETUSER"));
        let allowed = line
            .unwrap()
            .split(' ')
            .filter_map(|it| it.strip_prefix('+'));
        let allowed: BTreeSet<_> = allowed.map(str::to_ascii_uppercase).collect();
        let listed: BTreeSet<_> = COMMANDS.iter().map(|it| it.name.to_owned()).collect();
        assert_eq!(allowed, listed);
    }

    #[test]
    fn finds_the_command_of_a_line() {
        assert_eq!(called_in("local time = call('TIME')"), Some("TIME"));
        assert_eq!(
            called_in("  local size = try('STRLEN', key)"),
            Some("STRLEN")
        );
        assert_eq!(
            called_in("if redis.pcall('GETRANGE', KEYS[1]) then"),
            Some("GETRANGE")
        );
        assert_eq!(called_in("local stamp = struct.pack('>I5', now)"), None);
    }
}
