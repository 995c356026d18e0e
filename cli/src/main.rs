//! Tries palisade on what happened before it was there, access logs and orders: see `replay --help`.
mod access;
mod cli;
mod failure;
mod log;
mod orders;
mod progress;
mod source;
mod table;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let report = match &cli.command {
        Command::Access(arguments) => access::run(arguments),
        Command::Orders(arguments) => orders::run(arguments),
    };
    let printed = report.map(|report| io::stdout().lock().write_all(report.as_bytes()));
    match printed {
        Ok(Ok(())) => ExitCode::SUCCESS,
        // The reader of a pipe has seen enough.
        Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            eprintln!("error: the report cannot be written: {error}");
            ExitCode::FAILURE
        }
        Err(failure) => {
            eprintln!("error: {failure}");
            failure.exit_code()
        }
    }
}
