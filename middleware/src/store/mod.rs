//! The stores. [`memory`] keeps everything in this process, `redis` for all processes that share a server. A layer takes
//! either. Limits, failures and bans take both: `RateLimitLayer::shared(redis, memory)` counts in Redis, and in memory while
//! Redis fails.
//!
//! Each layer says by traits what it needs of a store: [`rate_limit::store`](crate::rate_limit::store),
//! [`suspicion::store`](crate::suspicion::store), [`segment::store`](crate::segment::store) and
//! [`funnel::store`](crate::funnel::store). Both stores implement all of them; a store of your own can implement any.
mod analytics;
pub(crate) mod config;
pub mod memory;
#[cfg(feature = "otel")]
pub(crate) mod metrics;
#[cfg(feature = "ops")]
pub(crate) mod panel;
#[cfg(any(feature = "redis", feature = "serde"))]
mod prefix;
#[cfg(feature = "redis")]
pub mod redis;

use std::time::Duration;

use crate::segment::{Event, OrderKey};
#[cfg(any(feature = "redis", feature = "serde"))]
pub(crate) use prefix::check_prefix;

pub use crate::model::{Operation, Outcome};
pub use analytics::{Analytics, AnalyticsMemory};
#[cfg(feature = "otel")]
pub use metrics::Calls;

/// How many orders and refunds of a customer are remembered, so that none counts twice; beyond them the oldest is forgotten.
const MOST_COUNTED: usize = 4096;

/// For how long changes of a customer who was erased may arrive late.
const ERASED_FOR: Duration = Duration::from_secs(600);

/// An event's effect on the record, the same in every store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// The customer was seen.
    Seen,
    /// An order that was not counted yet adds to spend and is one order more.
    Ordered(OrderKey, i64),
    /// A refund that was not counted yet adds this to spend, which is zero or less.
    Refunded(OrderKey, i64),
}

impl Effect {
    /// An amount below zero, which the port does not allow, counts as zero: otherwise an order could take from spend.
    fn of(event: &Event) -> Self {
        match *event {
            Event::Activity => Self::Seen,
            Event::Order { key, amount } => Self::Ordered(key, amount.max(0)),
            Event::Refund { key, amount } => Self::Refunded(key, -amount.max(0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_never_takes_and_a_refund_never_gives() {
        let key = OrderKey::of_order("1");
        for (amount, given) in [(5, 5), (0, 0), (-5, 0), (i64::MAX, i64::MAX), (i64::MIN, 0)] {
            let order = Effect::of(&Event::Order { key, amount });
            assert_eq!(order, Effect::Ordered(key, given));
            let refund = Effect::of(&Event::Refund { key, amount });
            assert_eq!(refund, Effect::Refunded(key, -given));
        }
    }
}
