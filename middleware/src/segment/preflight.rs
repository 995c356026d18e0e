//! The segments' part of preflight.

use std::fmt;
use std::task::{Context, Poll, ready};

use http::Extensions;
use http::request::Parts;

use super::registry::{Awaited, Sought};
use super::{ClassifyLayer, Standing};
use crate::model::{Answer, Ask, Asked, Client, Segment, Turn};

/// What a client is as a customer.
pub(super) enum Lookup {
    /// No customer: no verified user, or the segments are off.
    Anonymous,
    /// Known at once; `None` when the store failed.
    Known(Option<Segment>),
    /// Under way; it fills the cache, times out by itself, and is `None` when the store failed.
    Pending(Awaited),
}

/// An extension of a request whose customer was looked up further out, `None` when the store failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Looked(pub(super) Option<Segment>);

impl ClassifyLayer {
    /// What the client is as a customer, without an activity of theirs.
    pub(super) fn lookup(&self, client: &Client) -> Lookup {
        let (Some(registry), Some(user)) = (&self.registry, &client.user) else {
            return Lookup::Anonymous;
        };
        match registry.seek(user, false).0 {
            Sought::Now(standing) => Lookup::Known(standing.map(Standing::segment)),
            Sought::Later(awaited) => Lookup::Pending(awaited),
        }
    }
}

impl Ask for ClassifyLayer {
    fn room(&self) -> &'static str {
        "segment"
    }

    fn turn(&self) -> Turn {
        Turn::Classify
    }

    fn waits(&self) -> bool {
        self.registry.is_some()
    }

    fn asks_either_way(&self) -> bool {
        true
    }

    fn ask(&self, request: &mut Parts) -> Asked {
        let Some(client) = request.extensions.get::<Client>() else {
            return Asked::Known;
        };
        match self.lookup(client) {
            Lookup::Anonymous => Asked::Known,
            Lookup::Known(segment) => {
                // The limits read it.
                if let Some(segment) = segment {
                    request.extensions.insert(segment);
                }
                request.extensions.insert(Looked(segment));
                Asked::Known
            }
            Lookup::Pending(awaited) => Asked::Waits(Box::new(Looking(awaited))),
        }
    }
}

struct Looking(Awaited);

impl Answer for Looking {
    fn poll(&mut self, cx: &mut Context<'_>, extensions: &mut Extensions, _: bool) -> Poll<()> {
        let segment = ready!(self.0.as_mut().poll(cx)).map(Standing::segment);
        // The limits may need it yet.
        if let Some(segment) = segment {
            extensions.insert(segment);
        }
        extensions.insert(Looked(segment));
        Poll::Ready(())
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Known(segment) => f.debug_tuple("Known").field(segment).finish(),
            Self::Pending(_) => f.write_str("Pending"),
        }
    }
}
