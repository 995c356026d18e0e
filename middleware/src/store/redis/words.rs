//! What the server, or the way to it, said of a call, in words that name the cause and hold no credential: the edge where
//! foreign text becomes an error of ours.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::commands;
use super::error::{Cause, Failure, Refusal};
use super::secrets::Secrets;

/// What a call was for: only the first commands of a connection carry the password.
#[derive(Clone, Copy)]
pub(super) enum During<'a> {
    /// `HELLO` with `AUTH`, and `SELECT`.
    Connecting,
    /// A command, or a script by its text.
    Call(Option<&'a str>),
}

pub(super) const CLUSTER: &str = "the server is a node of a Redis Cluster, which palisade does not support yet: name a \
                                  single Redis, or the current master behind Sentinel";
pub(super) const SENTINEL: &str = "the server is a Sentinel, which keeps no data: name the Redis that it watches, its current master";
pub(super) const REPLICA: &str = "the server is a read-only replica: name its master";

/// Why a call failed.
pub(super) fn failure(error: &RedisError, during: During<'_>, secrets: &Secrets) -> Failure {
    if error.is_timeout() {
        return Failure::Timeout;
    }
    let kind = error.kind();
    let answered = matches!(
        kind,
        ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::AuthenticationFailed
    ) || kind == ErrorKind::RESP3NotSupported;
    let foreign = || secrets.guard(&error.to_string());
    let is_write_to_a_replica = kind == ErrorKind::Server(ServerErrorKind::ReadOnly);
    let (cause, words) = if let Some(words) = stranger(error) {
        (Cause::Connection, words)
    } else if !answered {
        (Cause::Connection, foreign())
    } else if is_write_to_a_replica {
        // It answers what only reads.
        (Cause::Denied, REPLICA.to_owned())
    } else if let Some(words) = known(error) {
        (Cause::Unfit, words.to_owned())
    } else if error.code() == Some("WRONGTYPE") {
        (Cause::WrongType, foreign())
    } else {
        match during {
            During::Connecting => (Cause::Unfit, of_connecting(error, secrets)),
            During::Call(script) => match denied(error, script) {
                Some(words) => (Cause::Denied, words),
                None => (Cause::Other, foreign()),
            },
        }
    };
    Refusal::new(cause, words).into()
}

/// What answers in another protocol, by the first byte that is none of RESP's, or by what TLS met in its place.
fn stranger(error: &RedisError) -> Option<String> {
    let said = error.to_string();
    if said.contains("InvalidContentType") {
        return Some(
            "what answers at this address does not speak TLS: name it by redis://, or the port of the server that does"
                .to_owned(),
        );
    }
    if error.kind() != ErrorKind::Parse {
        return None;
    }
    // The last of them is what stands first.
    let (_, rest) = said.rsplit_once("Unexpected `")?;
    let (byte, _) = rest.split_once('`')?;
    let what = match byte.parse().ok()? {
        // `HTTP/1.1 400 Bad Request`, or a page alone.
        b'H' | b'<' => "an HTTP server, not Redis".to_owned(),
        // An alert, or a handshake.
        0x15 | 0x16 => "a server that speaks TLS: name it by rediss://".to_owned(),
        byte => format!("no Redis: its answer begins with byte 0x{byte:02x}"),
    };
    Some(format!("what answers at this address is {what}"))
}

/// What would meet every other call too, by the code of the server's answer.
fn known(error: &RedisError) -> Option<&'static str> {
    Some(match error.kind() {
        ErrorKind::Server(
            ServerErrorKind::CrossSlot
            | ServerErrorKind::Moved
            | ServerErrorKind::Ask
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::TryAgain,
        ) => CLUSTER,
        ErrorKind::Server(ServerErrorKind::MasterDown) => REPLICA,
        _ => match error.code()? {
            "WRONGPASS" => {
                "the server refuses the user name or the password of the URL (WRONGPASS)"
            }
            "NOAUTH" => "the server wants a password, and the URL has none (NOAUTH)",
            _ => return None,
        },
    })
}

