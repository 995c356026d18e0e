//! Traffic that the shop makes for itself, so that there is something to see: `webstore --demo`.
//!
//! [`settings()`] completes a configuration, [`remember`] gives customers a past, and [`Traffic`] sends visitors over real
//! HTTP. Who they are is told by [`personas`], which the load test (`load/`) drives too.

mod history;
pub mod personas;
mod settings;
mod traffic;

pub use history::remember;
pub use settings::{obstacle, settings};
pub use traffic::Traffic;
