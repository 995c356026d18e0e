use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::request::Parts;
use http::{Extensions, HeaderMap, Request};
use tower_layer::Layer;

use super::proxies::ProxyCheck;
use super::unmet::Unmet;
use super::{ExtractUser, ForwardedHeader, Identify, Origin, Peer, ResolveCountry, TrustedProxies};
use crate::ConfigError;
use crate::model::{
    Countries, Country, MatchedRoute, Nat64Prefixes, ResolveRoute, Room, Route, Secret, UserId,
};

/// Finds out who is calling and leaves it as a [`Client`](super::Client) extension; see the
/// [module](crate::client) for the sources of the peer.
///
/// Cheap to clone: clones share their settings.
#[derive(Debug, Clone)]
pub struct IdentifyLayer {
    config: Arc<Config>,
}

impl IdentifyLayer {
    /// Starts from: no trusted proxies, `X-Forwarded-For`, IPv6 by /64, no users, no countries, axum's route.
    pub fn builder() -> IdentifyLayerBuilder {
        IdentifyLayerBuilder {
            trusted_proxies: TrustedProxies::default(),
            forwarded_header: ForwardedHeader::default(),
            ipv6_prefix: 64,
            nat64: Nat64Prefixes::default(),
            user: None,
            country: None,
            route: Box::new(MatchedRoute),
            secret: None,
            unmet: None,
        }
    }

    pub(crate) fn around<S>(&self, inner: S) -> Identify<S> {
        Identify::new(inner, Arc::clone(&self.config))
    }
}

impl<S> Layer<S> for IdentifyLayer {
    type Service = Identify<S>;

    fn layer(&self, inner: S) -> Identify<S> {
        self.around(inner)
    }
}

impl Room for IdentifyLayer {}

/// Settings of a [`IdentifyLayer`].
#[must_use = "a builder does nothing until `build`"]
pub struct IdentifyLayerBuilder {
    trusted_proxies: TrustedProxies,
    forwarded_header: ForwardedHeader,
    ipv6_prefix: u8,
    nat64: Nat64Prefixes,
    user: Option<Box<dyn ExtractUser>>,
    country: Option<(Countries, Box<dyn ResolveCountry>)>,
    route: Box<dyn ResolveRoute>,
    secret: Option<Secret>,
    unmet: Option<Unmet>,
}

impl IdentifyLayerBuilder {
    /// The networks of your proxies. The forwarding header counts only in requests that come from one of them.
    pub fn trusted_proxies(mut self, proxies: TrustedProxies) -> Self {
        self.trusted_proxies = proxies;
        self
    }

    /// The one header that the trusted proxies write; any other is ignored.
    pub fn forwarded_header(mut self, header: ForwardedHeader) -> Self {
        self.forwarded_header = header;
        self
    }

    /// How many bits of an IPv6 address count as one client, 1 to 128.
    pub fn ipv6_prefix(mut self, bits: u8) -> Self {
        self.ipv6_prefix = bits;
        self
    }

    /// The IPv6 prefixes of your translators; see [`Nat64Prefixes`].
    pub fn nat64_prefixes(mut self, prefixes: Nat64Prefixes) -> Self {
        self.nat64 = prefixes;
        self
    }

    /// How the verified user is found; without it every request is anonymous.
    pub fn user(mut self, user: impl ExtractUser) -> Self {
        self.user = Some(Box::new(user));
        self
    }

    /// Which countries are labels, and how the country is found; without it every country is `other`.
    pub fn country(mut self, countries: Countries, country: impl ResolveCountry) -> Self {
        self.country = Some((countries, Box::new(country)));
        self
    }

    /// How the route is found; [`MatchedRoute`] unless set.
    pub fn route(mut self, route: impl ResolveRoute) -> Self {
        self.route = Box::new(route);
        self
    }

    /// The key of the hashes that replace user ids that are not plain; random unless set, which serves a single
    /// process only.
    pub fn secret(mut self, secret: Secret) -> Self {
        self.secret = Some(secret);
        self
    }

    /// The routes of settings, to tell of those that no request meets.
    pub(crate) fn unmet(mut self, unmet: Option<Unmet>) -> Self {
        self.unmet = unmet;
        self
    }

    /// Whether the user of a request is asked for.
    pub(crate) fn has_user(&self) -> bool {
        self.user.is_some()
    }

