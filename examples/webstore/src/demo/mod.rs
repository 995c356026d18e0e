//! Traffic that the shop makes for itself, so that there is something to see: `webstore --demo`.
//!
//! [`settings()`] completes a configuration, [`remember`] gives customers a past, and [`Traffic`] sends visitors over real
//! HTTP. Who they are is told by [`personas`], which the load test (`load/`) drives too.

mod history;
pub mod personas;
mod settings;
mod traffic;

pub use history::remember;
pub use settings::{obstacle, secret, settings};
pub use traffic::Traffic;

/// Users whom one can be oneself on the account page. The first has two devices beside yours, and comes and goes; nobody else
/// is the second.
pub const USERS: [&str; 2] = ["ada", "bob"];
/// Their password, and anybody's.
pub const PASSWORD: &str = crate::auth::PASSWORD;
