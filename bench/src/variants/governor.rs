//! tower_governor 0.8: two layers, one for each tier.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use governor::clock::QuantaInstant;
use governor::middleware::NoOpMiddleware;
use http::Request;
use palisade::rate_limit::Quota;
use tower_governor::governor::GovernorConfigBuilder;
use tower_governor::key_extractor::{KeyExtractor, PeerIpKeyExtractor};
use tower_governor::{GovernorError, GovernorLayer};

use crate::Result;
use crate::arguments::Quotas;

#[derive(Debug, Clone, PartialEq, Eq)]
struct ByAddress;

impl KeyExtractor for ByAddress {
    type Key = IpAddr;

    fn extract<T>(&self, request: &Request<T>) -> Result<IpAddr, GovernorError> {
        super::address(request.headers(), request.extensions())
            .ok_or(GovernorError::UnableToExtractKey)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct ByUser;

impl KeyExtractor for ByUser {
    type Key = Arc<str>;

    fn extract<T>(&self, request: &Request<T>) -> Result<Arc<str>, GovernorError> {
        let user = super::user(request.headers()).ok_or(GovernorError::UnableToExtractKey)?;
        Ok(user.into())
    }
}

/// With `X-RateLimit` headers on every response, since palisade sends its own on every response.
pub(super) fn wrap(shop: Router, quotas: Quotas) -> Result<Router> {
    let ip = builder(quotas.ip)
        .key_extractor(ByAddress)
        .use_headers()
        .finish();
    let user = builder(quotas.user)
        .key_extractor(ByUser)
        .use_headers()
        .finish();
    Ok(shop
        .layer(GovernorLayer::new(user.ok_or("no user quota")?))
        .layer(GovernorLayer::new(ip.ok_or("no IP quota")?)))
}

pub(super) fn wrap_plain(shop: Router, quotas: Quotas) -> Result<Router> {
    let ip = builder(quotas.ip).key_extractor(ByAddress).finish();
    let user = builder(quotas.user).key_extractor(ByUser).finish();
    Ok(shop
        .layer(GovernorLayer::new(user.ok_or("no user quota")?))
        .layer(GovernorLayer::new(ip.ok_or("no IP quota")?)))
}

/// GCRA as close to the quota as it comes: a burst of the limit, refilled evenly over the window.
fn builder(
    quota: Quota,
) -> GovernorConfigBuilder<PeerIpKeyExtractor, NoOpMiddleware<QuantaInstant>> {
    let mut builder = GovernorConfigBuilder::default();
    builder
        .period(quota.window() / quota.limit())
        .burst_size(quota.limit());
    builder
}
