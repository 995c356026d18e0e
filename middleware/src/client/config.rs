//! `[client]` of the configuration.

use super::ForwardedHeader;

/// How clients are identified.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientConfig {
    /// Networks whose forwarding header is believed.
    pub trusted_proxies: Vec<String>,
    /// Which header that is.
    pub forwarded_header: ForwardedHeader,
    /// Length of the IPv6 prefix that counts as one client, in bits.
    pub ipv6_prefix: u8,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::default(),
            ipv6_prefix: 64,
        }
    }
}

#[cfg(feature = "serde")]
mod section {
    use serde::Deserialize;

    use super::{ClientConfig, ForwardedHeader};
    use crate::ConfigError;
    use crate::model::Cidrs;
    use crate::model::section::{Section, in_range};

    #[derive(Deserialize, Default)]
    #[serde(deny_unknown_fields, default)]
    pub(crate) struct Client {
        trusted_proxies: Vec<String>,
        forwarded_header: ForwardedHeader,
        ipv6_prefix: Option<i64>,
    }

    impl Section for ClientConfig {
        type Written = Client;

        const KEYS: &'static [&'static str] =
            &["trusted_proxies", "forwarded_header", "ipv6_prefix"];

        fn read(written: Client) -> Result<Self, ConfigError> {
            let proxies = written.trusted_proxies.iter().map(String::as_str);
            Cidrs::parse("trusted_proxies", proxies)?;
            let ipv6_prefix = match written.ipv6_prefix {
                None => Self::default().ipv6_prefix,
                Some(bits) => in_range("ipv6_prefix", bits, 1, 128, "bits")?,
            };
            Ok(Self {
                trusted_proxies: written.trusted_proxies,
                forwarded_header: written.forwarded_header,
                ipv6_prefix,
            })
        }
    }
}
