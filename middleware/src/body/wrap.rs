use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::Body;

/// The service inside of the layers, with a [`Body`] around the body of each response.
#[derive(Debug, Clone)]
pub struct Wrap<S> {
    inner: S,
}

impl<S> Wrap<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S, ReqBody, B> Service<Request<ReqBody>> for Wrap<S>
where
    S: Service<Request<ReqBody>, Response = Response<B>>,
{
    type Response = Response<Body<B>>;
    type Error = S::Error;
    type Future = WrapFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let inner = self.inner.call(request);
        WrapFuture { inner }
    }
}

pin_project! {
    /// The response of a [`Wrap`] service.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct WrapFuture<F> {
        #[pin]
        inner: F,
    }
}

impl<F, B, E> Future for WrapFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<Body<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = self.project().inner.poll(cx);
        response.map_ok(|response| response.map(Body::new))
    }
}
