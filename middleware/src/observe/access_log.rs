use std::fmt;
use std::time::Instant;

use tracing::Level;

use crate::http::methods;
use crate::log::Sampler;
use crate::model::{Class, Exchange, ObserveExchange};

/// The access log: one line of the target `palisade::access` for an exchange, of each [`Class`] a bounded number in a
/// second.
///
/// The field `represents` says how many exchanges of its class a line stands for: itself, and those without a line since
/// the class's last one. So the sum over a class's lines is the number of its exchanges, but for those since the last line.
/// Lines have neither addresses nor ids of users, and no text of the client: a method of the standards or
/// `_OTHER`, and the route's template. A line is of the level INFO, or WARN where the status is a 5xx or the service
/// failed. An exchange whose level nobody subscribed to costs a branch, and is not represented either.
///
/// [`Config::log`](crate::config::Config::log) adds it to a [`Stack`](crate::stack::Stack); elsewhere it is an observer
/// like any other:
///
/// ```
/// use palisade::observe::{AccessLog, ObserveLayer};
///
/// let layer = ObserveLayer::new(vec![Box::new(AccessLog::new(10))]);
/// # let _ = layer;
/// ```
#[derive(Debug)]
pub struct AccessLog {
    started: Instant,
    /// By class.
    samplers: [Sampler; Class::ALL.len()],
}

impl AccessLog {
    /// The most lines in a second of each class.
    pub const MOST_LINES: u16 = 1_000;

    /// A log of this many lines in a second of each class, at most [`AccessLog::MOST_LINES`]; 0 writes none.
    #[must_use]
    pub fn new(lines: u16) -> Self {
        let lines = lines.min(Self::MOST_LINES);
        Self {
            started: Instant::now(),
            samplers: Class::ALL.map(|_| Sampler::new(lines)),
        }
    }
}

/// A line at a level, which must be known where it is written.
macro_rules! write_line {
    ($level:ident, $exchange:expr, $class:expr, $represents:expr) => {{
        let exchange = $exchange;
        tracing::$level!(
            target: "palisade::access",
            event = "access",
            method = methods::METHODS[methods::place(exchange.method)],
            route = %Shown(exchange.client.route.shown()),
            status = exchange.status.map(|status| status.as_u16()),
            grpc_status = exchange.grpc_status,
            duration_ms = exchange.took.as_micros() as f64 / 1e3,
            result = exchange.verdict(),
            policies = Names::of(exchange).map(tracing::field::display),
            segment = exchange.segment.map(|segment| segment.as_str()),
            country = exchange.client.country.as_str(),
            class = $class.as_str(),
            represents = $represents,
            "request"
        );
    }};
}

impl ObserveExchange for AccessLog {
    fn observe(&self, exchange: &Exchange<'_>) {
        let class = exchange.class();
        let is_bad = class == Class::ServerError
            || exchange
                .status
                .is_some_and(|status| status.is_server_error());
        let is_on = if is_bad {
            tracing::enabled!(target: "palisade::access", Level::WARN)
        } else {
            tracing::enabled!(target: "palisade::access", Level::INFO)
        };
        if !is_on {
            return;
        }
        let second = self.started.elapsed().as_secs();
        let Some(represents) = self.samplers[class as usize].offer(second) else {
            return;
        };
        if is_bad {
            write_line!(warn, exchange, class, represents);
        } else {
            write_line!(info, exchange, class, represents);
        }
    }
}

/// Text of a route, escaped: a template may hold anything.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_debug().fmt(f)
    }
}

/// Names of policies, `a-z0-9_-` each, with commas between them.
struct Names<'a>(&'a Exchange<'a>);

impl<'a> Names<'a> {
    /// `None` where there are none.
    fn of(exchange: &'a Exchange<'a>) -> Option<Self> {
        (!exchange.policies.is_empty()).then_some(Self(exchange))
    }
}

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.policies.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}
