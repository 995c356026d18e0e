//! Measures a service with OpenTelemetry: its HTTP requests, and the counts of every room. [`Telemetry`] owns the instruments
//! and, unless it is given a meter, a Prometheus exporter. Its admin listener serves the metrics and the readiness.
//!
//! A service that is measured:
//!
//! ```
//! use std::convert::Infallible;
//!
//! use bytes::Bytes;
//! use http::{Extensions, Method, Request, Response, Uri};
//! use http_body_util::{BodyExt, Full};
//! use palisade::client::Route;
//! use palisade::telemetry::Telemetry;
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let telemetry = Telemetry::builder("shop").build()?;
//! let route = |_: &Method, uri: &Uri, _: &Extensions| {
//!     uri.path().starts_with("/products/").then(|| Route::from("/products/{id}"))
//! };
//! let service = ServiceBuilder::new()
//!     .layer(telemetry.http_layer().route(route))
//!     .service_fn(async |_| Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("a teapot"))));
//!
//! let request = Request::builder().uri("/products/7").body(())?;
//! let response = service.oneshot(request).await?;
//! assert_eq!(response.into_body().collect().await?.to_bytes(), "a teapot");
//!
//! let metrics = telemetry.prometheus().unwrap().scrape().await?;
//! let metrics = str::from_utf8(&metrics)?;
//! assert!(metrics.contains(r#"http_route="/products/{id}""#));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! The admin listener, which Prometheus scrapes and an orchestrator asks whether to send requests:
//!
//! ```
//! use palisade::admin::Readiness;
//! use palisade::telemetry::Telemetry;
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use tokio::net::{TcpListener, TcpStream};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let telemetry = Telemetry::builder("shop").service_name("shop-eu").build()?;
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let address = listener.local_addr()?;
//! let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
//! let admin = telemetry.admin().readiness(|| Readiness::not_ready("warming up"));
//! let admin = tokio::spawn(admin.serve(listener, async { drop(stopped.await) }));
//!
//! let mut client = TcpStream::connect(address).await?;
//! client.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
//! let mut answer = String::new();
//! client.read_to_string(&mut answer).await?;
//! assert!(answer.starts_with("HTTP/1.1 503"));
//! assert!(answer.ends_with("warming up"));
//!
//! drop(stop);
//! admin.await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! # Metrics
//! `shop` stands for the namespace that you choose. The metrics of HTTP have the names of the OTel HTTP conventions (1.44).
//!
//! | Prometheus name | type | labels |
//! |---|---|---|
//! | `http_server_request_duration_seconds` | histogram | `http_request_method`, `http_route`, `http_response_status_code`, `error_type`, `url_scheme`, `network_protocol_version`, `rpc_grpc_status_code` |
//! | `http_server_active_requests` | gauge | `http_request_method`, `url_scheme` |
//! | `shop_server_connections` | gauge | |
//! | `shop_server_connections_given_up_total` | counter | `reason` = `address`, `yielded`, `silent`, `stalled`; a [`Server`](crate::server::Server)'s, if its counts are [watched](Telemetry::watch) |
//! | `shop_maintenance_requests_total` | counter | `result` = `refused`, `exempt`, while maintenance is on |
//! | `shop_maintenance_on` | gauge, 0 or 1 | |
//! | `shop_rate_limit_requests_total` | counter | `policy`, `result` = `admitted`, `denied`, `dry_run_denied`, `fallback_admitted`, `fallback_denied` |
//! | `shop_rate_limit_exceeded_total` | counter | `limit_type`, the policy whose quota was used up |
//! | `shop_security_suspicious_activity_total` | counter | `type`, the kind of incident: `credential_stuffing`, `endpoint_scanning`, `abuse`, `credential_stuffing_slow`, `password_spraying`, `distributed_stuffing`, `success_after_failures` |
//! | `shop_security_failures_total` | counter | `result` = `counted`, `counted_locally`, `dropped` |
//! | `shop_security_bans_total` | counter | `reason`, the kind of incident that was banned for, or `manual` |
//! | `shop_security_banned_requests_total` | counter | `result` = `denied`, `dry_run_denied` |
//! | `shop_session_operations_total` | counter | `operation` = `create`, `validate`, `rotate`, `end`, `list`; `outcome` = `done`, `known`, `refused`, `forged`, `failed`, `fallen_back` |
//! | `shop_sessions_active` | gauge | the store's count, from each process that shares it: take the greatest |
//! | `shop_sessions_ended_total` | counter | `reason` = `user_request`, `admin`, `evicted`, `conviction`, `factor_changed` |
//! | `shop_session_security_events_total` | counter | `type`, the kind of [alert](crate::session::AlertKind): `concurrent_sessions`, `concurrent_networks`, `user_agent_changed`, `impossible_travel`, `session_from_convicted_client`, `success_after_failures` |
//! | `shop_store_operation_duration_seconds` | histogram | `operation`, `outcome` |
//! | `shop_store_breaker_open` | gauge, 0 or 1 | |
//! | `shop_store_corrupt_keys_total` | counter | |
//! | `shop_store_over_budget_total` | counter | `kind` = `visitors`, `failures`, `customers` |
//! | `shop_customer_segment_total` | counter | `segment`, `action`, `country` |
//! | `shop_customers` | gauge | `segment`, from the one process that holds the sweep |
//! | `shop_customer_unclassified_total` | counter | |
//! | `shop_customer_changes_total` | counter | `kind` = `activity`, `order`, `refund`; `result` = `written`, `repeated`, `refused`, `lost` |
//! | `shop_customer_unconverted_total` | counter | |
//! | `shop_customer_swept_total` | counter | `result` = `checked`, `mended` |
//! | `shop_funnel_stage_total` | counter | `stage`, `country`, `payment_method`, empty where the stage has none |
//! | `shop_funnel_visitors_total` | counter | `stage`, `country` |
//! | `shop_funnel_reaches_total` | counter | `result` = `counted`, `repeated`, `out_of_order`, `dropped`, `failed` |
//! | `shop_funnel_step_duration_seconds` | histogram, 0.5 s to 24 h | `from`, `to`, two consecutive stages |
//!
//! Counters and gauges exist at 0 from the start, and a count costs one relaxed atomic addition. There are three exceptions:
//! `shop_customers` is exported only by the process that holds the sweep, `shop_sessions_active` once the store has counted,
//! within 15 s, and a histogram's series begins with its first
//! measurement, since the OpenTelemetry API cannot create it at 0.
//!
//! [`StackBuilder::build_measured`](crate::stack::StackBuilder::build_measured) exports what the layers of a stack count.
//! For a layer used alone, give its tally to [`Telemetry::watch`]. [`Telemetry::timer`] makes the observers that record
//! durations.
//!
//! # What a request's duration is
//! It begins when the layer is called. It ends when the whole body of the response has been handed to the server: at the
//! last frame, at the announced length, or at the head where HTTP allows no body. The kernel's and the network's time after
//! that is not seen.
//!
//! `error_type` is absent for a request that went well, and otherwise the first that applies:
//!
//! | `error_type` | what happened | status |
//! |---|---|---|
//! | `panic` | the service or its body panicked | as sent |
//! | `cancelled` | the future or the body was dropped before its end: the client left, or a timeout further out | as sent |
//! | `service_error` | the service returned an error, and the server closed the connection | none |
//! | `body_error` | the body failed midway | as sent |
//! | `maintenance` | the service is closed by [`maintenance`](crate::maintenance) | 503; 200 of a gRPC call |
//! | `500` to `599` | the response had that status | the same |
//!
//! Only gRPC calls have `rpc_grpc_status_code`, which is one of 0 to 16; see [`body`](crate::body#grpc).
//!
//! # What a client cannot do
//! No label holds text of the client's choice.
//!
//! - Methods other than those of RFC 9110, PATCH and QUERY are `_OTHER`. The list is fixed; the conventions would have it
//!   replaceable.
//! - Requests without a route are `unmatched`. The scheme is the layer's setting.
//! - Beyond 5,000 series of the duration, further ones are counted together under `otel_metric_overflow="true"`. The routes
//!   and statuses of a service come nowhere near; alert on that label.
mod exporter;
mod http;
mod instruments;
mod setup;

pub use exporter::{Prometheus, ScrapeError};
pub use http::{HttpMetrics, HttpMetricsLayer, Measure, ResponseFuture};
pub use setup::{Telemetry, TelemetryBuilder};

pub use crate::model::metrics::{Durations, Instrument, Metric, Metrics, Series, Stopwatch};

#[cfg(test)]
mod tests;
