//! The stores: adapters of the ports that the layers own.
pub mod memory;
mod operation;

pub use operation::{Operation, Outcome};
