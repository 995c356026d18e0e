use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use tower_service::Service;

use super::future::ResponseFuture;
use super::layer::Config;
use super::measure::Measure;
use crate::body::Body;
use crate::model::Route;

/// A service whose requests are measured; made by [`HttpMetricsLayer`](super::HttpMetricsLayer).
#[derive(Clone)]
pub struct HttpMetrics<S> {
    inner: S,
    config: Arc<Config>,
}

impl<S> HttpMetrics<S> {
    pub(super) fn new(inner: S, config: Arc<Config>) -> Self {
        Self { inner, config }
    }
}

impl<S, ReqBody, B> Service<Request<ReqBody>> for HttpMetrics<S>
where
    S: Service<Request<ReqBody>, Response = Response<Body<B>>>,
    B: http_body::Body<Data = Bytes>,
{
    type Response = Response<Body<B, Measure>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let Config {
            instruments,
            route,
            scheme,
        } = &*self.config;
        let route = route.resolve(request.method(), request.uri(), request.extensions());
        let mut measure = Measure::start(
            Arc::clone(instruments),
            *scheme,
            &request,
            route.unwrap_or(Route::UNMATCHED),
        );
        let inner = &mut self.inner;
        let future = measure.run(|| inner.call(request));
        ResponseFuture::new(future, measure)
    }
}

impl<S: fmt::Debug> fmt::Debug for HttpMetrics<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpMetrics")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
