//! Composable tower layers that put a palisade around any axum, hyper or tonic service: exact rate limits, suspicion, bans,
//! customer segments and a funnel, all measured. They take any `tower::Service<http::Request<_>>`, with responses of any
//! [body].
//!
//! ```
//! # #[cfg(feature = "full")]
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use std::net::SocketAddr;
//!
//! use axum::{Router, routing::get};
//! use palisade::{config::Config, stack::Stack, telemetry::Telemetry};
//!
//! let telemetry = Telemetry::builder("shop").build()?;
//! let stack = Stack::builder()
//!     .config(Config::from_toml("rate_limit.ip = '100/1m'")?)
//!     .build_measured(&telemetry)?;
//! let app = Router::new().route("/hello", get(|| async { "hello" })).layer(stack);
//!
//! let admin = tokio::net::TcpListener::bind("127.0.0.1:9464").await?;
//! tokio::spawn(telemetry.admin().serve(admin, std::future::pending()));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
//! axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Layers
//! A request passes the layers from the top down, its response from the bottom up:
//!
//! | layer | question | room |
//! |---|---|---|
//! | `HttpMetricsLayer` | can the operator see it? | `telemetry` (feature `otel`) |
//! | [`IdentifyLayer`](client::IdentifyLayer) | who is this? | [`client`] |
//! | [`ObserveLayer`](observe::ObserveLayer) | what became of it? | [`observe`] |
//! | [`MaintenanceLayer`](maintenance::MaintenanceLayer) | is the service closed? | [`maintenance`] |
//! | [`PreflightLayer`](preflight::PreflightLayer) | what must the store be asked, at once? | [`preflight`] |
//! | [`SuspicionLayer`](suspicion::SuspicionLayer) | what do its failures add up to, and is it banned? | [`suspicion`] |
//! | [`RateLimitLayer`](rate_limit::RateLimitLayer) | may it pass? | [`rate_limit`] |
//! | [`ClassifyLayer`](segment::ClassifyLayer) | which kind of customer? | [`segment`] |
//! | [`FunnelLayer`](funnel::FunnelLayer) | which stage did it reach? | [`funnel`] |
//!
//! Each layer can be used alone; [`Stack`](stack::Stack) is all of them in their order, from one [`Config`](config::Config).
//! Limits and failures are counted by exact sliding windows, kept in the memory of the process ([`store::memory`]) or
//! shared through Redis (`store::redis`).
//!
//! Each layer has a module, its *room*: the settings, the service, the counts, and what it asks of a store. No room imports
//! another. `ARCHITECTURE.md` in the repository says where everything is.
//!
//! # Features
//! Each only adds, and none is on by default.
//!
//! | feature | what it adds |
//! |---|---|
//! | `axum` | the route from `MatchedPath`, the peer from `ConnectInfo` |
//! | `redis` | `store::redis`: limits and failures that processes share |
//! | `redis-tls` | `rediss://` addresses, by rustls |
//! | `otel` | `telemetry`: OpenTelemetry instruments, the Prometheus exporter, the admin listener |
//! | `serde` | `Config::from_toml` and `Config::from_file` |
//! | `ops` | `ops`: the live page for operators |
//! | `server` | `server`: an HTTP server that no peer holds up; `otel` brings it along |
//! | `session-api` | `session::api`: the endpoints of sessions, for their users and for operators |
//! | `full` | all of them but `redis-tls`, which brings a TLS library |

#[cfg(feature = "otel")]
pub mod admin;
pub mod body;
pub mod client;
pub mod config;
pub mod funnel;
mod http;
mod log;
pub mod maintenance;
mod model;
pub mod observe;
#[cfg(feature = "ops")]
pub mod ops;
pub mod preflight;
pub mod rate_limit;
pub mod segment;
#[cfg(feature = "server")]
pub mod server;
pub mod session;
pub mod stack;
pub mod store;
pub mod suspicion;
mod sync;
mod task;
#[cfg(feature = "otel")]
pub mod telemetry;

pub use model::ConfigError;

/// The README's code compiles.
#[cfg(all(doctest, feature = "full"))]
#[doc = include_str!("../README.md")]
struct Readme;
