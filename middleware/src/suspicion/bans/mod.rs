//! Bans: a client or a user that fails at many things is refused for a time.
//!
//! `settings.rs` has [`Bans`], of which the layer makes a [`Warden`]. The warden asks the store (`store.rs`), remembers for
//! a second what the store said of who is banned (`cache.rs`), hands it the evidence, and says whom to refuse.
//! `subject.rs` says who can be banned. `sentence.rs` has the length of a ban, `refusal.rs` the answer to a banned client, `preflight.rs` the question in
//! preflight, and `since.rs` a clock that tests can move.

mod ban;
mod cache;
mod preflight;
mod refusal;
mod sentence;
mod settings;
mod since;
pub(super) mod store;
mod subject;
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
pub use subject::Subject;
pub(super) use warden::{Known, Warden};
