use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::Standing;
use super::events::CustomerEvents;
use super::registry::{Awaited, Registry, Visit};
use crate::http::waiting::{After, Ask, Resumed, Waiting};

pin_project! {
    /// The response of a [`Classify`](super::Classify) service.
    pub struct ResponseFuture<S, ReqBody>
    where
        S: Service<Request<ReqBody>>,
    {
        #[pin]
        state: Waiting<Looking<S, ReqBody>, S::Future, Visited, S::Response>,
    }
}

/// A request whose customer is looked up.
pub(super) struct Looking<S, ReqBody> {
    pub(super) pending: Awaited,
    pub(super) service: S,
    pub(super) request: Request<ReqBody>,
    pub(super) visited: Visited,
}

/// A request of an identified customer, whose response is looked at.
pub(super) struct Visited {
    pub(super) visit: Visit,
    pub(super) registry: Arc<Registry>,
}

impl<S, ReqBody> ResponseFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    pub(super) fn inner(future: S::Future, visited: Option<Visited>) -> Self {
        let state = Waiting::inner(future, visited);
        Self { state }
    }

    pub(super) fn looking(looking: Looking<S, ReqBody>) -> Self {
        let state = Waiting::asked(looking);
        Self { state }
    }
}

impl<S, ReqBody, ResBody> Future for ResponseFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Output = Result<Response<ResBody>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().state.poll(cx)
    }
}

impl<S, ReqBody> Ask for Looking<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    type Answer = Option<Standing>;
    type Future = S::Future;
    type After = Visited;
    type Response = S::Response;

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Option<Standing>> {
        self.pending.as_mut().poll(cx)
    }

    fn resume(self, standing: Option<Standing>) -> Resumed<S::Future, Visited, S::Response> {
        let Self {
            mut service,
            mut request,
            mut visited,
            ..
        } = self;
        visited.enter(standing.map(Standing::segment), false, &mut request);
        Resumed::Pass(service.call(request), Some(visited))
    }
}

impl<ResBody> After<Response<ResBody>> for Visited {
    fn heed(self, response: &mut Response<ResBody>) {
        let events = response.extensions().get::<CustomerEvents>();
        self.registry.heed(&self.visit, response.status(), events);
    }
}
