use std::net::IpAddr;

use http::request::Parts;

use crate::model::Country;

/// Where a request came from, as the layer's own walk found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// The address of the client itself, behind any trusted proxies; IPv6 of a translator is the IPv4 that it carries.
    pub address: IpAddr,
    /// Whether the connected peer is a trusted proxy: only then may a header that it sets be believed.
    pub via_trusted_proxy: bool,
}

/// Finds the verified user of a request.
///
/// The subject returned must already be verified: by this function (a signature, a session looked up) or by a
/// layer outside palisade whose extension it reads. An unverified token would let anyone spend another user's
/// quota, or mint users without end. Closures over `&Parts` implement it.
pub trait ExtractUser: Send + Sync + 'static {
    /// The verified subject, or `None` for an anonymous request.
    fn extract(&self, request: &Parts) -> Option<String>;
}

impl<F> ExtractUser for F
where
    F: Fn(&Parts) -> Option<String> + Send + Sync + 'static,
{
    fn extract(&self, request: &Parts) -> Option<String> {
        self(request)
    }
}

/// Finds the country of a request: a path segment, a header that a trusted proxy set, GeoIP.
///
/// It may return any country: only those on the [`Countries`](crate::client::Countries) list become labels. Closures over
/// `(&Parts, &Origin)` implement it. [`Origin`] has the address that GeoIP looks up, and tells whether a header
/// was written by a trusted proxy or by the client itself:
///
/// ```
/// use http::request::Parts;
/// use palisade::client::{Country, Origin, ResolveCountry};
///
/// fn resolver(_: impl ResolveCountry) {}
///
/// resolver(|request: &Parts, _: &Origin| -> Option<Country> {
///     request.uri.path().split('/').nth(1)?.parse().ok()
/// });
/// resolver(|request: &Parts, origin: &Origin| -> Option<Country> {
///     let header = request.headers.get("cf-ipcountry").filter(|_| origin.via_trusted_proxy)?;
///     header.to_str().ok()?.parse().ok()
/// });
/// ```
pub trait ResolveCountry: Send + Sync + 'static {
    /// The country of the request, if it can be told.
    fn resolve(&self, request: &Parts, origin: &Origin) -> Option<Country>;
}

impl<F> ResolveCountry for F
where
    F: Fn(&Parts, &Origin) -> Option<Country> + Send + Sync + 'static,
{
    fn resolve(&self, request: &Parts, origin: &Origin) -> Option<Country> {
        self(request, origin)
    }
}
