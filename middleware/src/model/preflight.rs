//! What preflight may ask of a layer.

use std::task::{Context, Poll};

use http::Extensions;
use http::request::Parts;

use super::{AskedEitherWay, Claimed, EitherWay, SessionGate};

/// A layer whose question to the store [`PreflightLayer`](crate::preflight::PreflightLayer) asks along with others.
pub trait Ask: Send + Sync + 'static {
    /// The layer's room, such as `rate_limit`; a preflight asks one layer of each room.
    fn room(&self) -> &'static str;

    /// When it is asked.
    fn turn(&self) -> Turn;

    /// Whether a request may have to wait for the answer, or for the answer of another layer on which this one depends.
    ///
    /// Preflight does nothing unless this is true of two of its layers. A single one asks by itself.
    fn waits(&self) -> bool;

    /// The store whose bans this layer leaves to another to ask about, or asks about for another; `None` of a layer that does
    /// neither. Preflight refuses layers that name two.
    fn bans_in(&self) -> Option<&str> {
        None
    }

    /// The store whose sessions this layer has proved by another, or proves for another; `None` of a layer that does neither.
    fn sessions_in(&self) -> Option<&str> {
        None
    }

    /// Whether a request may be asked about twice, as two users', of whom one turns out to be none: asking has no effect.
    fn asks_either_way(&self) -> bool {
        false
    }

    /// Begins to ask about a request that claims a session: the call proves it, and decides as the user's only if it is.
    /// `None` of a layer that proves none.
    fn ask_either_way(&self, gate: &SessionGate, request: EitherWay<'_>) -> Option<AskedEitherWay> {
        let _ = (gate, request);
        None
    }

    /// Begins to ask about a request. What is known at once becomes an extension of the request, and so do the answers.
    fn ask(&self, request: &mut Parts) -> Asked;
}

/// When a layer is asked: each turn may depend on the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Turn {
    /// Before all others: whose session the request has. It is always asked here. The others begin when its answer is there,
    /// unless the limits' call proves the session.
    Prove,
    /// A layer that may refuse the request before anything is charged, such as for a ban.
    Screen,
    /// Then a layer that finds out more about the client, such as the customer's segment.
    Classify,
    /// Last: a layer that charges for the request.
    Charge,
}

/// What asking a layer led to.
pub enum Asked {
    /// Nothing is to be awaited.
    Known,
    /// The layer will refuse the request: nothing more is asked, and nothing is awaited.
    Refused,
    /// The answer is under way, or leaves when it is polled.
    Waits(Box<dyn Answer>),
    /// Said by the session's layer alone: the request claims a session that only the store can prove.
    Claims(Box<dyn Claimed>),
}

/// An answer that is under way. Dropped before it is polled, most questions never leave; that of the limits has left, and what
/// it charged stays charged.
pub trait Answer: Send {
    /// Puts the answer into the request's extensions when it comes; not polled after that.
    ///
    /// `earlier` tells whether a layer that was asked before this one still waits. It is polled again once none does.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        extensions: &mut Extensions,
        earlier: bool,
    ) -> Poll<()>;
}
