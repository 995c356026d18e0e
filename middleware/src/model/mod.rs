//! Words that more than one room uses. It imports no room.

#[cfg(feature = "ops")]
pub(crate) mod panel;
