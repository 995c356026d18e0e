use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Response;
use pin_project_lite::pin_project;

use super::reached::Reached;
use super::stages::{Set, Stages};
use super::visitors::Who;
use crate::model::{Country, Rejected};

pin_project! {
    /// The response of a [`Funnel`](super::Funnel) service.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        visit: Option<Visit>,
    }
}

/// The parts of a request that its response needs.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) stages: Arc<Stages>,
    pub(super) set: Set,
    pub(super) country: Country,
    /// Where visitors are counted and there is a client.
    pub(super) who: Option<Who>,
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, visit: Option<Visit>) -> Self {
        Self { inner, visit }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<B>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let polled = this.inner.poll(cx);
        if let Poll::Ready(Ok(response)) = &polled
            && let Some(Visit {
                stages,
                set,
                country,
                who,
            }) = this.visit.take()
        {
            let extensions = response.extensions();
            // A layer further in refused, in gRPC with a status of success.
            if extensions.get::<Rejected>().is_none() {
                stages.count(
                    set,
                    country,
                    response.status(),
                    extensions.get::<Reached>(),
                    who,
                );
            }
        }
        polled
    }
}
