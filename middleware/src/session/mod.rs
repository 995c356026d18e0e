//! Whose request it is, by a session of this service's own. The service checks passwords, or an identity provider's answer,
//! and then creates the session. The layer finds the session of each request, and the handle lists and ends sessions.
//!
//! ```
//! use palisade::client::{Secret, UserId};
//! use palisade::config::SessionsConfig;
//! use palisade::session::{NewSession, Session, SessionLayer};
//! use palisade::store::memory::MemoryStore;
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! let secret = Secret::from_bytes(b"at least sixteen bytes, from a file");
//! let layer = SessionLayer::new(MemoryStore::new(), secret.clone(), SessionsConfig::default())?;
//! let sessions = layer.sessions().unwrap();
//! let service = ServiceBuilder::new().layer(layer).service_fn(async |request: http::Request<()>| {
//!     let session = request.extensions().get::<Session>();
//!     let user = session.map_or("nobody", |session| session.user.as_str());
//!     let body = http_body_util::Full::<bytes::Bytes>::from(user.to_owned());
//!     Ok::<_, std::convert::Infallible>(http::Response::new(body))
//! });
//!
//! let begun = sessions.begin(&UserId::new("ada", &secret)).await?;
//! // Here the service checks the password.
//! let issued = sessions.create(begun, NewSession::new().method("password")?).await?;
//!
//! let bearer = format!("Bearer {}", issued.token.expose());
//! let request = http::Request::get("/").header("authorization", bearer).body(())?;
//! let response = service.oneshot(request).await?;
//! let body = http_body_util::BodyExt::collect(response.into_body()).await?.to_bytes();
//! assert_eq!(body, "ada");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! # Token
//! The client holds a [`Token`]: in the cookie `__Host-session`, or as `Authorization: Bearer`. It names the user and the
//! session, and has 32 random bytes of secret and an HMAC by the service's secret. The HMAC is checked first, without a
//! question to the store: what fails it was never a token, or is one by another secret. A store keeps a hash of the token's
//! secret and never the secret.
//!
//! A [`SessionId`] is a session's name in APIs and logs. It opens nothing.
//!
//! # Requests
//! | a request presents | what becomes of it |
//! |---|---|
//! | a token of a session that lives | it has [`Session`] and [`Claim`] as extensions, and the session's user in [`Client`](crate::client::Client), also where the service has an extractor of its own |
//! | nothing, or an `Authorization` that does not begin with `pls_` | it goes on as it is |
//! | a cookie whose session has ended | it goes on without a session, and the response removes the cookie |
//! | a cookie with an old secret of a session that lives | it goes on without a session; the cookie stays, since a newer one is on its way |
//! | a bearer token that opens nothing | 401, `WWW-Authenticate: Bearer error="invalid_token"`; gRPC 16 |
//! | a bearer token that this service did not make | 401 as above, and it counts as a guess towards `credential_stuffing` |
//! | a cookie that this service did not make | it goes on without a session, and the response removes the cookie. It is no guess: browsers keep what an earlier secret made |
//! | two tokens | as a bearer token, or a cookie, that opens nothing |
//!
//! **Other sites.** A request that carries the cookie and may act (an unsafe method, or an upgrade) must come from a page of
//! this service: the browser says `Sec-Fetch-Site: same-origin`, or its `Origin` has the host of the request, or is one of
//! `allowed_origins`. Otherwise it is answered 403. A login carries no cookie yet: its handler asks
//! [`Sessions::is_same_origin`], so that no other site logs a browser in.
//!
//! **Order.** By hand, put the layer inside of the client layer and outside of whatever reads the user. In a
//! [`Stack`](crate::stack::Stack) it stands inside of the limits, so that a refused token pays for its address, and preflight
//! asks its question before all others, or in the limits' own call, so that limits, bans and segments know the user. Maintenance
//! stands further out and knows no user of a session.
//!
//! **A stolen token.** Who has it can spend the user's quota, or have the user banned. So that no thief keeps a user from ending
//! sessions, limits and bans take the user for nobody on the routes of
//! [`by_address`](crate::config::SessionsConfig::by_address): the address pays.
//!
//! # Life
//! - A session ends when it has idled for `idle`, at its age `absolute`, by [`Sessions::end`], [`Sessions::end_all`], or when
//!   a newer one takes its place at `max_per_user`.
//! - **Ends.** Where a session is ended, it is refused at once. Other processes refuse it within a second, since they believe
//!   a proof for a second.
//! - **Logins.** [`Sessions::begin`] comes before the credentials are checked. Where all sessions of the user are ended
//!   meanwhile, [`Sessions::create`] creates none.
//! - **Idempotency.** Repeats of a login with one [key](NewSession::idempotency_key), within ten minutes, are answered with
//!   one session and one token, until that session has ended or has another token.
//! - **Rotation.** [`Sessions::rotate`] gives another token after a login within the session, or a change of privilege. The
//!   old one is worth nothing from then on.
//!
//! # Security events
//! An [`Alert`] tells the owner of an account what it should look at. [`AlertKind`] has the kinds:
//!
//! | kind | when |
//! |---|---|
//! | `concurrent_sessions` | a login finds as many sessions of the user as may live, whatever `on_max` then does. A second device alone is no event, since most people have two |
//! | `concurrent_networks` | a session comes from a /24 or /48 that it left within the last minute for another one. Who walks from one network into another does not return so soon; IPv4 and IPv6 are compared apart, since a browser that has both uses both |
//! | `user_agent_changed` | a request's `User-Agent` is of another browser or system than [`NewSession::user_agent`] said at creation; another version is none |
//! | `impossible_travel` | a session moves between two networks, more than 100 km apart, faster than 1,000 km/h: where [`Listeners::locate`] knows their places |
//! | `session_from_convicted_client` | a session was created by a client ([`NewSession::from`]) that was then banned for `credential_stuffing`, its slow kind or `password_spraying`: within the kind's window, two hours at most |
//! | `success_after_failures` | the [kind of suspicion](crate::suspicion::IncidentKind::SuccessAfterFailures), where it is on, of a login that the handler reports with [`Login::of`](crate::suspicion::Login::of) |
//!
//! Each is told once an hour for a session and kind, by each process that sees it: in the log (`session_alert`, 20 lines a
//! second of a kind), in a metric, to the observers, to [`Notify`], and as `alert` in the user's own stream of that process. A
//! request leaves it to a task and waits for nothing. What a process remembers of the use of a session goes with its proof.
//!
//! # When the store fails
//! | `on_store_failure` | a request with a token |
//! |---|---|
//! | `known` | goes on if this process proved the session within `known_for`, else 503 |
//! | `closed` | 503 |
//! | `anonymous` | goes on without a session |
//!
//! So who stops the store keeps a stolen token for `known_for` at most, and opens nothing new. Nothing can be created or
//! ended until the store answers. A store that is full proves sessions, and notes no activity: they end after `idle` from the
//! last one that it noted.
mod active;
mod agent;
mod alerts;
#[cfg(feature = "session-api")]
pub mod api;
pub(crate) mod config;
mod cookie;
mod core;
mod ends;
mod future;
mod handle;
mod known;
mod layer;
#[cfg(feature = "otel")]
mod metrics;
mod model;
mod new;
mod operator;
mod origin;
#[cfg(feature = "ops")]
mod panel;
mod preflight;
mod presented;
mod refusal;
mod require;
mod service;
pub mod store;
mod tally;
#[cfg(test)]
mod tests;
mod token;

pub use alerts::{Listeners, Notice, Notify};
pub use config::{OnConviction, OnStoreFailure, SessionsConfig};
pub use ends::EndReason;
pub use future::ResponseFuture;
pub use handle::{CreateError, FactorChanged, Issued, Sessions};
pub use layer::SessionLayer;
pub use model::{Details, Lifetime, Session, SessionType, Text};
pub use new::{Begun, NewSession};
pub use require::{Require, RequireSession};
pub use service::Authenticate;
pub use store::{Claim, OnMax, Renewal, Statistics};
pub use tally::{SessionOperation, SessionOutcome, SessionTally};
pub(crate) use token::Keyring;
pub use token::Token;

pub use crate::http::refusable::Refusable as RequireFuture;
pub use crate::model::{Alert, AlertKind, SessionId};
