use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project_lite::pin_project;

use super::open::Open;

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

impl<F, ResBody, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let Some(open) = this.open else {
            return this.inner.poll(cx);
        };
        let result = ready!(open.run(|| this.inner.poll(cx)));
        if let Some(open) = this.open.take() {
            open.finish(&result);
        }
        Poll::Ready(result)
    }
}