    /// The layer.
    ///
    /// # Errors
    /// [`ConfigError`] for an IPv6 prefix outside 1 to 128, and when a secret must be drawn and cannot be.
    pub fn build(self) -> Result<IdentifyLayer, ConfigError> {
        if !(1..=128).contains(&self.ipv6_prefix) {
            return Err(ConfigError::new(
                "ipv6_prefix",
                self.ipv6_prefix,
                "1 to 128 bits",
            ));
        }
        let user = match (self.user, self.secret) {
            (None, _) => None,
            (Some(user), Some(secret)) => Some((user, secret)),
            (Some(user), None) => Some((user, Secret::random()?)),
        };
        Ok(IdentifyLayer {
            config: Arc::new(Config {
                proxies: ProxyCheck::default(),
                unmet: self.unmet,
                trusted_proxies: self.trusted_proxies,
                forwarded_header: self.forwarded_header,
                ipv6_prefix: self.ipv6_prefix,
                nat64: self.nat64,
                user,
                country: self.country,
                route: self.route,
                warned: AtomicBool::new(false),
            }),
        })
    }
}

impl std::fmt::Debug for IdentifyLayerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdentifyLayerBuilder")
            .field("trusted_proxies", &self.trusted_proxies)
            .field("forwarded_header", &self.forwarded_header)
            .field("ipv6_prefix", &self.ipv6_prefix)
            .finish_non_exhaustive()
    }
}

/// Everything that the services of one layer share.
pub(super) struct Config {
    trusted_proxies: TrustedProxies,
    forwarded_header: ForwardedHeader,
    pub(super) ipv6_prefix: u8,
    nat64: Nat64Prefixes,
    user: Option<(Box<dyn ExtractUser>, Secret)>,
    country: Option<(Countries, Box<dyn ResolveCountry>)>,
    route: Box<dyn ResolveRoute>,
    proxies: ProxyCheck,
    unmet: Option<Unmet>,
    /// Whether the missing peer was reported: once for a layer, not for each request.
    warned: AtomicBool,
}

impl Config {
    pub(super) fn origin(&self, headers: &HeaderMap, extensions: &Extensions) -> Origin {
        let peer = connected_peer(extensions).unwrap_or_else(|| {
            if !self.warned.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    target: "palisade::client",
                    event = "peer_unknown",
                    "the connected peer of a request is unknown, so all such requests count as one client, 0.0.0.0; \
                     serve an axum router with `into_make_service_with_connect_info::<SocketAddr>()`, or insert \
                     `palisade::client::Peer` into each request's extensions"
                );
            }
            Ipv4Addr::UNSPECIFIED.into()
        });
        let peer = self.nat64.read(peer);
        let via_trusted_proxy = self.trusted_proxies.contains(peer);
        let header = self.forwarded_header;
        self.proxies.heed(via_trusted_proxy, header, headers);
        let address = if via_trusted_proxy {
            self.forwarded_header
                .behind(peer, headers, &self.trusted_proxies, &self.nat64)
        } else {
            peer
        };
        Origin {
            address,
            via_trusted_proxy,
        }
    }

    /// The route of a request, which the settings that name routes are told.
    pub(super) fn route<B>(&self, request: &Request<B>) -> Route {
        let (method, uri) = (request.method(), request.uri());
        let route = self.route.resolve(method, uri, request.extensions());
        let route = route.unwrap_or(Route::UNMATCHED);
        if let Some(unmet) = &self.unmet {
            unmet.heed(method, &route, uri);
        }
        route
    }

    /// Whether a request's user or country is asked for, which takes the request apart.
    pub(super) fn reads_parts(&self) -> bool {
        self.user.is_some() || self.country.is_some()
    }

    pub(super) fn user(&self, request: &Parts) -> Option<UserId> {
        let (user, secret) = self.user.as_ref()?;
        Some(UserId::new(&user.extract(request)?, secret))
    }

    pub(super) fn country(&self, request: &Parts, origin: &Origin) -> Country {
        self.country
            .as_ref()
            .map_or(Country::OTHER, |(countries, country)| {
                countries.label(country.resolve(request, origin))
            })
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("trusted_proxies", &self.trusted_proxies)
            .field("forwarded_header", &self.forwarded_header)
            .field("ipv6_prefix", &self.ipv6_prefix)
            .finish_non_exhaustive()
    }
}

fn connected_peer(extensions: &Extensions) -> Option<IpAddr> {
    let peer = extensions.get::<Peer>().map(|Peer(peer)| peer);
    #[cfg(feature = "axum")]
    let peer = peer.or_else(|| {
        extensions
            .get::<axum::extract::ConnectInfo<SocketAddr>>()
            .map(|axum::extract::ConnectInfo(peer)| peer)
    });
    peer.map(SocketAddr::ip)
}
