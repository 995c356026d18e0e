use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use super::attributes::Scheme;
use super::measure::HttpInstruments;
use super::service::HttpMetrics;
use crate::body::Wrap;
use crate::model::{MatchedRoute, ResolveRoute};

/// Measures every request: `http.server.request.duration` and `http.server.active_requests`.
///
/// Made by [`Telemetry::http_layer`](super::super::Telemetry::http_layer). Put it outermost, so that it counts
/// what the other layers reject.
#[derive(Clone)]
#[must_use]
pub struct HttpMetricsLayer {
    instruments: Arc<HttpInstruments>,
    route: Arc<dyn ResolveRoute>,
    scheme: Scheme,
}

/// The settings of the layer that each request needs.
pub(super) struct Config {
    pub(super) instruments: Arc<HttpInstruments>,
    pub(super) route: Arc<dyn ResolveRoute>,
    pub(super) scheme: Scheme,
}

impl HttpMetricsLayer {
    pub(in crate::telemetry) fn new(instruments: Arc<HttpInstruments>) -> Self {
        Self {
            instruments,
            route: Arc::new(MatchedRoute),
            scheme: Scheme::Http,
        }
    }

    /// Where the route's template comes from; [`MatchedRoute`] by default.
    ///
    /// Asked before the service is called, so with axum the layer must be added by `Router::layer`, which runs
    /// after routing.
    pub fn route(mut self, route: impl ResolveRoute) -> Self {
        self.route = Arc::new(route);
        self
    }

    /// The service is reached by HTTPS, here or at a proxy in front; `http` by default.
    ///
    /// `url.scheme` is this setting, not that of the request's target, which is the client's choice.
    pub fn https(mut self) -> Self {
        self.scheme = Scheme::Https;
        self
    }

    /// Around a service whose bodies are wrapped.
    pub(crate) fn around<S>(&self, inner: S) -> HttpMetrics<S> {
        self.instruments.serve(self.scheme);
        let config = Config {
            instruments: Arc::clone(&self.instruments),
            route: Arc::clone(&self.route),
            scheme: self.scheme,
        };
        HttpMetrics::new(inner, Arc::new(config))
    }
}

impl<S> Layer<S> for HttpMetricsLayer {
    type Service = HttpMetrics<Wrap<S>>;

    fn layer(&self, inner: S) -> HttpMetrics<Wrap<S>> {
        self.around(Wrap::new(inner))
    }
}

impl fmt::Debug for HttpMetricsLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpMetricsLayer")
            .field("scheme", &self.scheme)
            .finish_non_exhaustive()
    }
}
