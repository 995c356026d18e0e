use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use pin_project_lite::pin_project;

use super::open::Open;
use crate::body::Body;

pin_project! {
    /// The response of [`Observe`](super::Observe); dropped before it is ready, the request was cancelled.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        // `None` without observers, and once they were told.
        open: Option<Open>,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, open: Option<Open>) -> Self {
        Self { inner, open }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<Body<B>>, E>>,
    B: http_body::Body<Data = Bytes>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let Some(open) = this.open else {
            return this.inner.poll(cx);
        };
        let mut result = ready!(open.run(|| this.inner.poll(cx)));
        if let Some(open) = this.open.take() {
            open.finish(&mut result);
        }
        Poll::Ready(result)
    }
}
