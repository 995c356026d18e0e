//! The commands of the documents: what they run is there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use palisade_tests::repository;
use regex::Regex;
use serde_json::Value;

/// A program, test or example that a package builds: its kind, its name and where its source starts.
type Target = (String, String, PathBuf);

fn packages() -> BTreeMap<String, Vec<Target>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .current_dir(repository::path(""))
        .output()
        .expect("cargo runs");
    let read: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let target = |target: &Value| {
        let path = PathBuf::from(text(&target["src_path"]));
        (text(&target["kind"][0]), text(&target["name"]), path)
    };
    let package = |package: &Value| {
        let targets = package["targets"].as_array().expect("a list");
        (text(&package["name"]), targets.iter().map(target).collect())
    };
    let packages = read["packages"].as_array().expect("a list");
    packages.iter().map(package).collect()
}

/// The names of all tests whose source starts at `main`.
fn tests(main: &Path) -> Vec<String> {
    let test = Regex::new(r"#\[(?:tokio::)?test[^\n]*\n(?:\s*#\[[^\n]*\n)*\s*(?:async )?fn (\w+)");
    let test = test.expect("a pattern");
    let mut found = Vec::new();
    let mut folders = vec![(main.parent().expect("a folder").to_owned(), String::new())];
    while let Some((folder, module)) = folders.pop() {
        for entry in folder.read_dir().expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_stem().expect("a name").to_string_lossy();
            if path.is_dir() {
                folders.push((path.clone(), format!("{module}{name}::")));
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let module = match &*name {
                    "main" | "mod" => module.clone(),
                    name => format!("{module}{name}::"),
                };
                let source = std::fs::read_to_string(&path).expect("a source");
                let names = test.captures_iter(&source);
                found.extend(names.map(|name| format!("{module}{}", &name[1])));
            }
        }
    }
    found
}

/// The lines and the pieces of code of a document, of a script, or of a source's comments.
fn code(file: &str, text: &str) -> Vec<String> {
    let lines = |text: &str| -> Vec<String> {
        let joined = text.replace("\\\n", " ");
        joined.lines().map(str::to_owned).collect()
    };
    let text = match file.rsplit_once('.') {
        Some((_, "md")) => text.to_owned(),
        Some((_, "rs")) => {
            let comments = text.lines().filter_map(|line| {
                let line = line.trim_start().strip_prefix("//")?;
                Some(line.trim_start_matches(['/', '!']))
            });
            comments.collect::<Vec<_>>().join("\n")
        }
        _ => return lines(text),
    };
    let mut found = Vec::new();
    for (n, part) in text.split("```").enumerate() {
        if n % 2 == 1 {
            found.extend(lines(part));
        } else {
            let pieces = part.split('`').skip(1).step_by(2);
            found.extend(pieces.map(|piece| piece.replace('\n', " ")));
        }
    }
    found
}

/// What of a command of cargo, or of the end of one, is not there.
fn missing(code: &str, packages: &BTreeMap<String, Vec<Target>>) -> Option<String> {
    let start = code.find("cargo ").or_else(|| code.find("--test "))?;
    let command = code[start..].split(['#', ';', '|', '&', ')', '`']).next()?;
    let mut words = command.split_whitespace().peekable();
    let tests_something = match words.next_if_eq(&"cargo") {
        None => true,
        Some(_) => match words.next()? {
            verb @ ("test" | "run" | "bench" | "build") => verb == "test",
            _ => return None,
        },
    };
    let (mut package, mut wanted, mut filter) = (None, Vec::new(), None);
    while let Some(word) = words.next() {
        match word {
            "--" => break,
            "-p" | "--package" => package = words.next(),
            "--test" | "--bin" | "--example" | "--bench" => {
                wanted.push((&word[2..], words.next()?));
            }
            // Another workspace.
            "--manifest-path" => return None,
            "--features" | "--target-dir" | "--target" | "--config" => {
                words.next();
            }
            word if word.starts_with('-') => {}
            word if tests_something => filter = filter.or(Some(word)),
            _ => {}
        }
    }
    // The program of a shell's variable is not for this test to find.
    let package = package.filter(|name| !name.contains(['$', '"']));
    if package.is_some_and(|name| !packages.contains_key(name)) {
        return Some(format!("no package {package:?}"));
    }
    let candidates = || {
        let all = packages.iter();
        all.filter(|(name, _)| package.is_none_or(|package| package == **name))
            .flat_map(|(_, targets)| targets)
    };
    for (kind, name) in wanted {
        let mut targets = candidates().filter(|target| (&*target.0, &*target.1) == (kind, name));
        let Some((_, _, main)) = targets.next() else {
            return Some(format!("no {kind} {name}"));
        };
        let matches = |filter: &&str| tests(main).iter().any(|test| test.contains(*filter));
        if kind == "test" && filter.is_some_and(|filter| !matches(&filter)) {
            return Some(format!("no test {filter:?} in {name}"));
        }
    }
    None
}

#[test]
fn every_command_of_a_document_names_what_is_there() {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(repository::path(""))
        .output()
        .expect("git runs");
    let listed = String::from_utf8(listed.stdout).expect("UTF-8");
    let (packages, mut read, mut wrong) = (packages(), 0, Vec::new());
    let is_read = |file: &&str| {
        file.starts_with("scripts/")
            || [".md", ".yml", ".toml", ".rs", "Dockerfile"]
                .iter()
                .any(|ending| file.ends_with(ending))
    };
    for file in listed.lines().filter(is_read) {
        let path = repository::path(file);
        // A file that was deleted, but not yet in git.
        let Ok(text) = std::fs::read_to_string(path) else {
            continue;
        };
        for code in code(file, &text) {
            read += usize::from(code.contains("cargo ") && code.contains("--test "));
            wrong.extend(missing(&code, &packages).map(|what| format!("{file}: {what}: {code}")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(read > 10, "hardly any commands: {read}");
}

#[test]
fn a_command_that_names_nothing_is_found() {
    let packages = packages();
    for (code, wanted) in [
        ("cargo test -p nobody", "no package Some(\"nobody\")"),
        (
            "cargo test -p palisade-tests --test nowhere",
            "no test nowhere",
        ),
        ("--test nowhere", "no test nowhere"),
        ("cargo run -p load --example nothing", "no example nothing"),
        (
            "cargo test -p palisade-tests --test sources commands::x -- --nocapture",
            "no test Some(\"commands::x\") in sources",
        ),
        (
            "tests() { cargo test --test sources nowhere; }",
            "no test Some(\"nowhere\") in sources",
        ),
    ] {
        assert_eq!(missing(code, &packages).as_deref(), Some(wanted), "{code}");
    }
    for code in [
        "cargo test -p palisade-tests --test sources commands:: -- --nocapture",
        "cargo test -p palisade-tests --test sources a_command_that",
        "cargo run -p palisade-tests --example live_page_pictures",
        "cargo install nothing",
        "a test",
    ] {
        assert_eq!(missing(code, &packages), None, "{code}");
    }
}

#[test]
fn commands_are_read_from_pieces_blocks_scripts_and_comments() {
    assert_eq!(
        code(
            "a.md",
            "Run `cargo test\n  --test x`.\n```sh\none\ntwo\n```\nor `y`"
        ),
        ["cargo test   --test x", "sh", "one", "two", "y"]
    );
    assert_eq!(
        code(
            "a.rs",
            "//! As `cargo\n//! run`.\nlet x = \"`not`\";\n    /// `y`"
        ),
        ["cargo  run", "y"]
    );
    assert_eq!(
        code("scripts/a", "one \\\n two\nthree"),
        ["one   two", "three"]
    );
}
