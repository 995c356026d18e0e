use std::fmt;
use std::sync::Arc;

use crate::client::{Network, Secret, UserId};

/// What a policy counts by: one log is kept for each key of a policy.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum PartitionKey {
    /// A client's network.
    Network(Network),
    /// Bounded text: at most 64 characters of `A-Za-z0-9._@-~:/`.
    Text(Arc<str>),
}

impl PartitionKey {
    /// A key from any text, replaced by a keyed hash where it is not 1 to 64 characters of `A-Za-z0-9._@-`.
    #[must_use]
    pub fn text(text: &str, secret: &Secret) -> Self {
        UserId::new(text, secret).into()
    }
}

impl From<Network> for PartitionKey {
    fn from(network: Network) -> Self {
        Self::Network(network)
    }
}

impl From<UserId> for PartitionKey {
    fn from(user: UserId) -> Self {
        Self::Text(user.into_text())
    }
}

impl fmt::Display for PartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => network.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}