/// The server's answer to the commands that begin a connection is not repeated: it may echo what it was sent.
fn of_connecting(error: &RedisError, secrets: &Secrets) -> String {
    let said = error.detail().unwrap_or_default();
    let says = |part: &str| error.to_string().contains(part);
    if says("not allowed in cluster mode") {
        return CLUSTER.to_owned();
    }
    if error.kind() == ErrorKind::RESP3NotSupported || said.starts_with("unknown command") {
        return "the server does not know the command `HELLO`: palisade needs Redis 6.2 or newer, with `HELLO` under its own \
                name"
            .to_owned();
    }
    if says("refused to switch database") {
        return "the server refuses the database of the URL (SELECT)".to_owned();
    }
    if says("max number of clients") {
        return "the server has as many clients as it allows (maxclients)".to_owned();
    }
    if error.kind() == ErrorKind::Server(ServerErrorKind::BusyLoading) {
        return "the server is loading its data (LOADING)".to_owned();
    }
    let is_code = |code: &&str| {
        (2..=16).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_uppercase())
    };
    let code = error
        .code()
        .filter(is_code)
        .map_or_else(String::new, |code| secrets.guard(code));
    let code = if code.is_empty() {
        code
    } else {
        format!(" ({code})")
    };
    format!(
        "the server refuses the first commands of a connection{code}; its words are not repeated, for they may hold the password"
    )
}

/// What is said of a command that this user may not run or that the server does not have: its name, where the server's own
/// words have but the line of a script.
fn denied(error: &RedisError, script: Option<&str>) -> Option<String> {
    let said = error.detail()?;
    let reason = Reason::of(error)?;
    let command = quoted(said)
        .map(str::to_ascii_uppercase)
        .filter(|name| commands::is_needed(name))
        .or_else(|| {
            let line = line_of(said)?.checked_sub(1)?;
            commands::called_in(script?.lines().nth(line)?).map(str::to_owned)
        });
    Some(reason.says(command.as_deref()))
}

/// Why a command is refused, whatever its arguments say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// The server has no such command: it is renamed, or too new.
    Unknown,
    /// The ACL of the user does not allow it.
    Denied,
    /// The ACL of the user does not cover the key.
    Key,
}

impl Reason {
    /// A sentence about the command, if it is known, without a full stop.
    pub(super) fn says(self, command: Option<&str>) -> String {
        let (named, wanted) = match command {
            Some(name) => (
                format!("the command `{name}`"),
                format!("wants `+{}`", name.to_ascii_lowercase()),
            ),
            None => (
                "a command that palisade needs".to_owned(),
                "wants it".to_owned(),
            ),
        };
        match self {
            Self::Unknown => {
                format!("the server does not know {named}: it is renamed, or the server too old")
            }
            Self::Denied => format!("the user may not run {named}: its ACL {wanted}"),
            Self::Key => {
                "the user may not use the keys of palisade: its ACL wants `~<prefix>*`".to_owned()
            }
        }
    }

    pub(super) fn of(error: &RedisError) -> Option<Self> {
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::NoPerm) => {
                Self::of_words(error.detail()?).or(Some(Self::Denied))
            }
            ErrorKind::Server(ServerErrorKind::ResponseError) | ErrorKind::Extension => {
                Self::of_words(error.detail()?)
            }
            _ => None,
        }
    }

    /// Reads the words of Redis 6.2 and later, of a command or of one in a script.
    pub(super) fn of_words(said: &str) -> Option<Self> {
        let said = said.to_ascii_lowercase();
        let has = |parts: &[&str]| parts.iter().any(|part| said.contains(part));
        if has(&["unknown command", "unknown redis command"]) {
            Some(Self::Unknown)
        } else if has(&[
            "can't access at least one of the keys",
            "permissions to access",
        ]) {
            Some(Self::Key)
        } else if has(&["can't run this command", "no permissions to run"]) {
            Some(Self::Denied)
        } else {
            None
        }
    }
}

/// What stands between the first two quotes.
fn quoted(said: &str) -> Option<&str> {
    let (_, rest) = said.split_once(['\'', '`'])?;
    let (name, _) = rest.split_once(['\'', '`'])?;
    Some(name)
}

/// The line of a script that the server names: `@user_script:58` or `@user_script: 58`.
fn line_of(said: &str) -> Option<usize> {
    let (_, rest) = said.split_once("user_script:")?;
    let rest = rest.trim_start();
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    rest[..end].parse().ok()
}
