//! `palisade man`: pages that `man` can read.
use std::fs;

use crate::{palisade, printed};

#[test]
fn the_page_of_a_command_says_what_its_help_says() {
    let page = printed(&["man", "replay", "access"]);
    for line in [
        ".TH palisade-replay-access 1 \"\" \"palisade ",
        ".SH NAME\n",
        ".SH OPTIONS\n",
        ".SH EXAMPLES\n",
        ".SH \"EXIT STATUS\"\n",
        "palisade replay access access.log \\-\\-ip 60/1m\n",
    ] {
        assert!(page.contains(line), "no {line:?} in:\n{page}");
    }
    assert!(printed(&["man"]).contains("palisade\\-replay(1)"));
}

#[test]
fn every_command_has_a_page_in_the_folder() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("share/man1");
    let printed = printed(&["man", "--into", folder.to_str().unwrap()]);
    assert_eq!(printed, "");
    let files = fs::read_dir(&folder).unwrap();
    let mut names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "palisade-completions.1",
            "palisade-doctor.1",
            "palisade-man.1",
            "palisade-replay-access.1",
            "palisade-replay-orders.1",
            "palisade-replay.1",
            "palisade.1",
        ]
    );
}

#[test]
fn a_page_that_is_not_there_is_refused_with_those_that_are() {
    for (arguments, code, says) in [
        (
            &["replay", "acces"][..],
            2,
            "error: there is no page of `palisade replay acces`: after `palisade replay` allowed is `access`, `orders`",
        ),
        (&["repla"], 2, "after `palisade` allowed is `replay`"),
        (
            &["man", "more"],
            2,
            "after `palisade man` allowed is nothing more",
        ),
        (&["--into", "/dev/null/man1"], 1, "error: /dev/null/man1: "),
    ] {
        let output = palisade(&["man"]).args(arguments).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.contains(says), "{arguments:?}: {error}");
    }
}
