use std::fmt;

use http::StatusCode;

use super::Threshold;

/// What a client's failed requests can add up to; the label `type` of `security.suspicious_activity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// 401, 5 in 5 minutes: passwords or tokens are tried.
    CredentialStuffing,
    /// 404, 10 in 5 minutes: paths are tried.
    EndpointScanning,
    /// Any 4xx but 429, 20 in 5 minutes.
    Abuse,
    /// 401, 20 in 2 hours: who keeps below [`CredentialStuffing`](Self::CredentialStuffing) has 1,152 guesses a day,
    /// and below this one 228.
    CredentialStuffingSlow,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [
        Self::CredentialStuffing,
        Self::EndpointScanning,
        Self::Abuse,
        Self::CredentialStuffingSlow,
    ];

    /// The label's value, and the key in `[suspicion]` of a configuration file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CredentialStuffing => "credential_stuffing",
            Self::EndpointScanning => "endpoint_scanning",
            Self::Abuse => "abuse",
            Self::CredentialStuffingSlow => "credential_stuffing_slow",
        }
    }

    /// Whether a response of this status is a failure of the kind.
    #[must_use]
    pub fn counts(self, status: StatusCode) -> bool {
        match self {
            Self::CredentialStuffing | Self::CredentialStuffingSlow => {
                status == StatusCode::UNAUTHORIZED
            }
            Self::EndpointScanning => status == StatusCode::NOT_FOUND,
            Self::Abuse => status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS,
        }
    }

    /// How many failures in which window are suspicious unless configured.
    #[must_use]
    pub const fn default_threshold(self) -> Threshold {
        match self {
            Self::CredentialStuffing => Threshold::of(5, 300),
            Self::EndpointScanning => Threshold::of(10, 300),
            Self::Abuse => Threshold::of(20, 300),
            Self::CredentialStuffingSlow => Threshold::of(20, 7_200),
        }
    }

    /// What stands for the kind in the names of keys.
    #[cfg(feature = "redis")]
    pub(crate) const fn signal(self) -> &'static str {
        match self {
            Self::CredentialStuffing => "401",
            Self::EndpointScanning => "404",
            Self::Abuse => "4xx",
            Self::CredentialStuffingSlow => "401-slow",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
