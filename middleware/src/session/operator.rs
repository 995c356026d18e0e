use std::path::Path;

use super::token::is_equal;
use crate::ConfigError;
use crate::model::Secret;

/// The token that operators send, as a key: what compares it has neither text at hand.
pub(super) struct OperatorToken(Secret);

const KEY: &str = "operator_token_file";

impl OperatorToken {
    /// The token in a file.
    pub(super) fn from_file(path: &Path) -> Result<Self, ConfigError> {
        if !cfg!(feature = "session-api") {
            let allowed = "none, since the library is built without its feature `session-api`";
            return Err(ConfigError::without_value(KEY, allowed));
        }
        Secret::from_file(KEY, path).map(Self)
    }

    /// Whether this is the token, in a time that does not depend on where the two differ.
    #[cfg_attr(not(feature = "session-api"), allow(dead_code))]
    pub(super) fn is(&self, sent: &str) -> bool {
        let mark = |secret: &Secret| secret.digest(b"session-operator", &[]);
        is_equal(&mark(&self.0), &mark(&Secret::from_bytes(sent.as_bytes())))
    }
}
