//! The tool as a user runs it, from end to end.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, also in its helpers"
)]

mod access;
mod orders;

use std::process::Command;

/// `palisade` without the secret that the machine may have.
fn palisade(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
    command.args(arguments).env_remove("PALISADE_SECRET");
    command
}
