//! The instruments of the OTel HTTP conventions (1.44): names, units, keys and buckets.

use crate::model::metrics::Instrument;

/// Label keys, sorted.
pub(super) mod key {
    pub(in crate::telemetry) const ERROR_TYPE: &str = "error.type";
    pub(in crate::telemetry) const METHOD: &str = "http.request.method";
    pub(in crate::telemetry) const STATUS: &str = "http.response.status_code";
    pub(in crate::telemetry) const ROUTE: &str = "http.route";
    pub(in crate::telemetry) const VERSION: &str = "network.protocol.version";
    pub(in crate::telemetry) const GRPC_STATUS: &str = "rpc.grpc.status_code";
    pub(in crate::telemetry) const SCHEME: &str = "url.scheme";
}

/// Duration of HTTP server requests.
pub(in crate::telemetry) const DURATION: Instrument = Instrument::histogram(
    "http.server.request.duration",
    &[
        key::ERROR_TYPE,
        key::METHOD,
        key::STATUS,
        key::ROUTE,
        key::VERSION,
        key::GRPC_STATUS,
        key::SCHEME,
    ],
    &[
        0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    ],
    "Duration of HTTP server requests, until the response's body ended or the request was cancelled.",
)
.of_the_conventions();

/// Requests in flight.
pub(in crate::telemetry) const ACTIVE: Instrument = Instrument::up_down_counter(
    "http.server.active_requests",
    "{request}",
    &[key::METHOD, key::SCHEME],
    "HTTP server requests in flight.",
)
.of_the_conventions();
