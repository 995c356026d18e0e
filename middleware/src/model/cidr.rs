use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::Nat64Prefixes;
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
        let read = cidrs.into_iter().map(|text| parse(key, text));
        let cidrs = read.collect::<Result<_, _>>().map(Self)?;
        cidrs.refuse_carried(key, &Nat64Prefixes::WELL_KNOWN)?;
        Ok(cidrs)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        !self.0.is_empty() && {
            let address = Nat64Prefixes::WELL_KNOWN.read(address);
            self.0.iter().any(|network| network.contains(&address))
        }
    }

    /// The families whose every address it holds.
    pub(crate) fn whole_families(&self) -> Vec<IpNet> {
        let mut joined = IpNet::aggregate(&self.0);
        joined.retain(|network| network.prefix_len() == 0);
        joined
    }

    /// Refuses a network of addresses that are read as the IPv4 inside, since no client lies in it.
    pub(crate) fn refuse_carried(
        &self,
        key: &str,
        prefixes: &Nat64Prefixes,
    ) -> Result<(), ConfigError> {
        let carried = self.0.iter().find(|network| match network {
            IpNet::V4(_) => false,
            IpNet::V6(v6) => prefixes.contain(v6),
        });
        carried.map_or(Ok(()), |network| {
            Err(ConfigError::new(key, network, CARRIED))
        })
    }
}

const CARRIED: &str = "the IPv4 network inside, such as `192.0.2.0/24`: the addresses of a translator's prefix \
                       (`64:ff9b::/96`, `client.nat64_prefixes`) count as the IPv4 that they carry";

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
    let network = mapped.unwrap_or(network);
    if network.addr() != network.network() {
        let allowed = format!(
            "the network `{}`, or the address `{}` alone",
            network.trunc(),
            network.addr()
        );
        return Err(ConfigError::new(key, text, allowed));
    }
    Ok(network)
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
    fn an_address_that_is_written_as_a_network_is_refused_with_the_network() {
        for (text, network, address) in [
            ("10.0.0.1/8", "10.0.0.0/8", "10.0.0.1"),
            ("192.0.2.7/31", "192.0.2.6/31", "192.0.2.7"),
            ("1.2.3.4/0", "0.0.0.0/0", "1.2.3.4"),
            ("::ffff:10.0.0.1/104", "10.0.0.0/8", "10.0.0.1"),
            ("2001:db8::1/32", "2001:db8::/32", "2001:db8::1"),
        ] {
            let refused = Cidrs::parse("k", [text]).unwrap_err().to_string();
            let told = format!(
                "`k` cannot be `{text}`: allowed is the network `{network}`, or the address `{address}` alone"
            );
            assert_eq!(refused, told);
        }
        for text in ["10.0.0.1/32", "10.0.0.1", "2001:db8::1/128", "0.0.0.0/0"] {
            assert!(Cidrs::parse("k", [text]).is_ok(), "{text}");
        }
    }

    #[test]
    fn networks_that_hold_a_family_together_are_found() {
        let whole = |cidrs: &[&str]| {
            let cidrs = Cidrs::parse("k", cidrs.iter().copied()).unwrap();
            let families = cidrs.whole_families().into_iter();
            families.map(|it| it.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(whole(&["0.0.0.0/1", "128.0.0.0/1"]), ["0.0.0.0/0"]);
        assert_eq!(
            whole(&["::/0", "10.0.0.0/8", "::ffff:0:0/96"]),
            ["0.0.0.0/0", "::/0"]
        );
        assert_eq!(whole(&["0.0.0.0/1", "2000::/3"]), [""; 0]);
    }

    #[test]
    fn a_client_of_a_translator_lies_in_the_networks_of_its_ipv4_address() {
        let cidrs = Cidrs::parse("k", ["192.0.2.0/24", "2001:db8::/32"]).unwrap();
        assert!(cidrs.contains("64:ff9b::192.0.2.7".parse().unwrap()));
        assert!(!cidrs.contains("64:ff9b::198.51.100.7".parse().unwrap()));
        for carried in [
            "64:ff9b::/96",
            "64:ff9b::192.0.2.0/120",
            "64:ff9b::192.0.2.7",
        ] {
            let error = Cidrs::parse("exempt.cidrs", [carried])
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("`exempt.cidrs` cannot be") && error.contains("192.0.2.0/24"),
                "{error}"
            );
        }
        let own = Nat64Prefixes::parse(["2001:db8:64::/96"]).unwrap();
        assert!(
            cidrs.refuse_carried("k", &own).is_ok(),
            "it has other addresses too"
        );
        let inside = Cidrs::parse("k", ["2001:db8:64::192.0.2.0/120"]).unwrap();
        assert!(inside.refuse_carried("k", &own).is_err());
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
