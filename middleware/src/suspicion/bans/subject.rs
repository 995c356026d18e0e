use std::fmt;
use std::str::FromStr;

use crate::ConfigError;
use crate::model::{Network, PartitionKey, UserId};

/// Who is banned: a network, with everybody behind it, or a verified user, wherever it comes from.
///
/// It is shown as the store names it: `192.0.2.1`, `2001:db8::/64`, `user:ada`.
///
/// ```
/// use palisade::client::{Network, Secret, UserId};
/// use palisade::suspicion::Subject;
///
/// let network = Network::of("2001:db8::1".parse()?, 64);
/// assert_eq!(Subject::from(network).to_string(), "2001:db8::/64");
/// let ada = UserId::new("ada", &Secret::from_bytes(b"at least sixteen bytes, from a file"));
/// assert_eq!("user:ada".parse(), Ok(Subject::User(ada)));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// Everybody at these addresses.
    Network(Network),
    /// A verified user. Others at its addresses pass, and so do its addresses without it.
    User(UserId),
}

impl Subject {
    /// What a user's name begins with; no network's does.
    pub(crate) const OF_USER: &str = "user:";

    /// The network, if it is one.
    #[must_use]
    pub const fn network(&self) -> Option<Network> {
        match self {
            Self::Network(network) => Some(*network),
            Self::User(_) => None,
        }
    }

    /// The user, if it is one.
    #[must_use]
    pub const fn user(&self) -> Option<&UserId> {
        match self {
            Self::Network(_) => None,
            Self::User(user) => Some(user),
        }
    }
}

impl From<Network> for Subject {
    fn from(network: Network) -> Self {
        Self::Network(network)
    }
}

impl From<UserId> for Subject {
    fn from(user: UserId) -> Self {
        Self::User(user)
    }
}

impl From<Subject> for PartitionKey {
    fn from(subject: Subject) -> Self {
        match subject {
            Subject::Network(network) => network.into(),
            Subject::User(user) => user.into(),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => network.fmt(f),
            Self::User(user) => write!(f, "{}{user}", Self::OF_USER),
        }
    }
}

impl FromStr for Subject {
    type Err = ConfigError;

    /// Reads what is shown.
    ///
    /// # Errors
    /// Any other text.
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text.strip_prefix(Self::OF_USER) {
            None => text.parse().map(Self::Network),
            Some(id) => match UserId::kept(id) {
                Some(user) => Ok(Self::User(user)),
                None => {
                    let allowed =
                        "1 to 64 characters of `A-Za-z0-9._@-`, or `~` and 32 hexadecimal digits";
                    Err(ConfigError::new("user", id, allowed))
                }
            },
        }
    }
}
