use std::sync::Arc;
use std::task::{Context, Poll};
use std::{fmt, mem};

use http::Request;
use http::request::Parts;
use tower_service::Service;

use super::future::{Answers, Asking, ResponseFuture};
use crate::model::{Ask, Asked, Turn};

/// A service whose layers' questions to the store are asked together; see [`PreflightLayer`](super::PreflightLayer).
#[derive(Clone)]
pub struct Preflight<S> {
    inner: S,
    asked: Arc<[Box<dyn Ask>]>,
}

impl<S> Preflight<S> {
    pub(super) fn new(inner: S, asked: Arc<[Box<dyn Ask>]>) -> Self {
        Self { inner, asked }
    }
}

impl<S, ReqBody> Service<Request<ReqBody>> for Preflight<S>
where
    S: Service<Request<ReqBody>> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> ResponseFuture<S, ReqBody> {
        if self.asked.is_empty() {
            return ResponseFuture::inner(self.inner.call(request));
        }
        let (mut parts, body) = request.into_parts();
        let mut next = 0;
        let answers = ask(&self.asked, &mut next, &mut parts);
        if answers.is_empty() {
            let request = Request::from_parts(parts, body);
            return ResponseFuture::inner(self.inner.call(request));
        }
        // The service that was polled ready goes with the request; a clone waits for the next.
        let other = self.inner.clone();
        let service = mem::replace(&mut self.inner, other);
        ResponseFuture::asking(Asking {
            answers,
            layers: Arc::clone(&self.asked),
            next,
            service,
            parts,
            body,
        })
    }
}

/// Asks the layers in their order, from the `next` on; what is to be awaited. What proves is awaited before any other is asked.
pub(super) fn ask(layers: &[Box<dyn Ask>], next: &mut usize, request: &mut Parts) -> Answers {
    let mut answers = Answers::new();
    while let Some(layer) = layers.get(*next) {
        *next += 1;
        match layer.ask(request) {
            Asked::Known => {}
            Asked::Waits(answer) => {
                answers.push(answer);
                if layer.turn() == Turn::Prove {
                    return answers;
                }
            }
            Asked::Refused => {
                // Nobody will need the answers. The limits charge when they are asked, which is last of all.
                *next = layers.len();
                return Answers::new();
            }
        }
    }
    answers
}

impl<S: fmt::Debug> fmt::Debug for Preflight<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Preflight")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
