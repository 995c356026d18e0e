//! What users and operators see, recorded: a change of it is a change of the recorded files, on purpose.
//!
//! `PALISADE_RECORD=1 cargo test -p palisade-tests --test guard` writes them anew; read the difference before you
//! commit it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod errors;
mod names;
mod recorded;
mod seen;
mod shop;
