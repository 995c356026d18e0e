//! The live page shows operators what happens now, and needs nothing but this process. [`Ops`] gathers the panels of one
//! stack, and [`OpsService`] serves them. Without [`StackBuilder::ops`](crate::stack::StackBuilder::ops) nothing is gathered.
//!
//! ```
//! # #[cfg(feature = "otel")]
//! # fn run() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! use palisade::ops::Ops;
//! use palisade::stack::Stack;
//! use palisade::telemetry::Telemetry;
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use tokio::net::{TcpListener, TcpStream};
//!
//! let telemetry = Telemetry::builder("shop").build()?;
//! let ops = Ops::new("shop");
//! let stack = Stack::builder().ops(&ops).build_measured(&telemetry)?;
//!
//! // At `/` of the admin listener, beside `/metrics`.
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let address = listener.local_addr()?;
//! tokio::spawn(telemetry.admin().page(&ops).serve(listener, std::future::pending()));
//!
//! let mut browser = TcpStream::connect(address).await?;
//! browser.write_all(format!("GET / HTTP/1.1\r\nhost: {address}\r\n\r\n").as_bytes()).await?;
//! let mut page = String::new();
//! browser.read_to_string(&mut page).await?;
//! assert!(page.starts_with("HTTP/1.1 200"));
//! # Ok(())
//! # })
//! # }
//! # #[cfg(feature = "otel")]
//! # run().unwrap();
//! ```
//!
//! It can stand wherever a `tower::Service` can, apart from the public; here it stands under `/internal/ops`:
//!
//! ```
//! use http::{Request, StatusCode};
//! use palisade::ops::Ops;
//! use tower::ServiceExt;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let ops = Ops::builder("shop").allow_host("ops.example.com").read_only().build()?;
//! let page = ops.service().at("/internal/ops");
//!
//! let request = Request::get("/internal/ops/").header("host", "ops.example.com");
//! let response = page.clone().oneshot(request.body(String::new())?).await?;
//! assert_eq!(response.status(), StatusCode::OK);
//!
//! // A web site that leads its own name to this address learns nothing.
//! let request = Request::get("/internal/ops/events").header("host", "evil.example");
//! let response = page.oneshot(request.body(String::new())?).await?;
//! assert_eq!(response.status(), StatusCode::MISDIRECTED_REQUEST);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! # Panels
//! These rooms have a panel: `observe` (requests by the second, the clients that are refused and that fail most), `store`,
//! `maintenance`, `rate_limit` (the limits and their decisions), `suspicion` (security events, and bans with a button that
//! lifts them), `funnel` and `segment`. The figures are those of this process; only the bans and the numbers of customers
//! are those of the shared store.
//!
//! # Paths
//! Paths are relative to the mount. Both axum's `nest_service("/ops", ops.service())` and a router that leaves the path whole
//! are fine.
//!
//! | path | what it is |
//! |---|---|
//! | ` ` | the page; without a slash at its end, a redirection to it |
//! | `main.js` and other `.js`, `ops.css` | its scripts and style |
//! | `panels/funnel.js` and its like | the script of a panel |
//! | `events` | the stream |
//! | `POST limits/unblock` | `{"client": "192.0.2.1"}` or `{"user": "ada"}` ends the client's ban and forgets what the limits hold against it: `{"was_banned": true, "was_limited": true}` |
//! | `POST bans/lift` | `{"client": "192.0.2.1"}` or `{"client": "2001:db8::/64"}` ends a ban: `{"lifted": true}`, or false where there was none |
//!
//! Errors are problems (RFC 9457): 400, 413, 415 and 408 for a body that cannot be used, 403 and 421 as below, 503 with
//! `Retry-After` when eight streams are open or the store fails.
//!
//! # The stream
//! `GET events` is a stream of server-sent events. The first is `hello`, with the values that do not change and the last
//! minutes. Then a `now` comes every second.
//!
//! - Counts are totals since start, so a reader that missed one loses nothing.
//! - A rate is the difference of two samples, divided by the difference of their `uptime`.
//! - All streams share one text a second. A slow reader receives the newest when it reads again.
//!
//! # Clients with the highest counts
//! There are two lists of the last ten minutes: the clients that limits refused most, and those whose requests failed most
//! (4xx of the service's own).
//!
//! 256 counters a minute are kept by Space-Saving (Metwally et al., 2005) and merged when read (Agarwal et al., 2012), so
//! memory is bounded whatever clients do. For each client in a list, the true count lies between `count - error` and `count`.
//! The list itself has two bounds. Its `error` bounds the error of every client, and is at most a 256th of everything
//! counted. Its `missing` bounds the count of every client that is not in the list. While no minute has more than 256
//! clients, all counts are exact.
//!
//! # Access
//! Anybody who reaches the listener may read. Addresses of clients are shown here, so keep it from the public. A web site
//! could make an operator's browser send requests; these are refused:
//!
//! - A `Host` other than an IP address, `localhost` or an [allowed name](OpsBuilder::allow_host) is 421, against DNS
//!   rebinding.
//! - `Sec-Fetch-Site` of another site is 403, except for a link to the page. An `Origin` other than the host is 403 too.
//! - An action needs the header `x-palisade-token`, 128 random bits that stand in the page and change with each start. It
//!   also needs `application/json` of 1 kB at most within 5 s.
//! - The page runs no script but its own, and no other page may frame it.
//!
//! [`OpsBuilder::read_only`] refuses all actions.

mod act;
mod answer;
mod body;
mod frame;
mod guard;
mod hub;
mod line;
mod part;
mod path;
mod service;
// They read configurations.
#[cfg(test)]
#[cfg(feature = "serde")]
mod tests;

pub use body::OpsBody;
pub use hub::{Ops, OpsBuilder};
pub use service::{OpsFuture, OpsService};
