//! `scripts/load-test.sh`: it measures what it says, and nothing that was refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use palisade_tests::redis::RedisServer;
use palisade_tests::webstore::binary;

fn measure(webstore: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/load-test.sh");
    let mut command = Command::new("bash");
    command
        .arg(script)
        .args(["--rounds", "1", "--seconds", "1", "--clients", "100"])
        .arg("--webstore")
        .arg(webstore)
        .args(arguments);
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn a_round_has_a_ratio_in_memory_and_on_redis() {
    let redis = RedisServer::start();
    let url = redis.url();
    for store in [&[][..], &["--redis", &url]] {
        let (status, told) = measure(&binary(), store);
        assert_eq!(status, Some(0), "{told}");
        let ratio = told
            .lines()
            .find_map(|line| line.strip_prefix("guarded / bare: "));
        let ratio: f64 = ratio.unwrap().split(' ').next().unwrap().parse().unwrap();
        assert!((0.01..10.0).contains(&ratio), "{told}");
    }
    let kept: i64 = redis.cli(&["DBSIZE"]).parse().unwrap();
    assert!(
        kept >= 200,
        "an address and a user of each client: {kept} keys"
    );
}

#[test]
fn a_run_with_refusals_is_no_result() {
    let folder = tempfile::tempdir().unwrap();
    // It forgets its settings, so that there is one client with the default limit.
    let forgetful = folder.path().join("forgetful");
    let text = format!(
        "#!/bin/sh\n[ \"$5\" = --bare ] && exec {0} \"$@\"\nexec {0} \"$1\" \"$2\" \"$3\" \"$4\"\n",
        binary().display()
    );
    fs::write(&forgetful, text).unwrap();
    fs::set_permissions(&forgetful, fs::Permissions::from_mode(0o755)).unwrap();
    let (status, told) = measure(&forgetful, &[]);
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("were refused"), "{told}");
    assert!(!told.contains("guarded / bare"), "{told}");
}

#[test]
fn what_cannot_run_says_why() {
    let (status, told) = measure(Path::new("/nowhere"), &[]);
    assert_eq!(status, Some(2), "{told}");
    assert!(told.contains("/nowhere is no program"), "{told}");
    for arguments in [&["--rounds", "0"][..], &["--redis"], &["--slowly"]] {
        let (status, told) = measure(&binary(), arguments);
        assert_eq!(status, Some(2), "{told}");
        assert!(told.contains(arguments[0]), "{told}");
    }
}
