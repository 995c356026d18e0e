use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};

use crate::client::Client;
use crate::segment::Segment;

/// What became of one request; what an [`ObserveExchange`] is told.
#[derive(Debug)]
#[non_exhaustive]
pub struct Exchange<'a> {
    /// As sent: any other than the well-known ones is the client's text.
    pub method: &'a Method,
    /// Who asked, and for which route.
    pub client: &'a Client,
    /// The response's; `None` when there was none: the service failed, or the request was cancelled.
    pub status: Option<StatusCode>,
    /// From the layer being called to the response's head, or to the end without one.
    pub took: Duration,
    /// What the limits and the bans made of it.
    pub result: PolicyResult,
    /// The policies that were violated or could not be checked, for a request that was refused; else none.
    pub policies: &'a [Arc<str>],
    /// Which kind of customer asked; `None` for anonymous requests, without segments, and where a refusal came before.
    pub segment: Option<Segment>,
}

/// What the limits and the bans made of a request; for several policies, the first that applies from the bottom up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum PolicyResult {
    /// No policy applied.
    #[default]
    None,
    /// There was room.
    Admitted,
    /// Admitted while the store failed.
    FallbackAdmitted,
    /// Admitted, though a policy in a dry run had no room.
    DryRunDenied,
    /// A policy had no room: refused.
    Denied,
    /// Refused while the store failed, by the local log or by a closed policy.
    FallbackDenied,
    /// The client is banned: refused.
    Banned,
}

impl PolicyResult {
    /// Every result.
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::Admitted,
        Self::FallbackAdmitted,
        Self::DryRunDenied,
        Self::Denied,
        Self::FallbackDenied,
        Self::Banned,
    ];

    /// How it is written: as the label `result` of the metrics, with `none` and `banned` besides.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Admitted => "admitted",
            Self::FallbackAdmitted => "fallback_admitted",
            Self::DryRunDenied => "dry_run_denied",
            Self::Denied => "denied",
            Self::FallbackDenied => "fallback_denied",
            Self::Banned => "banned",
        }
    }

    /// Whether the request was refused.
    #[must_use]
    pub const fn is_refused(self) -> bool {
        matches!(self, Self::Denied | Self::FallbackDenied | Self::Banned)
    }
}

impl fmt::Display for PolicyResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Is told what became of each request; closures implement it.
///
/// It runs on the request's path, so it must neither block nor allocate more than it need.
pub trait ObserveExchange: Send + Sync + 'static {
    /// One request has its response, or never will.
    fn observe(&self, exchange: &Exchange<'_>);
}

impl<F: Fn(&Exchange<'_>) + Send + Sync + 'static> ObserveExchange for F {
    fn observe(&self, exchange: &Exchange<'_>) {
        self(exchange);
    }
}
