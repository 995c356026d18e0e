//! Imports run one way: read from the library's sources, so that it stays true.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};

const ROOMS: [&str; 4] = ["client", "rate_limit", "telemetry", "store"];

/// What a room may import of another: its model values, and of the layers' ports all.
const ALLOWED: [(&str, &str, &[&str]); 4] = [
    (
        "rate_limit",
        "client",
        &[
            "Client",
            "Country",
            "MatchedRoute",
            "Network",
            "ResolveRoute",
            "Route",
            "Secret",
            "UserId",
        ],
    ),
    (
        "telemetry",
        "client",
        &["MatchedRoute", "ResolveRoute", "Route"],
    ),
    ("telemetry", "rate_limit", &["PolicyCounts", "Tally"]),
    (
        "telemetry",
        "store",
        &["Operation", "Outcome", "StoreHealth", "redis"],
    ),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn is_test(path: &Path) -> bool {
    path.components()
        .any(|part| part.as_os_str().to_string_lossy().starts_with("tests"))
        || path.ends_with("properties.rs")
}

/// Everything that a source names as `crate::room::…`, as (room, name), tests left out.
fn imports(source: &str) -> Vec<(String, String)> {
    let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let code: String = code
        .lines()
        .map(|line| line.trim_start())
        .filter(|line| !line.starts_with("//"))
        .collect::<Vec<_>>()
        .join(" ");
    let mut found = Vec::new();
    for path in code.split("crate::").skip(1) {
        let room: String = path
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        let Some(rest) = path[room.len()..].strip_prefix("::") else {
            continue;
        };
        let names = match rest.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap().to_owned(),
            None => rest
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect(),
        };
        for name in names
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
        {
            found.push((room.clone(), name.split("::").next().unwrap().to_owned()));
        }
    }
    found
}

#[test]
fn rooms_import_only_each_others_model_values_and_never_the_stack() {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("../middleware/src");
    let mut imported = 0;
    let mut wrong = Vec::new();
    for room in ROOMS {
        for path in sources(&library.join(room))
            .iter()
            .filter(|path| !is_test(path.strip_prefix(&library).unwrap()))
        {
            for (other, name) in imports(&fs::read_to_string(path).unwrap()) {
                imported += 1;
                let allowed = match (room, &*other) {
                    (room, other) if room == other => true,
                    (_, "stack" | "config") => false,
                    // Adapters know the ports, and the model values that their keys are made of.
                    ("store", "rate_limit") => {
                        !name.ends_with("Layer") && !name.ends_with("Builder")
                    }
                    (_, other) if ROOMS.contains(&other) => {
                        ALLOWED.iter().any(|(from, to, names)| {
                            *from == room && *to == other && names.contains(&&*name)
                        })
                    }
                    _ => true,
                };
                if !allowed {
                    wrong.push(format!("{} imports {other}::{name}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(
        imported > 20,
        "the test found hardly any imports: {imported}"
    );
}

#[test]
fn the_reader_of_imports_sees_groups_and_single_names() {
    let source = "use crate::client::{Client, user::UserId};\n// crate::stack::Stack\nfn f() { crate::store::memory::x() }";
    let found = imports(source);
    let expected = [
        ("client", "Client"),
        ("client", "user"),
        ("store", "memory"),
    ];
    assert_eq!(
        found,
        expected.map(|(room, name)| (room.to_owned(), name.to_owned()))
    );
}
