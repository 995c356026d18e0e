//! Where a file is wrong, without what it says there.

use crate::model::section::Keys;

/// Where a file is wrong, such as ``line 3, column 8, `[rate_limit] mode`: ``. The line itself stays out of it, since
/// it may hold the password of a Redis address. Only `keys`, one list for each section, are repeated: anything else on
/// the left of a `=` might be part of a value.
pub(super) fn place(text: &str, at: usize, keys: &[Keys]) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let (line, column) = (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    );
    let written = |text: &str| {
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        !text.is_empty() && text.bytes().all(legal)
    };
    let key = text[line_start..]
        .split_once('=')
        .map(|(key, _)| key.trim())
        .filter(|key| {
            written(key)
                && key.rsplit('.').next().is_some_and(|last| {
                    keys.iter()
                        .any(|keys| keys.iter().any(|(known, _)| *known == last))
                })
        });
    let section = before
        .lines()
        .rev()
        .find_map(|line| line.trim().strip_prefix('[')?.strip_suffix(']'))
        .filter(|section| written(section));
    let key = match (section, key) {
        (Some(section), Some(key)) => format!(", `{section}.{key}`"),
        (None, Some(key)) => format!(", `{key}`"),
        (Some(section), None) => format!(", in `[{section}]`"),
        (None, None) => String::new(),
    };
    format!("line {line}, column {column}{key}: ")
}
