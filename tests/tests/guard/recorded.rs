//! Files of what was recorded, and how today's is held against them.

use palisade_tests::repository;

/// Compares `now` with `recorded/{name}`, line by line, or writes it where `PALISADE_RECORD` is set.
///
/// # Panics
/// They differ; the message has the first lines that do.
pub(crate) fn compare(name: &str, now: &str) {
    let inside = format!("tests/tests/guard/recorded/{name}");
    if std::env::var_os("PALISADE_RECORD").is_some() {
        std::fs::write(repository::path(&inside), now).expect("the recorded file is written");
        return;
    }
    let then = repository::text(&inside);
    let (then, now): (Vec<_>, Vec<_>) = (then.lines().collect(), now.lines().collect());
    let same = then.iter().zip(&now).take_while(|(a, b)| a == b).count();
    let part = |lines: &[&str]| {
        let from = same.saturating_sub(3);
        let part = lines.iter().skip(from).take(12);
        part.map(|line| format!("  {line}\n")).collect::<String>()
    };
    assert!(
        then == now,
        "{inside} differs from line {} on ({} lines were recorded, {} are seen).\nrecorded:\n{}seen:\n{}\
         If that is meant: PALISADE_RECORD=1 cargo test -p palisade-tests --test guard",
        same + 1,
        then.len(),
        now.len(),
        part(&then),
        part(&now),
    );
}
