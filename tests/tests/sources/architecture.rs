//! Imports run one way: read from the library's sources, so that it stays true.

use std::fs;
use std::path::{Path, PathBuf};

use palisade_tests::imports::imports;

const ROOMS: [&str; 10] = [
    "client",
    "observe",
    "ops",
    "preflight",
    "suspicion",
    "rate_limit",
    "segment",
    "funnel",
    "telemetry",
    "store",
];

/// What a room may import of another: its model values, and of the layers' ports all.
const ALLOWED: &[(&str, &str, &[&str])] = &[
    (
        "suspicion",
        "client",
        &["Client", "Network", "Route", "Secret", "UserId"],
    ),
    (
        "suspicion",
        "rate_limit",
        &[
            "Exemptions",
            "Quota",
            "Reason",
            "Rejected",
            "StoreError",
            "StoreErrorKind",
            "problem_type",
        ],
    ),
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
        "funnel",
        "client",
        &[
            "Client",
            "Countries",
            "Country",
            "MatchedRoute",
            "ResolveRoute",
            "Route",
            "Network",
            "Secret",
            "UserId",
        ],
    ),
    (
        "funnel",
        "rate_limit",
        &["PartitionKey", "StoreError", "StoreErrorKind"],
    ),
    ("telemetry", "funnel", &["Fate", "Tally", "VisitorTally"]),
    (
        "segment",
        "client",
        &["Client", "Countries", "Country", "Route", "UserId"],
    ),
    ("segment", "rate_limit", &["StoreError", "StoreErrorKind"]),
    ("rate_limit", "segment", &["Segment"]),
    // What an exchange consists of; and what is noted of it further in.
    ("observe", "client", &["Client", "Network"]),
    ("observe", "rate_limit", &["Reason", "Rejected"]),
    ("observe", "segment", &["Segment"]),
    ("rate_limit", "observe", &["Notes", "PolicyResult"]),
    ("segment", "observe", &["Notes"]),
    // It asks for the layers inside of it, and so is the one room that knows layers.
    ("preflight", "client", &["Client", "Network"]),
    (
        "preflight",
        "suspicion",
        &["Screened", "Screening", "SuspicionLayer"],
    ),
    (
        "preflight",
        "rate_limit",
        &[
            "Gate",
            "Preparation",
            "Question",
            "RateLimitLayer",
            "Resolved",
        ],
    ),
    (
        "preflight",
        "segment",
        &["Looked", "Lookup", "Segment", "SegmentLayer"],
    ),
    (
        "telemetry",
        "segment",
        &["ChangeKind", "Fate", "Population", "Segment", "Tally"],
    ),
    (
        "telemetry",
        "client",
        &["Country", "MatchedRoute", "ResolveRoute", "Route"],
    ),
    ("telemetry", "rate_limit", &["PolicyCounts", "Tally"]),
    (
        "telemetry",
        "suspicion",
        &["BanReason", "Fate", "Kind", "Tally", "Turned"],
    ),
    // Who failed, and the evidence; who the customer is.
    ("store", "client", &["Network", "Route", "UserId"]),
    // The admin listener serves the live page.
    ("telemetry", "ops", &["Ops", "OpsBody", "OpsService"]),
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

/// The module path of a file of the library.
fn module(file: &Path) -> Vec<String> {
    let stem = file.with_extension("");
    let names = stem
        .iter()
        .map(|name| name.to_str().unwrap().to_owned())
        .filter(|name| name != "mod");
    names.collect()
}

/// Whether a file in `room` may take this, seen from the crate's root.
fn is_allowed(room: &str, path: &[String]) -> bool {
    let mut names = path.iter().map(String::as_str);
    // An alias of the root or of a whole module would hide what is taken of it, as would a glob.
    match (names.next().unwrap_or("*"), names.next().unwrap_or("*")) {
        (other, _) if other == room => true,
        ("*" | "stack" | "config", _) => false,
        // Adapters know the ports, and the model values that their keys are made of.
        ("rate_limit" | "suspicion" | "segment" | "funnel", name) if room == "store" => {
            name != "*" && !name.ends_with("Layer") && !name.ends_with("Builder")
        }
        (other, name) if ROOMS.contains(&other) => ALLOWED
            .iter()
            .any(|(from, to, names)| *from == room && *to == other && names.contains(&name)),
        // What belongs to no room: errors and address ranges.
        _ => true,
    }
}

#[test]
fn rooms_import_only_each_others_model_values_and_never_the_stack() {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("../middleware/src");
    let mut imported = 0;
    let mut wrong = Vec::new();
    for room in ROOMS {
        for path in sources(&library.join(room)) {
            let file = path.strip_prefix(&library).unwrap();
            if is_test(file) {
                continue;
            }
            let module = module(file);
            let module: Vec<_> = module.iter().map(String::as_str).collect();
            for path in imports(&fs::read_to_string(&path).unwrap(), &module) {
                imported += 1;
                if !is_allowed(room, &path) {
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
    let allowed = |room, path: &str| {
        let names = path.split("::").filter(|name| !name.is_empty());
        is_allowed(room, &names.map(str::to_owned).collect::<Vec<_>>())
    };
    for path in [
        "client::Client",
        "rate_limit::policy::Policy",
        "ConfigError",
        "Cidrs",
    ] {
        assert!(allowed("rate_limit", path), "{path}");
    }
    for path in [
        "stack::Stack",
        "config",
        "store::Outcome",
        "client",
        "client::*",
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
    assert!(!allowed("suspicion", "rate_limit::Policy"));
    assert!(!allowed("rate_limit", "suspicion::Kind"));
    assert!(!allowed("funnel", "rate_limit::Policy"));
}
