//! The types that more than one room uses, and what makes a module a room. It imports no room. Each room exports its types
//! under its own name, as `palisade::client::Client` or `palisade::rate_limit::Quota`.
//!
//! A layer of a stack is a [`Room`]: it may have a question to the store (`preflight`), counts (`metrics`) and a part of the
//! live page (`panel`). Its settings are a `section` of the configuration. `notes` and `screened` are extensions by which
//! layers tell each other something.
mod alert;
mod assets;
mod cidr;
mod claimed;
mod client;
mod country;
mod credentials;
mod duration;
mod error;
mod exchange;
mod exempt;
mod guess;
mod key;
#[cfg(feature = "otel")]
pub(crate) mod metrics;
mod nat64;
mod network;
mod notes;
mod operation;
#[cfg(feature = "ops")]
pub(crate) mod panel;
mod peer;
mod preflight;
mod quota;
mod rejected;
mod reply;
mod room;
mod route;
mod route_filter;
mod screened;
#[cfg(feature = "serde")]
pub(crate) mod section;
mod segment;
mod session_id;
mod store_error;
mod user;

pub use alert::{Alert, AlertKind};
pub(crate) use cidr::Cidrs;
pub use claimed::{AskedEitherWay, Claimed, EitherWay, Found, Proving, SessionGate};
pub use client::Client;
pub use country::{Countries, Country, UnknownCountry};
#[cfg(feature = "redis")]
pub(crate) use credentials::masked;
#[cfg(feature = "serde")]
pub(crate) use credentials::message_without_credentials;
pub(crate) use duration::Written;
pub use error::ConfigError;
pub use exchange::{Class, End, Exchange, ObserveExchange, PolicyResult};
pub use exempt::Exemptions;
pub(crate) use guess::Guess;
pub use key::PartitionKey;
#[cfg(feature = "redis")]
pub(crate) use key::Repr;
pub use nat64::Nat64Prefixes;
pub use network::Network;
pub(crate) use notes::Notes;
pub use operation::{Operation, Outcome};
pub use peer::Peer;
pub use preflight::{Answer, Ask, Asked, Turn};
pub use quota::Quota;
pub(crate) use rejected::Code;
pub use rejected::{Reason, Rejected};
pub(crate) use reply::Pending;
pub use reply::Reply;
pub(crate) use room::Room;
pub use route::{MatchedRoute, ResolveRoute, Route};
pub use route_filter::RouteFilter;
pub use screened::{Barred, Gate};
pub(crate) use screened::{HearBan, SOMEWHERE, Screened};
pub use segment::Segment;
pub use session_id::SessionId;
pub use store_error::{StoreError, StoreErrorKind};
pub use user::{Secret, UserId};
