//! The tool as a user runs it, from end to end.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, also in its helpers"
)]

mod access;
mod completions;
mod doctor;
mod man;
mod orders;
mod tls;

use std::process::Command;

/// `palisade` without the secret that the machine may have.
fn palisade(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
    command.args(arguments).env_remove("PALISADE_SECRET");
    command
}

/// What a command prints that does what it is asked for.
fn printed(arguments: &[&str]) -> String {
    let output = palisade(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}
