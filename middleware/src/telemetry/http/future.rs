use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use pin_project_lite::pin_project;

use super::measure::{End, Measure};
use crate::body::Body;

pin_project! {
    /// The response of [`HttpMetrics`](super::HttpMetrics); dropped before it is ready, the request was cancelled.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        measure: Option<Measure>,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, measure: Measure) -> Self {
        Self {
            inner,
            measure: Some(measure),
        }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<Body<B>>, E>>,
    B: http_body::Body<Data = Bytes>,
{
    type Output = Result<Response<Body<B, Measure>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(measure) = this.measure else {
            // Polled after completion: whatever the inner future makes of that.
            let response = this.inner.poll(cx);
            return response.map_ok(|response| response.map(|body| body.observed(None)));
        };
        let result = ready!(measure.run(|| this.inner.poll(cx)));
        let Some(measure) = this.measure.take() else {
            return Poll::Ready(result.map(|response| response.map(|body| body.observed(None))));
        };
        let response = match result {
            Ok(response) => response,
            Err(error) => {
                measure.finish(End::ServiceError);
                return Poll::Ready(Err(error));
            }
        };
        let measure = measure.respond(&response);
        Poll::Ready(Ok(response.map(|body| body.observed(measure))))
    }
}
