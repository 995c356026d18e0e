//! Imports run one way: read from the library's sources, so that it stays true.

use std::fs;
use std::path::{Path, PathBuf};

use palisade_tests::imports::imports;

/// What any room may use; each imports only those before it.
const HELPERS: [&str; 6] = ["sync", "task", "model", "log", "http", "body"];

/// They stand above the rooms, and the store beside them.
const NO_ROOMS: [&str; 5] = ["lib", "admin", "config", "stack", "store"];

/// Every other module of the library: each imports itself and the helpers.
fn rooms() -> Vec<String> {
    let entries = fs::read_dir(library()).unwrap();
    let mut rooms: Vec<_> = entries
        .map(|entry| {
            let path = entry.unwrap().path();
            path.file_stem().unwrap().to_str().unwrap().to_owned()
        })
        .filter(|name| !HELPERS.contains(&&**name) && !NO_ROOMS.contains(&&**name))
        .collect();
    rooms.sort();
    rooms.dedup();
    rooms
}

fn library() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../middleware/src")
}

/// By these, a file could take what the reader of imports does not see.
const HIDDEN: [&str; 4] = ["extern crate", "#[path", "include!(", "$crate"];

/// The files of a module: its own and those of its folder.
fn files(library: &Path, module: &str) -> Vec<PathBuf> {
    let file = library.join(module).with_extension("rs");
    let mut found: Vec<_> = file.is_file().then_some(file).into_iter().collect();
    let folder = library.join(module);
    if folder.is_dir() {
        found.extend(sources(&folder));
    }
    found
}

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

/// The module path of a file of the library.
fn module(file: &Path) -> Vec<String> {
    let stem = file.with_extension("");
    let names = stem
        .iter()
        .map(|name| name.to_str().unwrap().to_owned())
        .filter(|name| name != "mod");
    names.collect()
}

/// Whether a file in `place` may take this, seen from the crate's root.
fn is_allowed(place: &str, path: &[String], rooms: &[String]) -> bool {
    let mut names = path.iter().map(String::as_str);
    let (Some(other), name) = (names.next(), names.next()) else {
        // The root itself would hide what is taken of it.
        return false;
    };
    if other == place || other == "ConfigError" {
        return true;
    }
    let helper = |name| HELPERS.iter().position(|helper| *helper == name);
    if let Some(other) = helper(other) {
        return helper(place).is_none_or(|place| other < place);
    }
    // Adapters know the ports, and the values that their keys are made of; an alias of a module would hide what is taken.
    let is_value = name
        .is_some_and(|name| name != "*" && !name.ends_with("Layer") && !name.ends_with("Builder"));
    place == "store" && rooms.iter().any(|room| room == other) && is_value
}

