//! The endpoints of sessions: a user sees and ends the sessions of its own, logs in and logs out. [`SessionsApi`] is a
//! `tower::Service` behind the [session layer](super::SessionLayer).
//!
//! ```
//! use http::{Request, StatusCode};
//! use http_body_util::BodyExt;
//! use palisade::client::{Secret, UserId};
//! use palisade::config::SessionsConfig;
//! use palisade::session::api::SessionsApi;
//! use palisade::session::{NewSession, SessionLayer};
//! use palisade::store::memory::MemoryStore;
//! use tower::{Layer, ServiceExt};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! let secret = Secret::random()?;
//! let layer = SessionLayer::new(MemoryStore::new(), secret.clone(), SessionsConfig::default())?;
//! let sessions = layer.sessions().unwrap();
//! let service = layer.layer(SessionsApi::new(&sessions));
//!
//! let begun = sessions.begin(&UserId::new("ada", &secret)).await?;
//! let issued = sessions.create(begun, NewSession::new()).await?;
//! let bearer = format!("Bearer {}", issued.token.expose());
//!
//! let request = Request::get("/api/v1/users/me/sessions").header("authorization", bearer);
//! let response = service.oneshot(request.body(String::new())?).await?;
//! assert_eq!(response.status(), StatusCode::OK);
//! let body = response.into_body().collect().await?.to_bytes();
//! let list: serde_json::Value = serde_json::from_slice(&body)?;
//! assert_eq!(list[0]["session_id"], issued.session.id.to_string());
//! assert_eq!(list[0]["is_current"], true);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! With axum, `SessionsApi::router` has the paths of the table; nest it under whatever comes before them.
//!
//! # Calls
//! | call | answer |
//! |---|---|
//! | `GET /api/v1/users/me/sessions` | the sessions that live, the newest activity first, at most 100 |
//! | `GET …/sessions/current` | the session of the request |
//! | `DELETE …/sessions/{session_id}` | 204; 404 for an id that is malformed, unknown, or of another user |
//! | `POST …/sessions/terminate-all` `{"reason": "user_request", "keep_current": true}` | `{"terminated": 3}` |
//! | `GET …/sessions/statistics` | `{"total_sessions": 6, "active_sessions": 2, "expired_sessions": 3, "terminated_sessions": 1, "recent_sessions_24h": 2, "timestamp": "…"}`, over 30 days |
//! | `POST …/sessions/cleanup-expired` | `{"removed": 1}`: what is left of the caller's own that have expired |
//! | `GET …/sessions/events` | server-sent events, as below |
//! | `POST /profiles/me/login` `{"remember": false, "session_type": "web", "device_id": "…"}` | 201 `{"token": "pls_…", "session": {…}}`, as below |
//! | `POST /profiles/me/logout` `{"scope": "current"}` | `{"ended": 1}`; `all` ends all sessions of the user |
//!
//! A body may be absent, and so may each member. It is `application/json` of at most 4 kB. A session is told as:
//!
//! ```json
//! {"session_id": "9f3c1b0e-5d64-4c7a-8f0b-2b6d1a9e4c11", "tenant_id": null, "device_id": null, "session_type": "web",
//!  "login_method": "password", "created_at": "2026-11-26T10:00:00.000Z", "last_activity": "2026-11-26T10:05:00.000Z",
//!  "expires_at": "2026-11-26T10:35:00.000Z", "is_active": true, "is_current": true, "user_agent": "Firefox on Linux",
//!  "client_info": {"browser": "Firefox", "os": "Linux", "device": "computer"}}
//! ```
//!
//! The last name of a path says which call it is, so the service can be mounted anywhere, whether the router leaves the path
//! whole or not; [`SessionsApi::at`] has it answer under one prefix alone. No answer may be stored (`cache-control: no-store`).
//! The reason of a `terminate-all` is 1 to 64 bytes without control characters; it is checked, and nothing keeps it yet.
//!
//! Errors are problems (RFC 9457):
//!
//! | status | what it means |
//! |---|---|
//! | 400, 408, 413, 415 | the body cannot be used: a wrong or unknown member, by name; late; more than 4 kB; no JSON |
//! | 401 | no session, or not a [recent login](SessionsApi::reauth_within) |
//! | 403 | a page of another site asks |
//! | 404, 405 | no such path or session; another method |
//! | 409 | the login creates no session: see below |
//! | 429 | the session has four streams open |
//! | 503 | the store of sessions does not answer, or is full; 1,024 streams are open in this process |
//!
//! # Login
//! The service verifies the user, and [`Client::user`](crate::client::Client) says who it is: by an
//! [`ExtractUser`](crate::client::ExtractUser) that reads an identity provider's token, say. Without a user the answer is 401,
//! and counts as a failed login. A layer of the service around this one may leave two extensions in the request:
//!
//! - [`NewSession`](super::NewSession): what the service says of the session. The body's members come on top.
//! - [`Begun`](super::Begun): when the login began. [`Sessions::begun_at`](super::Sessions::begun_at) takes it from an
//!   identity provider's `auth_time`, so that a token from before a `terminate-all` opens nothing after it. Without it, the
//!   login begins with the request.
//!
//! A request that has a session already is answered 409, unless the service left a `Begun`: its user is known by that session
//! alone, and a session that makes others would never end.
//!
//! - **Repeats.** With an `Idempotency-Key` of 1 to 255 visible characters, a repeat within ten minutes is answered 200 with the
//!   same token. After that session has ended, or has another token (`rotate`), it is 409.
//! - **409 too** if the user has as many sessions as may live (`on_max = "deny"`), or if all of its sessions were ended while it
//!   logged in.
//! - **Cookie.** It is set only where the browser says that a page of this service asks: `Sec-Fetch-Site: same-origin`, or an
//!   `Origin` that is the host's or is allowed. Where it says anything else, the answer is 403. A request that says nothing
//!   is a program's, since browsers send one of the two with every POST: it has its token in the body and no cookie. So no other site
//!   can log a browser in, however the service verifies users.
//!
//! # Events
//! ```text
//! event: created
//! data: {"session_id": "9f3c1b0e-…", …}
//!
//! event: ended
//! data: {"session_id": "9f3c1b0e-…", "reason": "user_request"}
//!
//! event: alert
//! data: {"type": "user_agent_changed", "session_id": "9f3c1b0e-…", "at": "2026-11-26T10:05:00.000Z"}
//! ```
//!
//! - `created` has a whole session. A client that opens the stream, and then lists, misses nothing.
//! - `ended` has the [reason](super::EndReason); null if the session expired, or another process ended it.
//! - `alert` is a [security event](super::AlertKind) of the user's sessions, as this process saw it; `session_id` is null if it
//!   is about the user alone.
//! - Once a second the stream looks whether the request's own session lives and which others do. The stream is no activity, and
//!   neither is a request that accepts `text/event-stream` alone, so that one left open does not keep the session alive.
//! - It closes within a second after the session has ended or has another token. Where the store does not answer, it closes as
//!   `on_store_failure` says: with `known`, `known_for` after the last proof.
//! - A comment comes after 15 s without an event. [`SessionsApi::close`] ends all streams, for a server that drains.
mod act;
mod answer;
mod body;
mod call;
mod events;
mod login;
mod operators;
mod read;
#[cfg(feature = "axum")]
mod router;
mod service;

pub use body::SessionsBody;
pub(super) use events::Streams;
#[cfg_attr(not(feature = "otel"), allow(unused_imports))]
pub(crate) use operators::Operators;
pub use service::{SessionsApi, SessionsFuture};

#[cfg(test)]
mod tests;
