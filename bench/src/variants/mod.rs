//! What is compared.

pub(crate) mod decision;
mod documents;
mod governor;
mod palisade;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use axum::Router;
use axum::extract::ConnectInfo;
use clap::ValueEnum;
use http::{Extensions, HeaderMap};

use crate::Result;
use crate::arguments::Serve;

/// How many decisions were made without the store so far.
pub(crate) type Fallbacks = Box<dyn Fn() -> u64 + Send>;

/// One way to serve the shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Variant {
    /// No limiter at all.
    Bare,
    /// tower_governor: GCRA in memory, a layer for each tier, with its headers.
    Governor,
    /// tower_governor without its headers.
    GovernorPlain,
    /// A ZSET log in Redis: a pooled connection, a MULTI pipeline for each tier.
    Documents,
    /// palisade on its memory store.
    Memory,
    /// palisade on its memory store, without its headers.
    MemoryPlain,
    /// palisade on its memory store, with metrics.
    MemoryMetrics,
    /// palisade on its memory store, every layer on.
    MemoryEverything,
    /// palisade on its memory store, every layer on, with the access log and the live page.
    MemoryWatched,
    /// palisade on Redis.
    Redis,
    /// palisade on Redis, every layer on.
    RedisEverything,
    /// palisade on Redis, flooded by one client far beyond its limit.
    Flood,
}

impl Variant {
    pub(crate) const DEFAULT: [Self; 9] = [
        Self::Bare,
        Self::Governor,
        Self::Documents,
        Self::Memory,
        Self::MemoryEverything,
        Self::MemoryWatched,
        Self::Redis,
        Self::RedisEverything,
        Self::Flood,
    ];

    /// The name in the table.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Governor => "tower_governor (memory, inexact)",
            Self::GovernorPlain => "tower_governor, no headers",
            Self::Documents => "ZSET log in Redis, MULTI per tier",
            Self::Memory => "palisade, memory",
            Self::MemoryPlain => "palisade, memory, no headers",
            Self::MemoryMetrics => "palisade, memory, metrics",
            Self::MemoryEverything => "palisade, memory, every layer",
            Self::MemoryWatched => "palisade, memory, every layer, log and page",
            Self::Redis => "palisade, Redis",
            Self::RedisEverything => "palisade, Redis, every layer",
            Self::Flood => "palisade, Redis, one client flooding",
        }
    }

    pub(crate) fn needs_redis(self) -> bool {
        matches!(
            self,
            Self::Documents | Self::Redis | Self::RedisEverything | Self::Flood
        )
    }

    /// The shop as this variant serves it.
    pub(crate) fn wrap(self, shop: Router, serve: &Serve) -> Result<(Router, Fallbacks)> {
        let quotas = serve.quotas;
        let url = || serve.redis.as_deref().ok_or("--redis is missing");
        let limited = match self {
            Self::Bare => shop,
            Self::Governor => governor::wrap(shop, quotas)?,
            Self::GovernorPlain => governor::wrap_plain(shop, quotas)?,
            Self::Documents => documents::wrap(shop, quotas, url()?)?,
            Self::Memory => palisade::memory(shop, quotas, palisade::HEADERS)?,
            Self::MemoryPlain => palisade::memory(shop, quotas, palisade::NO_HEADERS)?,
            Self::MemoryMetrics => palisade::memory_metrics(shop, quotas)?,
            Self::MemoryEverything => return palisade::everything(shop, quotas, None, false),
            Self::MemoryWatched => return palisade::everything(shop, quotas, None, true),
            Self::RedisEverything => {
                return palisade::everything(shop, quotas, Some(url()?), false);
            }
            Self::Redis | Self::Flood => return palisade::redis(shop, quotas, url()?),
        };
        Ok((limited, Box::new(|| 0)))
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            self.to_possible_value()
                .as_ref()
                .map_or("", |value| value.get_name()),
        )
    }
}

/// The client's address for the variants that come without a trusted-proxy walk: the last element of
/// `X-Forwarded-For` when the peer is the local proxy. One line, one element is all that the load sends.
fn address(headers: &HeaderMap, extensions: &Extensions) -> Option<IpAddr> {
    let peer = extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip();
    if !peer.is_loopback() {
        return Some(peer);
    }
    let line = headers.get("x-forwarded-for")?.to_str().ok()?;
    line.rsplit(',').next()?.trim().parse().ok()
}

/// The user of the load's token, the same for every variant.
fn user(headers: &HeaderMap) -> Option<&str> {
    let token = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    token.strip_prefix("Bearer user-token-")
}
