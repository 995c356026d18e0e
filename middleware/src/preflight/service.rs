use std::sync::Arc;
use std::task::{Context, Poll};
use std::{fmt, mem};

use http::Request;
use http::request::Parts;
use tower_service::Service;

use super::either_way::{Either, Forked};
use super::future::{Answers, Asking, ResponseFuture};
use super::layer::Layers;
use crate::model::{Asked, Turn};

/// A service whose layers' questions to the store are asked together; see [`PreflightLayer`](super::PreflightLayer).
#[derive(Clone)]
pub struct Preflight<S> {
    inner: S,
    asked: Arc<Layers>,
}

impl<S> Preflight<S> {
    pub(super) fn new(inner: S, asked: Arc<Layers>) -> Self {
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
        if self.asked.each.is_empty() {
            return ResponseFuture::inner(self.inner.call(request));
        }
        let (mut parts, body) = request.into_parts();
        let mut next = 0;
        let (answers, either) = ask(&self.asked, &mut next, &mut parts);
        if answers.is_empty() && either.is_none() {
            let request = Request::from_parts(parts, body);
            return ResponseFuture::inner(self.inner.call(request));
        }
        // The service that was polled ready goes with the request; a clone waits for the next.
        let other = self.inner.clone();
        let service = mem::replace(&mut self.inner, other);
        ResponseFuture::asking(Asking {
            answers,
            either,
            layers: Arc::clone(&self.asked),
            next,
            service,
            parts,
            body,
        })
    }
}

/// Asks the layers in their order, from the `next` on; what is to be awaited. A claim of a session is proved along with the rest
/// where that is possible, or else before any other layer is asked.
pub(super) fn ask(
    layers: &Layers,
    next: &mut usize,
    request: &mut Parts,
) -> (Answers, Option<Box<Either>>) {
    let mut answers = Answers::new();
    while let Some(layer) = layers.each.get(*next) {
        *next += 1;
        let asked = match layer.ask(request) {
            Asked::Claims(claimed) => match layers.fork(*next, claimed, request) {
                Forked::Either(either) => {
                    *next = layers.each.len();
                    return (answers, Some(either));
                }
                Forked::Refused => Asked::Refused,
                Forked::Not(claimed) => claimed.alone(request),
            },
            asked => asked,
        };
        match asked {
            Asked::Known | Asked::Claims(_) => {}
            Asked::Waits(answer) => {
                answers.push(answer);
                if layer.turn() == Turn::Prove {
                    break;
                }
            }
            Asked::Refused => {
                // Nobody will need the answers. The limits charge when they are asked, which is last of all.
                *next = layers.each.len();
                answers.clear();
            }
        }
    }
    (answers, None)
}

impl<S: fmt::Debug> fmt::Debug for Preflight<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Preflight")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
