use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use super::body::MeasuredBody;
use super::measure::{End, Measure};

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
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<MeasuredBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(measure) = this.measure else {
            // Polled after completion: whatever the inner future makes of that.
            return this
                .inner
                .poll(cx)
                .map_ok(|it| it.map(MeasuredBody::unread));
        };
        let result = ready!(measure.run(|| this.inner.poll(cx)));
        let Some(mut measure) = this.measure.take() else {
            return Poll::Ready(result.map(|it| it.map(MeasuredBody::unread)));
        };
        let response = match result {
            Ok(response) => response,
            Err(error) => {
                measure.finish(End::ServiceError);
                return Poll::Ready(Err(error));
            }
        };
        measure.respond(response.status());
        let (head, body) = response.into_parts();
        let body = if measure.has_no_body(head.status) {
            measure.finish(End::Complete);
            MeasuredBody::unread(body)
        } else {
            MeasuredBody::new(body, &head.headers, measure)
        };
        Poll::Ready(Ok(Response::from_parts(head, body)))
    }
}
