use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};

use crate::model::{Client, Reason, Segment};

/// One request and how it ended, as an [`ObserveExchange`] receives it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Exchange<'a> {
    /// The method as the client sent it. It can be any text, so do not make it a label.
    pub method: &'a Method,
    /// The client, and the route that it asked for; the user of its session too.
    pub client: &'a Client,
    /// The response's; `None` when there was none, for the reason that `end` gives.
    pub status: Option<StatusCode>,
    /// How it ended.
    pub end: End,
    /// From the layer being called to the response's head, or to the end without one. Of a gRPC call that its trailers
    /// end: to the end of its body.
    pub took: Duration,
    /// The verdict of the limits and the bans.
    pub result: PolicyResult,
    /// Why a layer refused the request; `None` if none did.
    pub reason: Option<Reason>,
    /// The policies that were violated or could not be checked, for a request that was refused; else none.
    pub policies: &'a [Arc<str>],
    /// Which kind of customer asked; `None` for anonymous requests, without segments, and where a refusal came before.
    pub segment: Option<Segment>,
    /// How a gRPC call ended, 0 to 16; `None` for other requests. See [`body`](crate::body#grpc).
    pub grpc_status: Option<u8>,
}

impl Exchange<'_> {
    /// Which sort of outcome it is, for counts and logs that tell a few sorts apart.
    #[must_use]
    pub fn class(&self) -> Class {
        match (self.end, self.status) {
            _ if self.reason.is_some() || self.result.is_refused() => Class::Refused,
            (End::Cancelled, _) => Class::Cancelled,
            (End::Responded, Some(status)) if status.is_client_error() => Class::ClientError,
            (End::Responded, Some(status)) if !status.is_server_error() => Class::Ok,
            _ => Class::ServerError,
        }
    }

    /// The verdict as it is written: the result, or the reason where another layer than the limits and the bans refused.
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        match (self.result, self.reason) {
            (PolicyResult::None, Some(reason)) => reason.as_str(),
            (result, _) => result.as_str(),
        }
    }
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum End {
    /// With a response, whose body may still fail.
    Responded,
    /// The service returned an error instead of a response.
    Failed,
    /// The service panicked, or the body of a gRPC call.
    Panicked,
    /// The future was dropped before its response, or a gRPC call before its trailers: the client left, or a timeout
    /// further out.
    Cancelled,
}

/// The sort of an exchange's outcome, for counts and logs. Each exchange has exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Class {
    /// A status below 400.
    Ok,
    /// A 4xx of the service's own.
    ClientError,
    /// Refused by a layer of palisade, such as by a limit or a ban, whatever the status.
    Refused,
    /// A 5xx of the service's own, or no response because it failed.
    ServerError,
    /// The client did not wait for the response.
    Cancelled,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 5] = [
        Self::Ok,
        Self::ClientError,
        Self::Refused,
        Self::ServerError,
        Self::Cancelled,
    ];

    /// How it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ClientError => "client_error",
            Self::Refused => "refused",
            Self::ServerError => "server_error",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The verdict of the limits and the bans. With several policies it is the greatest, in the order of this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
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

/// Receives each [`Exchange`]; closures implement it.
///
/// It runs on the request's path, so it must neither block nor allocate more than it need. Should it panic, neither the
/// request nor the other observers suffer.
pub trait ObserveExchange: Send + Sync + 'static {
    /// A request has come. For each there is one [`observe`](Self::observe) later, whatever becomes of it.
    fn begin(&self) {}

    /// One request has its response, or never will.
    fn observe(&self, exchange: &Exchange<'_>);
}

impl<F: Fn(&Exchange<'_>) + Send + Sync + 'static> ObserveExchange for F {
    fn observe(&self, exchange: &Exchange<'_>) {
        self(exchange);
    }
}
