//! `palisade completions`, in the shell itself where it is Bash.
use std::process::Command;

use crate::{palisade, printed};

/// What Bash offers for the last of `words`.
fn offered(words: &[&str]) -> Vec<String> {
    let script = printed(&["completions", "bash"]);
    let ask = r#"
        COMP_WORDS=("$@")
        COMP_CWORD=$(($# - 1))
        _palisade palisade "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let output = Command::new("bash")
        .args(["--norc", "-c", &format!("{script}\n{ask}"), "bash"])
        .args(words)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_flags_and_values() {
    assert_eq!(offered(&["palisade", "rep"]), ["replay"]);
    assert_eq!(offered(&["palisade", "replay", "acc"]), ["access"]);
    assert_eq!(
        offered(&["palisade", "replay", "access", "--su"]),
        ["--suspicion"]
    );
    assert_eq!(
        offered(&["palisade", "replay", "orders", "--format", ""]),
        ["cdnow", "csv"]
    );
}

#[test]
fn there_is_a_script_for_each_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = printed(&["completions", shell]);
        assert!(script.contains("suspicion"), "{shell}: {script}");
    }
    let output = palisade(&["completions", "tcsh"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("possible values: bash"), "{error}");
}
