//! Counts the failures of each client, and tells when they add up to an attack. An attack is one incident: one event of
//! the security log and one increment of a counter. With [`Bans`], an incident also bans the client.
//!
//! Counts in the memory of this process:
//!
//! ```
//! use palisade::client::{IdentifyLayer, Peer};
//! use palisade::store::memory::MemoryStore;
//! use palisade::suspicion::{FailureResult, IncidentKind, SuspicionLayer};
//! use tower::{Service, ServiceBuilder, ServiceExt};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let layer = SuspicionLayer::embedded(MemoryStore::new()).build()?;
//! let tally = layer.tally();
//! let mut service = ServiceBuilder::new()
//!     .layer(IdentifyLayer::builder().build()?)
//!     .layer(layer)
//!     .service_fn(|_request: http::Request<()>| async {
//!         let mut response = http::Response::new(String::new());
//!         *response.status_mut() = http::StatusCode::NOT_FOUND;
//!         Ok::<_, std::convert::Infallible>(response)
//!     });
//! for _ in 0..10 {
//!     let mut request = http::Request::new(());
//!     request.extensions_mut().insert(Peer("192.0.2.1:5000".parse().unwrap()));
//!     service.ready().await.unwrap().call(request).await.unwrap();
//! }
//! while tally.failures(FailureResult::Counted) < 10 {
//!     tokio::task::yield_now().await;
//! }
//! assert_eq!(tally.incidents(IncidentKind::EndpointScanning), 1);
//! # Ok::<(), palisade::ConfigError>(())
//! # }).unwrap();
//! ```
//!
//! Thresholds of your own, scanners banned for an hour, and events that name clients by a hash:
//!
//! ```
//! use std::time::Duration;
//!
//! use palisade::client::Secret;
//! use palisade::rate_limit::Exemptions;
//! use palisade::store::memory::MemoryStore;
//! use palisade::suspicion::{Bans, IncidentKind, Sentence, SuspicionLayer};
//!
//! let store = MemoryStore::new();
//! let (hour, day) = (Duration::from_secs(3_600), Duration::from_secs(86_400));
//! let bans = Bans::embedded(store.clone())
//!     .sentence(Sentence::new(hour, day)?)
//!     .kinds([IncidentKind::EndpointScanning]);
//! let layer = SuspicionLayer::embedded(store)
//!     .bans(bans)
//!     .threshold(IncidentKind::EndpointScanning, "30/10m".parse()?)
//!     .without(IncidentKind::Abuse)
//!     .exempt(Exemptions::new().cidrs(["10.0.0.0/8"])?.users(["monitoring"])?)
//!     .hash_clients(Secret::from_bytes(b"at least sixteen bytes, from a file"))
//!     .build()?;
//! assert_eq!(layer.tally().incidents(IncidentKind::EndpointScanning), 0);
//! # Ok::<(), palisade::ConfigError>(())
//! ```
//!
//! # Kinds
//! | [`IncidentKind`] | a failure is | suspicious at |
//! |---|---|---|
//! | `credential_stuffing` | 401 | 5 in 5 minutes |
//! | `endpoint_scanning` | 404 | 10 in 5 minutes |
//! | `abuse` | any 4xx but 429 | 20 in 5 minutes |
//! | `credential_stuffing_slow` | 401 | 20 in 2 hours |
//! | `password_spraying` | a failed login: distinct accounts of one network | 5 in 5 minutes; off unless set |
//! | `distributed_stuffing` | a failed login: distinct networks of one account | 4 in 1 hour; off unless set |
//! | `success_after_failures` | a login that succeeds all the same | once in 1 hour for an account; off unless set |
//!
//! - A gRPC call fails by its status: 16 counts as 401, 5 and 12 as 404, 3, 6, 7, 9 and 11 as other 4xx; see
//!   [`body`](crate::body#grpc).
//! - A client is a [`Network`](crate::client::Network): an IPv4 address, or an IPv6 /64 unless set otherwise.
//! - One response can be a failure of several kinds. A 401 counts for both kinds of `credential_stuffing` and for `abuse`.
//! - The window is `(t-w, t]` on the store's clock, and exact.
//! - A refusal by a limit or a ban ([`Rejected`](crate::rate_limit::Rejected)) is no failure.
//! - A success writes nothing, unless it reports a [`Login`] and `success_after_failures` is on.
//!
//! # Distinct things
//! By a [`Watch`], a kind counts distinct things instead of failures (`endpoint_scanning = { threshold = "10/5m", distinct =
//! true }`), and on some routes alone. A thing is 64 bits of a keyed hash; nothing of a path or of credentials is kept.
//!
//! | a failure | its thing |
//! |---|---|
//! | 404 | the path, without its query; of a gRPC call, the method |
//! | 401 | the credentials: `Authorization`; none, or those of a verified user, are one thing too |
//! | 401 of a failed [`Login`], or of a request with a body (`POST` and its like) that has no `Authorization` or a verified user | like no other, since each may be a guess |
//! | 405 to `OPTIONS`, as browsers meet it before they ask another origin | one for all paths |
//! | any other | the route's template and the status |
//!
//! So guesses behind one `Authorization` that is no verified user's are one thing: nothing tells them from an app that retries with
//! an expired token. A login handler that may see one beside the password should say how the login went ([`Login`]), or its route should
//! count failures: `{ threshold = "5/5m", distinct = false, routes = ["POST /login"] }`.
//!
//! # Incidents
//! The failure that reaches the threshold begins an episode, and is an incident. The episode ends when fewer failures than
//! half the threshold are left in the window. While it lasts, there is at most one further incident in a window: the first
//! failure that comes a whole window or more after the last incident. So a client near the threshold is reported once a
//! window, and not each time that it crosses the threshold. The store decides, so processes that share it agree.
//!
//! Each incident is counted ([`SuspicionTally`]) and told to each [observer](SuspicionLayerBuilder::observe_events). Its
//! line of the log has the target `palisade::security` and the fields `kind`, `client`, `user` if it is known, the `status`
//! of the last failure, `count` (failures since the episode began), `threshold`, `window`, `routes` (the last eight distinct
//! templates), `first_seen`, `last_seen` and `represents`.
//!
//! In a flood, not every incident has a line: there are at most 20 in a second for each kind, and as many for the bans for
//! it. `represents` says for how many a line stands. So count incidents by the tally, and not by lines.
//!
//! # Logins
//! Counters for each client miss two attacks: one guess for each of many accounts, and guesses at one account from many
//! networks. The login handler makes them visible. It says how a login went by [`Login`], an extension of its response.
//!
//! - **`success_after_failures`** is a login that succeeds during an episode: one of `distributed_stuffing` for the same
//!   account, or one of `password_spraying` or either kind of `credential_stuffing` from the same network.
//! - **Windows** are exact here too. They count distinct accounts or networks instead of failures, and keep the newest 64.
//! - **Estimates.** Here and for distinct things, a `count` beyond 64, or of an episode that outlives its window, is an estimate by HyperLogLog. Its
//!   standard error is 0.81 % in Redis and 1.6 % in memory. The event then has the field `estimated`.
//! - **Events** name the `account`, where there is one, by a keyed hash.
//! - **Bans.** Anybody can bring an account under attack. So the kinds [of an account](IncidentKind::is_of_an_account) ban
//!   nobody. Instead the handler asks [`Suspicions::account`] and steps up.
//!
//! # Off the request's path
//! No response waits for the count. A failure goes into a bounded queue, and a task counts up to 32 failures in one call to
//! the store. When the queue is full, failures are dropped and counted as dropped. A 401 or a login is dropped only if all
//! that wait are 401s and logins. The log says how many were dropped, at most once a minute. The store dates a failure when
//! it counts it, some milliseconds after the response. Failures that still wait when the process ends are lost.
//!
//! # When the store fails
//! The memory of this process counts instead. A call that timed out may still have been executed. Each outage can therefore
//! hide an episode that is spread over several processes, or report one in each.
//!
//! So too for a client that the shared store does not know and has no room for (`store.analytics_memory`): its failures, its
//! incidents and what counts towards its ban are this process's own.
//!
//! # Bans
//! Bans are off unless [`SuspicionLayerBuilder::bans`] is given [`Bans`]. All kinds ban unless [`Bans::kinds`] names some, but
//! the kinds [of an account](IncidentKind::is_of_an_account) never do.
//!
//! - **Whom.** A failure of a verified user counts towards a ban of the user, whatever its address: it is refused everywhere, and
//!   others at the address pass. Any other counts towards a ban of the client. So do a failed login and a 401 to a request
//!   with a body, whoever is signed in: either may be a guess at other credentials. All that follows holds for both ([`Subject`]).
//! - **Offence.** A client is banned when it fails at as many distinct things in a window as the kind's threshold says; with
//!   [`Watch::distinct`] `false`, when it fails so many times. This is exact, and apart from incidents: who asks for one
//!   missing path again and again is an incident, and is not banned.
//! - **Again.** What a client fails at during a ban does not count, nor what it failed at before one. Who goes on when the ban is
//!   over is banned again when a threshold of things has come since, however long the window is.
//! - **Time.** The first offence costs 10 minutes, and each further one twice as long, up to 24 hours. Up to 10 % are added
//!   at random, so that clients do not come back together ([`Sentence`]). A day after the end of the last ban, the count of
//!   offences begins anew.
//! - **Answer.** Requests of a banned client are answered 429 with the problem type `abnormal-usage-detected`, or 403
//!   ([`BanResponse`]). They are no failures.
//! - **Under way.** Requests that were under way when the ban began pass. Their failures add no offence. The store counts and
//!   bans in one atomic call, so one burst is one offence, over all processes.
//! - **Exempt** clients, users and routes pass. An exempt user passes behind a banned address too, and a banned one from an
//!   exempt address.
//! - **Events.** Each ban is counted and is an event `client_banned` of the target `palisade::security`: `client`, `user`
//!   (of a user's ban, with the client that it last came from), `reason`, `strikes` (the offences that the store remembers), `for`, `until`. A lift that ended a ban is an event `ban_lifted`. An
//!   [observer](SuspicionLayerBuilder::observe_events) receives both.
//! - **Shared stores.** A ban holds in all processes. Each process sees its end, or its [lift](Suspicions::lift), within a
//!   second, since it trusts an answer of the store for a second. During that second it refuses a banned client without a
//!   call. A request of any other client waits for the store's answer first, until the deadline at most.
//! - **Clocks.** Should the store's clock step back to before a ban, the ban begins anew at the next look at it. So it never
//!   lasts for longer than it was imposed for from then on.
//! - **Outages.** While the store fails, this process refuses the clients that it knows to be banned. A ban for an incident
//!   during the outage holds in this process alone, to its end.
mod bans;
pub(crate) mod config;
mod event;
mod future;
mod handle;
mod kind;
mod layer;
mod login;
#[cfg(feature = "otel")]
mod metrics;
#[cfg(feature = "ops")]
pub(crate) mod panel;
mod recorder;
mod service;
pub mod store;
mod tally;
#[cfg(test)]
mod tests;
mod thing;
mod threshold;
mod watch;

pub(crate) use bans::micros;
pub use bans::{Ban, BanReason, BanResponse, Bans, Sentence, Subject};
use bans::{Known, Warden};
pub(crate) use event::nobody;
pub use event::{Occurrence, SecurityEvent};
pub use future::ResponseFuture;
pub use handle::{AccountState, Suspicions};
pub use kind::IncidentKind;
pub use layer::{SuspicionLayer, SuspicionLayerBuilder};
pub use login::{AccountHash, Login, LoginAttempt};
pub use service::Suspicion;
pub use tally::{FailureResult, SuspicionTally, Turned};
pub use threshold::Threshold;
pub use watch::Watch;
