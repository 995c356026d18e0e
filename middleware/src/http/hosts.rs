//! The names that a listener of operators answers to.
//!
//! It is often on an address that browsers reach and attackers do not. A web site that leads a name of its own to that address
//! (DNS rebinding) must not read the answers through a browser that visits it: the `Host` is then the site's name.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::header::HOST;
use http::request::Parts;

use super::sole;
use crate::ConfigError;

/// The names under which a listener may be asked, beside IP addresses and `localhost`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hosts(Vec<Box<str>>);

impl Hosts {
    /// Adds a name, without scheme and port; `key` is the setting that an error names.
    pub(crate) fn add(&mut self, key: &str, name: &str) -> Result<(), ConfigError> {
        let label = |label: &str| {
            // Containers have names with underscores.
            let byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            (1..=63).contains(&label.len()) && label.bytes().all(byte)
        };
        if name.len() <= 253 && name.split('.').all(label) {
            self.0.push(name.into());
            return Ok(());
        }
        let allowed = "a host's name without scheme or port, such as `ops.example.com`";
        Err(ConfigError::new(key, name, allowed))
    }

    /// Adds the names of another.
    #[cfg_attr(not(all(feature = "otel", feature = "ops")), allow(dead_code))]
    pub(crate) fn extend(&mut self, others: &Self) {
        self.0.extend_from_slice(&others.0);
    }

    /// Whether a `Host` is an IP address, `localhost` or one of the names, with any port.
    fn allow(&self, authority: &str) -> bool {
        let port = |rest: &str| {
            rest.is_empty()
                || rest
                    .strip_prefix(':')
                    .is_some_and(|port| port.bytes().all(|it| it.is_ascii_digit()))
        };
        if let Some(rest) = authority.strip_prefix('[') {
            let Some((address, rest)) = rest.split_once(']') else {
                return false;
            };
            return address.parse::<Ipv6Addr>().is_ok() && port(rest);
        }
        let end = authority.find(':').unwrap_or(authority.len());
        let (host, rest) = authority.split_at(end);
        let known = || {
            host.eq_ignore_ascii_case("localhost")
                || self.0.iter().any(|name| host.eq_ignore_ascii_case(name))
        };
        port(rest) && (host.parse::<Ipv4Addr>().is_ok() || known())
    }

    /// The host that the client believes to ask; an error is one that is not allowed, and empty where there is none.
    ///
    /// Where the target has an authority too, as in HTTP/2 and for proxies, both must be allowed, and the target's is the one
    /// that counts (RFC 9112, section 3.2.2).
    pub(crate) fn asked(&self, parts: &Parts) -> Result<String, String> {
        let refused = |host: &str| host.chars().take(64).collect::<String>();
        let host = match sole(&parts.headers, HOST.as_str()) {
            Ok(host) => host,
            Err(()) => return Err(refused("more than one")),
        };
        let target = parts.uri.authority().map(|it| it.as_str());
        let both = [target, host];
        let mut all = both.into_iter().flatten();
        if let Some(wrong) = all.clone().find(|it| !self.allow(it)) {
            return Err(refused(wrong));
        }
        all.next().map(str::to_owned).ok_or_else(String::new)
    }
}
