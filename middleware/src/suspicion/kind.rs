use std::fmt;

use http::StatusCode;

use super::Threshold;

/// The kind of an incident; the label `type` of `security.suspicious_activity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IncidentKind {
    /// 401, 5 in 5 minutes: passwords or tokens are tried.
    CredentialStuffing,
    /// 404, 10 in 5 minutes: paths are tried.
    EndpointScanning,
    /// Any 4xx but 429, 20 in 5 minutes.
    Abuse,
    /// 401, 20 in 2 hours: a client that keeps below [`CredentialStuffing`](Self::CredentialStuffing) has 1,152 guesses a
    /// day, and below this one 228.
    CredentialStuffingSlow,
    /// Distinct accounts whose login fails from one network, 5 in 5 minutes; off unless set. One guess for each account
    /// never shows as the account's failures.
    PasswordSpraying,
    /// Distinct networks whose login fails for one account, 4 in 1 hour; off unless set. Each of them may be the
    /// account's owner, so nobody is to be banned for it.
    DistributedStuffing,
    /// A login that succeeds for an account that is in an episode of
    /// [`DistributedStuffing`](Self::DistributedStuffing), or from a network that is in one of
    /// [`CredentialStuffing`](Self::CredentialStuffing), its slow kind or
    /// [`PasswordSpraying`](Self::PasswordSpraying); once in 1 hour for each account; off unless set.
    SuccessAfterFailures,
}

impl IncidentKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::CredentialStuffing,
        Self::EndpointScanning,
        Self::Abuse,
        Self::CredentialStuffingSlow,
        Self::PasswordSpraying,
        Self::DistributedStuffing,
        Self::SuccessAfterFailures,
    ];

    /// The kinds that a status tells of: all that are on unless set otherwise.
    pub const BY_STATUS: [Self; 4] = [
        Self::CredentialStuffing,
        Self::EndpointScanning,
        Self::Abuse,
        Self::CredentialStuffingSlow,
    ];

    /// The most distinct items that a threshold may ask for, of the login kinds and of any other that counts distinct
    /// things; no more are kept.
    pub const MOST_DISTINCT: u32 = 64;

    /// The label's value, and the key in `[suspicion]` of a configuration file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CredentialStuffing => "credential_stuffing",
            Self::EndpointScanning => "endpoint_scanning",
            Self::Abuse => "abuse",
            Self::CredentialStuffingSlow => "credential_stuffing_slow",
            Self::PasswordSpraying => "password_spraying",
            Self::DistributedStuffing => "distributed_stuffing",
            Self::SuccessAfterFailures => "success_after_failures",
        }
    }

    /// Whether the kind is told by [`Login`](super::Login) rather than by a status; these are off unless set.
    #[must_use]
    pub const fn is_of_logins(self) -> bool {
        matches!(
            self,
            Self::PasswordSpraying | Self::DistributedStuffing | Self::SuccessAfterFailures
        )
    }

    /// Whether a client that is banned for it has tried credentials: sessions that it created may be of accounts that it broke
    /// into.
    #[must_use]
    pub const fn tries_credentials(self) -> bool {
        matches!(
            self,
            Self::CredentialStuffing | Self::CredentialStuffingSlow | Self::PasswordSpraying
        )
    }

    /// Whether an incident of this kind is about an account. The client of the last request may be the owner of the account,
    /// so such an incident bans nobody.
    #[must_use]
    pub const fn is_of_an_account(self) -> bool {
        matches!(self, Self::DistributedStuffing | Self::SuccessAfterFailures)
    }

    /// The allowed thresholds of the kind, if this one is not among them; `distinct` if it counts distinct items.
    pub(crate) fn refuses(self, threshold: Threshold, distinct: bool) -> Option<&'static str> {
        let most = match self {
            Self::SuccessAfterFailures => 1,
            _ if distinct || self.is_of_logins() => Self::MOST_DISTINCT,
            _ => Threshold::MAX_COUNT,
        };
        (threshold.count() > most).then_some(if most == 1 {
            "a count of 1, such as `1/1h`"
        } else {
            "a count of at most 64"
        })
    }

    /// The kind's bit in a set of those that a status tells of; 0 for the others.
    pub(crate) fn bit(self) -> u8 {
        let place = Self::BY_STATUS.iter().position(|kind| *kind == self);
        place.map_or(0, |place| 1 << place)
    }

    /// Whether a response of this status is a failure of the kind; never for the kinds of logins.
    #[must_use]
    pub fn counts(self, status: StatusCode) -> bool {
        match self {
            Self::CredentialStuffing | Self::CredentialStuffingSlow => {
                status == StatusCode::UNAUTHORIZED
            }
            Self::EndpointScanning => status == StatusCode::NOT_FOUND,
            Self::Abuse => status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS,
            Self::PasswordSpraying | Self::DistributedStuffing | Self::SuccessAfterFailures => {
                false
            }
        }
    }

    /// How many failures (of the login kinds: distinct accounts, networks, networks that succeed) in which window are
    /// suspicious unless configured.
    #[must_use]
    pub const fn default_threshold(self) -> Threshold {
        match self {
            Self::CredentialStuffing => Threshold::of(5, 300),
            Self::EndpointScanning => Threshold::of(10, 300),
            Self::Abuse => Threshold::of(20, 300),
            Self::CredentialStuffingSlow => Threshold::of(20, 7_200),
            Self::PasswordSpraying => Threshold::of(5, 300),
            Self::DistributedStuffing => Threshold::of(4, 3_600),
            Self::SuccessAfterFailures => Threshold::of(1, 3_600),
        }
    }
}

impl fmt::Display for IncidentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
