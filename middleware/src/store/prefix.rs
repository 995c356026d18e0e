use crate::ConfigError;

/// The one rule for the prefix of every key of a store, so that several services can share a server.
///
/// Braces would turn part of the key into a Cluster hash tag, and glob characters make `SCAN MATCH` and ACL patterns mean
/// something else. A URL would be that of the server, with its password, at the wrong key.
///
/// # Errors
/// A prefix that breaks the rule.
pub(crate) fn check_prefix(text: &str) -> Result<(), ConfigError> {
    const ALLOWED: &str = "1 to 64 visible ASCII characters without `{` and `}`, brackets, quotes, `*`, `?` or `\\`, and no URL";
    let plain = |b: u8| b.is_ascii_graphic() && !br#"{}[]*?\"'`"#.contains(&b);
    if (1..=64).contains(&text.len()) && text.bytes().all(plain) && !text.contains("://") {
        Ok(())
    } else {
        Err(ConfigError::new("prefix", text, ALLOWED))
    }
}
