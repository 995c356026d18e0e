//! The stores: adapters of the ports that the layers own.
mod effect;
pub mod memory;
mod operation;
#[cfg(feature = "ops")]
pub(crate) mod panel;
#[cfg(feature = "redis")]
pub mod redis;

use std::time::Duration;

pub use operation::{Operation, Outcome};

/// So many orders and refunds of a customer are known again; beyond them, the oldest are forgotten first.
const MOST_COUNTED: usize = 4096;

/// For how long changes of a customer who was erased may arrive late.
const ERASED_FOR: Duration = Duration::from_secs(600);
