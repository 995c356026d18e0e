//! A small server for any `tower::Service`, in which no peer holds a place that it does not use.
//!
//! ```
//! use std::convert::Infallible;
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use palisade::client::Peer;
//! use palisade::server::{RequestBody, Server};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use tokio::net::{TcpListener, TcpStream};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let address = listener.local_addr()?;
//! let service = tower::service_fn(async |request: Request<RequestBody>| {
//!     let peer = request.extensions().get::<Peer>().unwrap().0.ip();
//!     Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(format!("hello, {peer}")))))
//! });
//! let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
//! let server = Server::new().exempt(["10.0.0.0/8"])?;
//! let serving = tokio::spawn(server.serve(listener, service, async { drop(stopped.await) }));
//!
//! let mut client = TcpStream::connect(address).await?;
//! client.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await?;
//! let mut head = [0; 15];
//! client.read_exact(&mut head).await?;
//! assert_eq!(&head, b"HTTP/1.1 200 OK");
//!
//! drop(stop);
//! assert_eq!(serving.await?.cut, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! An axum `Router` is such a service. HTTP/2 is spoken with clients that begin with it (prior knowledge); TLS is a proxy's.
//! Each request carries its [`Peer`](crate::client::Peer).
//!
//! # What bounds a peer
//!
//! | what | by default | setting |
//! |---|---|---|
//! | connections at a time | 4,096, or as many as the process may have open files, less 64 | [`connections`](Server::connections) |
//! | of one address (IPv6: one /64) | a quarter of these; none for [`exempt`](Server::exempt) networks, such as trusted proxies | [`connections_per_address`](Server::connections_per_address) |
//! | no request under way | 15 s: for a head, and for the next one | [`head_time`](Server::head_time) |
//! | no byte taken of an answer; less than 1 KiB (of HTTP/2: no byte) sent of a body that the service waits for | 30 s | [`stall`](Server::stall) |
//! | a request's head | 64 KiB and 100 headers, then 431 | |
//! | answers at a time | one of HTTP/1.1, however many requests the client sends ahead; 100 streams of HTTP/2 | |
//! | the end | 30 s for what is under way, 3 s of them for a peer that does nothing | [`drain`](Server::drain) |
//!
//! An answer may take hours, and so may a service: only the silence of a peer is bounded. Answers wait in this process, not in
//! the kernel (`TCP_NOTSENT_LOWAT`, on Linux), so that a slow reader is told from one that does not read: who takes 32 KiB in
//! 30 s is never cut.
//!
//! Where all places are taken, the connection that has waited longest for its peer is closed for the next client. It must have
//! waited for a request for 250 ms, or for a sixth of the stall. Where no connection waits, clients of a crowded address are
//! refused and others wait in the kernel's queue. So half-sent heads and readers that do not read keep nobody out.
//!
//! A connection that was upgraded (WebSocket) keeps its place and is the service's own, but for the stall of what is written. Of
//! HTTP/2, pings every 20 s find a dead peer, a flood of resets ends the connection, and a closed window is a stall.
//!
//! Two `Host` headers are 400, and so is none in HTTP/1.1. Errors of the listener are logged once for each change and never
//! end it; too many open files have a connection give up its place. [`Server::counts`] are the metrics.

mod body;
mod connection;
mod counts;
mod link;
mod listen;
mod places;
mod settings;
mod stream;
#[cfg(test)]
mod tests;

pub use body::RequestBody;
#[cfg_attr(not(all(feature = "ops", feature = "otel")), allow(unused_imports))]
pub(crate) use connection::Lasting;
pub use counts::ServerCounts;
pub use listen::Drained;
pub use settings::Server;
