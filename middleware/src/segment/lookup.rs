//! What an outer layer that waits for the store anyway can look up on the way.

use crate::model::Segment;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// What a client is as a customer.
pub(crate) enum Lookup {
    /// No customer: no verified user, or the segments are off.
    Anonymous,
    /// Known at once.
    Known(Segment),
    /// Under way; it fills the cache, times out by itself, and is `None` when the store failed.
    Pending(Pin<Box<dyn Future<Output = Option<Segment>> + Send>>),
}

/// An extension of a request whose customer was looked up further out, `None` when the store failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Looked(pub(crate) Option<Segment>);

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Known(segment) => f.debug_tuple("Known").field(segment).finish(),
            Self::Pending(_) => f.write_str("Pending"),
        }
    }
}
