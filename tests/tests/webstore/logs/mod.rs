//! The log: bounded whatever comes, and as docs/logs.md describes it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod documented;
mod floods;
mod process;
mod sources;
