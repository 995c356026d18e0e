//! The stores: adapters of the ports that the layers own.
mod effect;
pub mod memory;
mod operation;
#[cfg(any(feature = "redis", feature = "serde"))]
mod prefix;
#[cfg(feature = "redis")]
pub mod redis;

use std::time::Duration;

pub use operation::{Operation, Outcome};
#[cfg(any(feature = "redis", feature = "serde"))]
pub(crate) use prefix::check_prefix;

/// So many orders and refunds of a customer are known again; beyond them, the oldest are forgotten first.
const MOST_COUNTED: usize = 4096;

/// For how long changes of a customer who was erased may arrive late.
const ERASED_FOR: Duration = Duration::from_secs(600);
