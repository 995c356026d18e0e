use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::model::{Network, Secret, UserId};

/// The key that a policy counts a request under: one log is kept for each key of a policy.
///
/// Made of a network, a user's id, or any text, and always bounded: text is at most 64 characters. Keys of two kinds are two
/// keys, even if they are spelled alike.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PartitionKey(Repr);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Repr {
    Network(Network),
    User(Arc<str>),
    Text(Arc<str>),
}

impl Hash for Repr {
    /// In one piece, and without the kind: keys of two kinds are hardly ever spelled alike.
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Network(network) => network.hash(state),
            Self::User(text) | Self::Text(text) => state.write(text.as_bytes()),
        }
    }
}

impl PartitionKey {
    /// A key from any text, replaced by a keyed hash where it is not 1 to 64 characters of `A-Za-z0-9._@-`.
    #[must_use]
    pub fn text(text: &str, secret: &Secret) -> Self {
        Self(Repr::Text(UserId::new(text, secret).into_text()))
    }

    /// A key that is always a keyed hash: of text that is not to be kept, apart from the hashes of other domains.
    pub(crate) fn hashed(domain: &[u8], text: &[u8], secret: &Secret) -> Self {
        Self(Repr::Text(secret.hash(domain, text).into()))
    }

    /// A key from text that is bounded already and that no client chose.
    pub(crate) fn of_ours(text: String) -> Self {
        Self(Repr::Text(text.into()))
    }

    /// A key of nobody, without memory of its own: stands where a key must but none is meant.
    pub(crate) fn nobody() -> Self {
        Network::of(Ipv4Addr::UNSPECIFIED.into(), 0).into()
    }

    #[cfg(feature = "redis")]
    pub(crate) fn repr(&self) -> &Repr {
        &self.0
    }
}

impl From<Network> for PartitionKey {
    fn from(network: Network) -> Self {
        Self(Repr::Network(network))
    }
}

impl From<UserId> for PartitionKey {
    fn from(user: UserId) -> Self {
        Self(Repr::User(user.into_text()))
    }
}

impl fmt::Display for PartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Network(network) => network.fmt(f),
            Repr::User(text) | Repr::Text(text) => f.write_str(text),
        }
    }
}
