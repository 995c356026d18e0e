//! Finds out who is calling: address, user, country, route. [`IdentifyLayer`] leaves one [`Client`] extension in each
//! request, which every layer inside it and every handler reads.
//!
//! With axum:
//!
//! ```
//! # #[cfg(feature = "axum")] {
//! use std::net::SocketAddr;
//!
//! use axum::{Extension, Router, routing::get};
//! use palisade::client::{Client, IdentifyLayer, TrustedProxies};
//!
//! let layer = IdentifyLayer::builder()
//!     .trusted_proxies(TrustedProxies::parse(["10.0.0.0/8"])?)
//!     .build()?;
//! let app = Router::new()
//!     .route("/", get(|Extension(client): Extension<Client>| async move { client.address.to_string() }))
//!     .layer(layer);
//! let service = app.into_make_service_with_connect_info::<SocketAddr>();
//! # let _ = async { axum::serve(tokio::net::TcpListener::bind("127.0.0.1:0").await?, service).await };
//! # }
//! # Ok::<(), palisade::ConfigError>(())
//! ```
//!
//! With plain tower:
//!
//! ```
//! use std::convert::Infallible;
//!
//! use http::{Request, Response};
//! use palisade::client::{Client, IdentifyLayer, Peer};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let service = IdentifyLayer::builder().build()?.layer(service_fn(|request: Request<()>| async move {
//!     let client = request.extensions().get::<Client>().map(|client| client.network.to_string());
//!     Ok::<_, Infallible>(Response::new(client))
//! }));
//!
//! let mut request = Request::new(());
//! request.extensions_mut().insert(Peer("[2001:db8:1:2::3]:5000".parse()?));
//! let response = service.oneshot(request).await?;
//! assert_eq!(response.into_body().as_deref(), Some("2001:db8:1:2::/64"));
//! # Ok(())
//! # }
//! ```
//!
//! # The address
//! The address is that of the connected peer, and headers count only if the peer lies in [`TrustedProxies`]. Then one
//! header, `X-Forwarded-For` or `Forwarded`, is walked from the right to the first address that is not trusted; see
//! [`ForwardedHeader::client`]. A forged entry stands further left, and is never reached.
//!
//! The peer comes from a [`Peer`] extension, or with the feature `axum` from `ConnectInfo<SocketAddr>`. Requests without a
//! peer count as **one** client, `0.0.0.0`, and share its limits; a warning is logged once. Behind a proxy on a Unix socket,
//! insert `Peer` with an address such as `127.0.0.1`, and trust that address.
//!
//! A header that cannot be read ends the walk at the last address that was found. The layer refuses no request.
//!
//! # Network, user, country, route
//! - [`Client::network`] is what limits by address, failures and bans count as one client: an IPv4 address, or an IPv6
//!   prefix (/64 unless set). [`Network`] says what becomes of IPv6 that carries IPv4.
//! - [`Client::user`] is what your [`ExtractUser`] returns, which must have verified it. Without one, requests are anonymous.
//! - [`Client::country`] is what your [`ResolveCountry`] returns if your [`Countries`] list it, and `other` if not.
//! - [`Client::route`] is the template of axum's router, or what your [`ResolveRoute`] returns, and `unmatched` if there is
//!   none.
pub(crate) mod config;
mod forwarded;
pub(crate) mod known_routes;
mod layer;
mod origin;
mod proxies;
mod service;
#[cfg(test)]
mod tests;
mod trust;
pub(crate) mod unmet;

pub use forwarded::ForwardedHeader;
pub use layer::{IdentifyLayer, IdentifyLayerBuilder};
pub use origin::{ExtractUser, Origin, ResolveCountry};
pub use service::Identify;
pub use trust::TrustedProxies;

pub use crate::model::{
    Client, Countries, Country, MatchedRoute, Nat64Prefixes, Network, Peer, ResolveRoute, Route,
    Secret, UnknownCountry, UserId,
};
