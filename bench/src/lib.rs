//! The comparison behind the figures in the project's README: one service, bare and behind several limiters.
//!
//! `cargo bench -p palisade-bench -- --help` says how to run it, `README.md` beside this package how to read it.

mod arguments;
mod client;
mod comparison;
mod decisions;
mod footprint;
mod load;
mod process;
mod redis_server;
mod report;
mod sessions;
mod shop;
mod statistics;
mod variants;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, Part};

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// Runs what the arguments ask for: the comparison, or the part of it that this process is.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.part {
        None => report::run(&arguments.comparison),
        Some(Part::Serve(serve)) => shop::serve(serve),
        Some(Part::Footprint { variant }) => footprint::print(*variant),
        Some(Part::Sessions { count, kept: None }) => sessions::report(*count),
        Some(Part::Sessions {
            count,
            kept: Some(kept),
        }) => sessions::print(*kept, *count),
        Some(Part::Decisions) => decisions::print(),
        Some(Part::Tether { command }) => process::tether(command),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("palisade-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
