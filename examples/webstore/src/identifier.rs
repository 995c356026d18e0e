//! The form of the names that clients choose: users and order ids.

/// What [`is_valid`] accepts, in words for an error's detail.
pub(crate) const FORM: &str = "1 to 64 characters of A-Z, a-z, 0-9, `.`, `_` and `-`";

/// Whether `text` may name a user or an order: bounded, and free of anything that would need escaping.
pub(crate) fn is_valid(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::is_valid;

    #[test]
    fn accepts_letters_digits_dots_underscores_and_hyphens() {
        assert!(is_valid("A.b_c-9"));
        assert!(is_valid(&"x".repeat(64)));
    }

    #[test]
    fn refuses_empty_long_and_foreign_text() {
        for text in ["", "a b", "a/b", "é", "a\n", "a@b", &"x".repeat(65)] {
            assert!(!is_valid(text), "{text:?}");
        }
    }
}
