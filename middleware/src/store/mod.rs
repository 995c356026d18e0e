//! The stores: adapters of the ports that the layers own.
pub mod memory;
mod operation;
#[cfg(feature = "redis")]
pub mod redis;

pub use operation::{Operation, Outcome};
