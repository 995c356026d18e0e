//! The sessions' part of preflight.

use std::mem;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Extensions;
use http::request::Parts;

use super::core::{Core, Looked, Question, Settled, Unproved};
use super::store::Proved;
use super::{Session, SessionLayer};
use crate::model::{
    Answer, Ask, Asked, Claimed, Client, Found, Notes, SessionGate, StoreError, Turn,
};

impl Ask for SessionLayer {
    fn room(&self) -> &'static str {
        "session"
    }

    fn turn(&self) -> Turn {
        Turn::Prove
    }

    fn waits(&self) -> bool {
        self.core.is_some()
    }

    fn sessions_in(&self) -> Option<&str> {
        self.core.as_ref()?.store.proved_in()
    }

    fn ask(&self, request: &mut Parts) -> Asked {
        let Some(core) = &self.core else {
            return Asked::Known;
        };
        let unproved = match core.look(request) {
            Looked::Settled(settled) => {
                let is_users = matches!(settled, Settled::Session(..));
                let by_address = is_users && core.is_by_address(request);
                settled.leave(&mut request.extensions, by_address);
                return Asked::Known;
            }
            Looked::Unproved(unproved) => unproved,
        };
        let gate = core.store.gate(&unproved.claim, unproved.touch);
        match gate.filter(|_| !core.is_by_address(request)) {
            Some(gate) => Asked::Claims(Box::new(Claiming {
                core: Arc::clone(core),
                gate,
                state: State::Unproved(unproved),
            })),
            None => Claiming::prove(core, unproved, request),
        }
    }
}

/// A session that a request claims.
struct Claiming {
    core: Arc<Core>,
    gate: SessionGate,
    state: State,
}

enum State {
    Unproved(Unproved),
    Heard(Settled),
    /// In between.
    Taken,
}

impl Claiming {
    fn prove(core: &Arc<Core>, unproved: Unproved, request: &mut Parts) -> Asked {
        let by_address = core.is_by_address(request);
        match core.ask(unproved) {
            ControlFlow::Break(settled) => {
                settled.leave(&mut request.extensions, by_address);
                Asked::Known
            }
            ControlFlow::Continue(question) => Asked::Waits(Box::new(Proving {
                core: Arc::clone(core),
                question: Some(question),
                by_address,
            })),
        }
    }
}

impl Claimed for Claiming {
    fn gate(&self) -> &SessionGate {
        &self.gate
    }

    fn alone(self: Box<Self>, request: &mut Parts) -> Asked {
        match self.state {
            State::Unproved(unproved) => Self::prove(&self.core, unproved, request),
            State::Heard(_) | State::Taken => Asked::Known,
        }
    }

    fn hear(&mut self, found: Result<Found, StoreError>) -> bool {
        let State::Unproved(unproved) = mem::replace(&mut self.state, State::Taken) else {
            return false;
        };
        let proved = found.map(|found| match found {
            Found::Gone => Proved::Gone,
            Found::Rotated => Proved::Rotated,
            // A record that only another version can read is no session here.
            Found::Lives { left, record } => self
                .core
                .store
                .read(&unproved.claim, &record)
                .map_or(Proved::Gone, |session| Proved::Lives(session, left)),
        });
        let settled = self.core.settle(unproved, proved);
        let is_users = matches!(settled, Settled::Session(..));
        self.state = State::Heard(settled);
        is_users
    }

    fn leave(self: Box<Self>, extensions: &mut Extensions) {
        if let State::Heard(settled) = self.state {
            settled.leave(extensions, false);
        }
    }
}

struct Proving {
    core: Arc<Core>,
    /// `None` once it was answered.
    question: Option<Question>,
    by_address: bool,
}

impl Answer for Proving {
    fn poll(&mut self, cx: &mut Context<'_>, extensions: &mut Extensions, _: bool) -> Poll<()> {
        if let Some(question) = &mut self.question {
            let answer = ready!(Pin::new(&mut question.reply).poll(cx));
            if let Some(question) = self.question.take() {
                let settled = self.core.answer(question, answer);
                settled.leave(extensions, self.by_address);
            }
        }
        Poll::Ready(())
    }
}

impl Settled {
    /// Leaves what was found for the layer. From here on the request is the user's; `by_address`, from the layer on.
    pub(super) fn leave(self, extensions: &mut Extensions, by_address: bool) {
        if let Self::Session(session, _) = &self {
            if !by_address {
                session.own(extensions);
            }
            if let Some(notes) = extensions.get::<Notes>() {
                notes.user(&session.user);
            }
        }
        extensions.insert(self);
    }
}

impl Session {
    /// Makes the request its user's.
    pub(super) fn own(&self, extensions: &mut Extensions) {
        if let Some(client) = extensions.get_mut::<Client>()
            && client.user.as_ref() != Some(&self.user)
        {
            client.user = Some(self.user.clone());
        }
    }
}
