//! Bans: clients with an incident are refused for a time.

mod ban;
mod cache;
mod preflight;
mod refusal;
mod sentence;
mod settings;
mod since;
pub(super) mod store;
#[cfg(test)]
mod tests;
mod warden;

pub use ban::{Ban, BanReason};
#[cfg(test)]
use preflight::Screening;
pub use refusal::BanResponse;
pub use sentence::Sentence;
pub(crate) use sentence::micros;
pub use settings::Bans;
pub(super) use warden::{Known, Warden};