#[test]
fn rooms_import_only_each_others_model_values_and_never_the_stack() {
    let (library, rooms) = (library(), rooms());
    assert!(rooms.len() > 8, "the test found few rooms: {rooms:?}");
    let checked = HELPERS.into_iter().chain(rooms.iter().map(String::as_str));
    let mut imported = 0;
    let mut wrong = Vec::new();
    for room in checked.chain(["store"]) {
        for path in files(&library, room) {
            let file = path.strip_prefix(&library).unwrap();
            if is_test(file) {
                continue;
            }
            let module = module(file);
            let module: Vec<_> = module.iter().map(String::as_str).collect();
            let source = fs::read_to_string(&path).unwrap();
            for hidden in HIDDEN.iter().filter(|hidden| source.contains(**hidden)) {
                wrong.push(format!("{} has {hidden}", file.display()));
            }
            for path in imports(&source, &module) {
                imported += 1;
                if !is_allowed(room, &path, &rooms) {
                    wrong.push(format!("{} takes {}", file.display(), path.join("::")));
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

fn read(source: &str, module: &[&str]) -> Vec<String> {
    let found = imports(source, module);
    found.iter().map(|path| path.join("::")).collect()
}

#[test]
fn the_reader_sees_single_names_groups_and_groups_in_groups() {
    let source = "use crate::client::{Client, user::{UserId, Secret as Key}, self};
        pub(crate) use crate::{stack::Stack, error::*, ConfigError};
        fn f() -> crate::Error { let x: Vec<crate::store::Outcome> = crate::store::memory::x(); }
        macro_rules! m { () => { $crate::config::Config } }
        use crate::{\n    // why\n    config::{Config, sections::{File,},},\n};
        use crate as root; use crate::telemetry;";
    assert_eq!(
        read(source, &["rate_limit"]),
        [
            "client::Client",
            "client::user::UserId",
            "client::user::Secret",
            "client",
            "stack::Stack",
            "error::*",
            "ConfigError",
            "Error",
            "store::Outcome",
            "store::memory::x",
            "config::Config",
            "config::Config",
            "config::sections::File",
            "",
            "telemetry",
        ]
    );
}

#[test]
fn the_reader_sees_every_super_that_leaves_its_room() {
    let source = "use super::super::stack::Stack; use super::keys::{self, Key};
        use super::{super::{config::Config, client::Client}, breaker};
        use self::inner::X; use super::super::super::super::x;
        mod inner { use super::super::super::stack::A; use super::super::b; fn f() { super::c() } }
        use super::super::stack::After;";
    assert_eq!(
        read(
            &source.replace("use super::super::super::super::x;", ""),
            &["store", "redis"]
        ),
        [
            "stack::Stack",
            "config::Config",
            "client::Client",
            "stack::A",
            "stack::After",
        ]
    );
    assert_eq!(
        read("use super::stack::Stack; use super::*;", &["client"]),
        ["stack::Stack", "*"]
    );
}

#[test]
fn the_reader_skips_comments_texts_and_tests() {
    let source = "// crate::stack::A\n/* crate::stack::B /* nested */ crate::stack::C */
        const T: &str = \"crate::stack::D \\\" crate::stack::E\"; const R: &[u8] = br#\"\"crate::stack::F\"#;
        const C: [char; 2] = ['\"', '\\'']; fn f<'a>(x: &'a str) -> crate::client::Route {}
        #[cfg(test)] use crate::stack::G;
        #[cfg(test)] mod tests { fn f() { crate::stack::H } }
        use crate::client::Client;";
    assert_eq!(
        read(source, &["rate_limit"]),
        ["client::Route", "client::Client"]
    );
}

#[test]
fn the_rules_refuse_the_stack_other_rooms_and_what_could_hide_them() {
    let rooms = rooms();
    let allowed = |room, path: &str| {
        let names = path.split("::").filter(|name| !name.is_empty());
        is_allowed(room, &names.map(str::to_owned).collect::<Vec<_>>(), &rooms)
    };
    for path in [
        "rate_limit::policy::Policy",
        "ConfigError",
        "model::Cidrs",
        "http::methods",
    ] {
        assert!(allowed("rate_limit", path), "{path}");
    }
    for path in [
        "stack::Stack",
        "config",
        "store::Outcome",
        "client",
        "client::Client",
        "client::*",
        "suspicion::IncidentKind",
        "preflight::Ask",
        "*",
        "",
    ] {
        assert!(!allowed("rate_limit", path), "{path}");
    }
    assert!(allowed("store", "rate_limit::Charge"));
    assert!(!allowed("store", "rate_limit::RateLimitLayer"));
    assert!(!allowed("store", "rate_limit"));
    assert!(allowed("store", "suspicion::Incident"));
    assert!(!allowed("store", "suspicion::SuspicionLayer"));
    assert!(allowed("store", "funnel::Reach"));
    assert!(!allowed("store", "funnel::FunnelLayer"));
    assert!(!allowed("store", "stack::Stack"));
    assert!(!allowed("suspicion", "rate_limit::Policy"));
    assert!(!allowed("rate_limit", "suspicion::IncidentKind"));
    assert!(!allowed("funnel", "rate_limit::Policy"));
    assert!(allowed("log", "model::StoreError"));
    assert!(!allowed("model", "log::Fallback"));
    assert!(!allowed("model", "http::grpc"));
    assert!(!allowed("model", "client::Client"));
    assert!(!allowed("body", "rate_limit::Quota"));
}
