//! The names of all tests: a test may move, and must not get lost.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use palisade_tests::repository;

use crate::recorded::compare;

const FOLDERS: [&str; 6] = ["middleware", "tests", "examples", "cli", "bench", "load"];

/// The functions under an attribute that makes a test of them.
fn tests_in(source: &str, found: &mut BTreeSet<String>) {
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if is_test && (line.contains("fn ")) {
            let name = line.split("fn ").nth(1).unwrap_or_default();
            let name = name.split(['(', '<']).next().unwrap_or_default();
            found.insert(name.to_owned());
            is_test = false;
        }
    }
}

fn sources(folder: &Path, each: &mut impl FnMut(&str)) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, each);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            each(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn no_test_that_was_recorded_is_lost() {
    let mut found = BTreeSet::new();
    for folder in FOLDERS {
        sources(&repository::path(folder), &mut |source| {
            tests_in(source, &mut found);
        });
    }
    assert!(found.len() > 500, "the reader found only {}", found.len());
    if std::env::var_os("PALISADE_RECORD").is_some() {
        let all: String = found.iter().map(|name| format!("{name}\n")).collect();
        return compare("names.txt", &all);
    }
    let recorded = repository::text("tests/tests/guard/recorded/names.txt");
    let lost: Vec<_> = recorded
        .lines()
        .filter(|name| !found.contains(*name))
        .collect();
    assert!(lost.is_empty(), "lost: {lost:#?}");
}

#[test]
fn the_reader_of_names_knows_a_test_from_other_functions() {
    let mut found = BTreeSet::new();
    tests_in(
        "fn helper() {}\n#[test]\nfn one() {}\n#[tokio::test(start_paused = true)]\n#[ignore]\nasync fn two() {}\nfn other<T>() {}",
        &mut found,
    );
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["one", "two"]);
}
