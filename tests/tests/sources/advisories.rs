//! The step `deny` of scripts/test: it checks the advisories wherever their database can be had.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use palisade_tests::repository;

/// Runs the step with a `git` and a `cargo deny check advisories` that end with these statuses.
fn deny(git: i32, advisories: i32) -> Output {
    let programs = tempfile::TempDir::new().unwrap();
    let put = |name: &str, script: &str| {
        let path = programs.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    };
    put("git", &format!("exit {git}"));
    put(
        "cargo",
        &format!("case \"$*\" in *advisories*) echo checked; exit {advisories} ;; esac"),
    );
    let path = std::env::var_os("PATH").unwrap();
    let path = std::env::split_paths(&path);
    let path = std::iter::once(programs.path().to_owned()).chain(path);
    Command::new(repository::path("scripts/test"))
        .arg("deny")
        .env("PATH", std::env::join_paths(path).unwrap())
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn advisories_are_checked_where_their_database_can_be_had_and_named_where_not() {
    let named =
        "not checked: advisories, since https://github.com/RustSec/advisory-db cannot be reached";
    let offline = deny(2, 1);
    assert!(offline.status.success() && said(&offline).contains(named));
    let (clean, vulnerable) = (deny(0, 0), deny(0, 1));
    assert!(clean.status.success() && said(&clean).contains("\nchecked\n"));
    assert!(!vulnerable.status.success(), "{}", said(&vulnerable));
    assert!(!said(&vulnerable).contains(named));
}
