//! The sessions' part of preflight.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Extensions;
use http::request::Parts;

use super::SessionLayer;
use super::core::{Core, Looked, Question, Settled};
use crate::model::{Answer, Ask, Asked, Client, Notes, Turn};

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

    fn ask(&self, request: &mut Parts) -> Asked {
        let Some(core) = &self.core else {
            return Asked::Known;
        };
        match core.look(request) {
            Looked::Settled(settled) => {
                settled.leave(&mut request.extensions);
                Asked::Known
            }
            Looked::Asked(question) => Asked::Waits(Box::new(Proving {
                core: Arc::clone(core),
                question: Some(question),
            })),
        }
    }
}

struct Proving {
    core: Arc<Core>,
    /// `None` once it was answered.
    question: Option<Question>,
}

impl Answer for Proving {
    fn poll(&mut self, cx: &mut Context<'_>, extensions: &mut Extensions, _: bool) -> Poll<()> {
        if let Some(question) = &mut self.question {
            let answer = ready!(Pin::new(&mut question.reply).poll(cx));
            if let Some(question) = self.question.take() {
                self.core.answer(question, answer).leave(extensions);
            }
        }
        Poll::Ready(())
    }
}

impl Settled {
    /// Leaves what was found for the layer; from here on the request is the user's.
    pub(super) fn leave(self, extensions: &mut Extensions) {
        if let Self::Session(session, _) = &self {
            if let Some(client) = extensions.get_mut::<Client>() {
                client.user = Some(session.user.clone());
            }
            if let Some(notes) = extensions.get::<Notes>() {
                notes.user(&session.user);
            }
        }
        extensions.insert(self);
    }
}
