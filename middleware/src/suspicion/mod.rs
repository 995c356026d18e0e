//! What failures add up to: the clients who try passwords, scan for paths, or fail at everything.
//!
//! | [`Kind`] | a failure is | suspicious at |
//! |---|---|---|
//! | `credential_stuffing` | 401 | 5 in 5 minutes |
//! | `endpoint_scanning` | 404 | 10 in 5 minutes |
//! | `abuse` | any 4xx but 429 | 20 in 5 minutes |
//! | `credential_stuffing_slow` | 401 | 20 in 2 hours |
//! | `password_spraying` | a failed login: distinct accounts of one network | 5 in 5 minutes; off unless set |
//! | `distributed_stuffing` | a failed login: distinct networks of one account | 4 in 1 hour; off unless set |
//! | `success_after_failures` | a login that succeeds all the same | once in 1 hour for an account; off unless set |
//!
//! A gRPC call fails by its status: 16 is counted as 401, 5 and 12 as 404, 3, 6, 7, 9 and 11 as other 4xx; see
//! [`body`](crate::body#grpc).
//!
//! Failures are counted for each client by exact sliding windows, `(t-w, t]` on the store's clock. A refusal by the rate
//! limits ([`Rejected`](crate::rate_limit::Rejected)) is no failure of the client's, and a success writes nothing.
//!
//! **Incidents, not noise.** The failure that reaches the threshold begins an episode and is one incident. While the
//! episode lasts, the first failure a whole window or more after the last incident is one more. It ends when
//! fewer than half the threshold are left in the window, so a client that hovers around the threshold is reported once
//! a window and not at each crossing. Processes that share a store agree, since the decision is the store's.
//!
//! Each incident is counted ([`Tally`]) and is one event of the target `palisade::security`: `kind`, `client`, `user` if
//! it is known, the `status` of the last failure, `count` (failures since the episode began), `threshold`, `window`,
//! `routes` (the last eight distinct templates), `first_seen` and `last_seen`.
//!
//! **Logins.** What counters for each client cannot see is counted where the login handler says how a login went
//! ([`Login`], an extension of its response): one guess for each of many accounts, and one account guessed at from many
//! networks. `success_after_failures` is a login that succeeds for an account, or from a network, in an episode: of
//! `distributed_stuffing`, or of `password_spraying` or either kind of `credential_stuffing`. Their windows are as exact,
//! over distinct items of which the newest 64 are kept; their events have the `account`, by a keyed hash, where it is one.
//! A `count` beyond that, or of an episode that outlives its window, is an estimate by HyperLogLog, with a standard error
//! of 0.81 % in Redis and 1.6 % in memory, and the event says `estimated`. Since anybody can bring an account under
//! attack, nobody is banned for the kinds [of an account](Kind::is_of_an_account), and the handler asks
//! [`Suspicions::account`] and steps up.
//!
//! **Off the request's path.** A response is never delayed: its failure goes into a bounded queue, and a task counts
//! what waits there, up to 32 failures in one call to the store. When the queue is full, failures are dropped and
//! counted as such, 401s and logins last, and the log says how many at most once a minute. A failure has the time at which
//! it is counted, some milliseconds after its response. What waits when the process ends is lost.
//!
//! **When the store fails**, this process's memory counts. A call that timed out may still have been executed. Each
//! outage can therefore hide an episode that is spread over several processes, or report one in each.
//!
//! # Bans
//! Off unless [`SuspicionLayerBuilder::bans`] is given [`Bans`]: an incident of one of its kinds then bans the client, 10
//! minutes for its first offence, twice as long for each further one up to 24 hours ([`Sentence`]), until a day has
//! passed since the end of its last ban. Requests that were already under way pass, and their failures are no further
//! offence. A banned client's requests are answered 429 with the problem type `abnormal-usage-detected`, or 403
//! ([`BanResponse`]), and are no failures. Who and what is exempt passes, an exempt user behind a banned address too. Each ban is counted, and is one
//! event of the target `palisade::security`, `client_banned`: `client`, `reason`, `strikes`, `for`, `until`; a lift that
//! ended one is another, `ban_lifted`. An [observer](SuspicionLayerBuilder::observe_events) is told the same.
//!
//! With a shared store a ban holds in all processes, and its end or [lift](Suspicions::lift) is seen in each within a
//! second: so long an answer of the store is good for. Until then a banned client is refused without a question. Any
//! other client's request waits for the store's answer first, its deadline at most. While the store fails, this process
//! refuses whom it knows to be banned, and bans that could only be imposed here hold here for all of their time.
//!
//! Counts in the memory of this process, by client address:
//!
//! ```
//! use palisade::client::{ClientLayer, Peer};
//! use palisade::store::memory::MemoryStore;
//! use palisade::suspicion::{Fate, Kind, SuspicionLayer};
//! use tower::{Service, ServiceBuilder, ServiceExt};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let layer = SuspicionLayer::embedded(MemoryStore::new()).build()?;
//! let tally = layer.tally();
//! let mut service = ServiceBuilder::new()
//!     .layer(ClientLayer::builder().build()?)
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
//! while tally.failures(Fate::Counted) < 10 {
//!     tokio::task::yield_now().await;
//! }
//! assert_eq!(tally.incidents(Kind::EndpointScanning), 1);
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
//! use palisade::suspicion::{Bans, Kind, Sentence, SuspicionLayer};
//!
//! let store = MemoryStore::new();
//! let (hour, day) = (Duration::from_secs(3_600), Duration::from_secs(86_400));
//! let bans = Bans::embedded(store.clone())
//!     .sentence(Sentence::new(hour, day)?)
//!     .kinds([Kind::EndpointScanning]);
//! let layer = SuspicionLayer::embedded(store)
//!     .bans(bans)
//!     .threshold(Kind::EndpointScanning, "30/10m".parse()?)
//!     .without(Kind::Abuse)
//!     .exempt(Exemptions::new().cidrs(["10.0.0.0/8"])?.users(["monitoring"])?)
//!     .hash_clients(Secret::from_bytes(b"at least sixteen bytes, from a file"))
//!     .build()?;
//! assert_eq!(layer.tally().incidents(Kind::EndpointScanning), 0);
//! # Ok::<(), palisade::ConfigError>(())
//! ```
mod accounts;
mod bans;
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
mod threshold;

pub use accounts::AccountState;
pub(crate) use bans::micros;
pub use bans::{Ban, BanReason, BanResponse, Bans, Sentence};
use bans::{Known, Warden};
pub use event::{Occurrence, SecurityEvent};
pub use future::ResponseFuture;
pub use handle::Suspicions;
pub use kind::Kind;
pub use layer::{SuspicionLayer, SuspicionLayerBuilder};
pub use login::{AccountHash, Login, LoginAttempt};
pub use service::Suspicion;
pub use tally::{Fate, Tally, Turned};
pub use threshold::Threshold;
