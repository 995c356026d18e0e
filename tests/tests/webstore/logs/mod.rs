//! The log: bounded whatever comes, and as docs/logs.md describes it.

mod documented;
mod floods;
mod process;
mod services;
mod sources;
