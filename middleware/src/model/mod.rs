//! The words that more than one room uses. It imports no room.
mod reply;

pub(crate) use reply::Pending;
pub use reply::Reply;
