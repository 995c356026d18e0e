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
    /// The prefixes of your translators; see [`Nat64Prefixes`](crate::client::Nat64Prefixes).
    pub nat64_prefixes: Vec<String>,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::default(),
            ipv6_prefix: 64,
            nat64_prefixes: Vec::new(),
        }
    }
}

#[cfg(feature = "serde")]
mod section {
    use serde::Deserialize;

    use super::{ClientConfig, ForwardedHeader};
    use crate::ConfigError;
    use crate::model::section::{Keys, NETWORKS, Section, Takes, in_range, named};
    use crate::model::{Cidrs, Nat64Prefixes};

    #[derive(Deserialize, Default)]
    #[serde(deny_unknown_fields, default)]
    pub(crate) struct Client {
        trusted_proxies: Vec<String>,
        #[serde(deserialize_with = "named")]
        forwarded_header: ForwardedHeader,
        ipv6_prefix: Option<i64>,
        nat64_prefixes: Vec<String>,
    }

    impl Section for ClientConfig {
        type Written = Client;

        const KEYS: Keys = &[
            ("trusted_proxies", NETWORKS),
            ("forwarded_header", Takes::Said),
            (
                "ipv6_prefix",
                Takes::Number("a whole number from 1 to 128 bits"),
            ),
            (
                "nat64_prefixes",
                Takes::Texts("IPv6 prefixes such as `2001:db8:64::/96`"),
            ),
        ];

        fn read(written: Client) -> Result<Self, ConfigError> {
            let proxies = written.trusted_proxies.iter().map(String::as_str);
            let prefixes = written.nat64_prefixes.iter().map(String::as_str);
            let prefixes = Nat64Prefixes::parse(prefixes)?;
            Cidrs::parse("trusted_proxies", proxies)?
                .refuse_carried("trusted_proxies", &prefixes)?;
            let ipv6_prefix = match written.ipv6_prefix {
                None => Self::default().ipv6_prefix,
                Some(bits) => in_range("ipv6_prefix", bits, 1, 128, "bits")?,
            };
            Ok(Self {
                trusted_proxies: written.trusted_proxies,
                forwarded_header: written.forwarded_header,
                ipv6_prefix,
                nat64_prefixes: written.nat64_prefixes,
            })
        }
    }
}
