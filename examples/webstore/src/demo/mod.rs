//! Traffic that the shop makes for itself, so that there is something to see.

pub mod personas;
