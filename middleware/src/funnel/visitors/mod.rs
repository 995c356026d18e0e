//! Counts visitors: from a response that reached a stage to the store's answer, off the request's path.
//!
//! `recorder.rs` has the queue and its work, `seen.rs` the visitors that need not be sent again, and `settings.rs` the public
//! settings, [`Visitors`]. `journey.rs` has the arithmetic of one visitor, which the memory store runs.

mod journey;
mod recorder;
mod seen;
mod settings;
mod tally;
#[cfg(test)]
mod tests;

use crate::model::{Client, Network, Secret, UserId};

use super::store::Visitor;

pub(crate) use journey::{Journey, Moment};
pub(super) use recorder::Recorder;
pub use settings::Visitors;
pub use tally::{ReachResult, VisitorCount, VisitorTally};

/// A visitor as a request shows it; hashing is left to the task that asks the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Who {
    User(UserId),
    Anonymous(Network),
}

impl Who {
    pub(super) fn of(client: &Client) -> Self {
        match &client.user {
            Some(user) => Self::User(user.clone()),
            None => Self::Anonymous(client.network),
        }
    }

    fn visitor(&self, secret: &Secret) -> Visitor {
        match self {
            Self::User(user) => Visitor::user(user.clone()),
            Self::Anonymous(network) => Visitor::anonymous(*network, secret),
        }
    }
}
