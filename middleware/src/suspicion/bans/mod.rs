//! Bans: clients with an incident are refused for a time.

mod ban;
mod cache;
mod refusal;
mod screening;
mod sentence;
mod settings;
mod since;
pub(super) mod store;
#[cfg(test)]
mod tests;
mod warden;

pub use ban::{Ban, BanReason};
pub use refusal::BanResponse;
#[cfg(test)]
use screening::Screening;
pub use sentence::Sentence;
pub(crate) use sentence::micros;
pub use settings::Bans;
pub(super) use warden::{Known, Warden};
