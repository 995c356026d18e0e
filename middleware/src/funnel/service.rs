use std::fmt;
use std::sync::{Arc, Once};
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::future::{ResponseFuture, Visit};
use super::stages::Stages;
use super::visitors::Who;
use crate::model::{Client, Country, MatchedRoute, ResolveRoute, Route};

/// A service whose responses are counted by stage; see [`FunnelLayer`](super::FunnelLayer).
#[derive(Clone)]
pub struct Funnel<S> {
    inner: S,
    stages: Arc<Stages>,
}

impl<S> Funnel<S> {
    pub(super) fn new(inner: S, stages: Arc<Stages>) -> Self {
        Self { inner, stages }
    }

    fn visit<B>(&self, request: &Request<B>) -> Option<Visit> {
        if self.stages.is_empty() {
            return None;
        }
        let mut who = None;
        let (set, country) = match request.extensions().get::<Client>() {
            Some(client) => {
                let set = self.stages.on(request.method(), &client.route);
                if self.stages.visitors.is_some() {
                    who = Some(Who::of(client));
                }
                (set, client.country)
            }
            None => {
                let set = self.stages.on(request.method(), &unidentified(request));
                (set, Country::OTHER)
            }
        };
        Some(Visit {
            stages: Arc::clone(&self.stages),
            set,
            country,
            who,
        })
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Funnel<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> ResponseFuture<S::Future> {
        let visit = self.visit(&request);
        ResponseFuture::new(self.inner.call(request), visit)
    }
}

/// Without a client layer the route is axum's, if any, and every country is `other`.
#[cold]
fn unidentified<B>(request: &Request<B>) -> Route {
    static WARNED: Once = Once::new();
    WARNED.call_once(|| {
        tracing::warn!(
            target: "palisade::funnel",
            event = "funnel_without_client",
            "the funnel found no `Client` in the request's extensions, so every country is `other` and visitors are not \
             counted; add `IdentifyLayer` outside of `FunnelLayer`"
        );
    });
    MatchedRoute
        .resolve(request.method(), request.uri(), request.extensions())
        .unwrap_or(Route::UNMATCHED)
}

impl<S: fmt::Debug> fmt::Debug for Funnel<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Funnel")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
