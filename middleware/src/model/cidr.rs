use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use crate::ConfigError;

/// A set of networks. IPv4-mapped IPv6, in the list or looked up, is IPv4.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cidrs(Vec<IpNet>);

impl Cidrs {
    /// Reads networks and single addresses; `key` is the setting that an error names.
    pub(crate) fn parse<'a>(
        key: &str,
        cidrs: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, ConfigError> {
        cidrs
            .into_iter()
            .map(|text| parse(key, text))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        !self.0.is_empty() && {
            let address = address.to_canonical();
            self.0.iter().any(|network| network.contains(&address))
        }
    }
}

fn parse(key: &str, text: &str) -> Result<IpNet, ConfigError> {
    let network = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| {
            ConfigError::new(
                key,
                text,
                "a network such as `10.0.0.0/8` or `2001:db8::/32`, or an address",
            )
        })?;
    let mapped = match network {
        // ::ffff:a.b.c.d/n is a.b.c.d/(n - 96).
        IpNet::V6(v6) => v6
            .addr()
            .to_ipv4_mapped()
            .and_then(|v4| Ipv4Net::new(v4, v6.prefix_len().checked_sub(96)?).ok())
            .map(IpNet::V4),
        IpNet::V4(_) => None,
    };
    Ok(mapped.unwrap_or(network))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_networks_and_addresses_of_both_families() {
        let cidrs = Cidrs::parse(
            "k",
            [
                "10.0.0.0/8",
                "2001:db8::/32",
                "192.0.2.7",
                "::ffff:198.51.100.0/120",
            ],
        )
        .unwrap();
        for inside in [
            "10.1.2.3",
            "::ffff:10.1.2.3",
            "2001:db8::1",
            "192.0.2.7",
            "198.51.100.9",
        ] {
            assert!(cidrs.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in [
            "11.0.0.1",
            "2001:db9::1",
            "192.0.2.8",
            "198.51.101.1",
            "::10.1.2.3",
        ] {
            assert!(!cidrs.contains(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn names_the_entry_that_is_no_network() {
        let error = Cidrs::parse("trusted_proxies", ["10.0.0.0/8", "10.0.0.0/33"]).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("`trusted_proxies` cannot be `10.0.0.0/33`"),
            "{error}"
        );
    }
}
