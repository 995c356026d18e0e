//! The stores: adapters of the ports that the layers own.
mod effect;
pub mod memory;
#[cfg(feature = "otel")]
pub(crate) mod metrics;
#[cfg(feature = "redis")]
pub mod redis;

use std::time::Duration;

pub use crate::model::{Operation, Outcome};
#[cfg(feature = "otel")]
pub use metrics::Calls;

/// So many orders and refunds of a customer are known again; beyond them, the oldest are forgotten first.
const MOST_COUNTED: usize = 4096;

/// For how long changes of a customer who was erased may arrive late.
const ERASED_FOR: Duration = Duration::from_secs(600);
