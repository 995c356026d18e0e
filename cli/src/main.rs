//! `palisade`, the one tool beside the library: see `palisade --help`.
//!
//! A command is a module or a room of its own. It owns its arguments, and its `run` returns the text to print.
mod completions;
mod doctor;
mod failure;
mod man;
mod replay;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use completions::Completions;
use doctor::Doctor;
use man::Man;

/// Checks a service's configuration and Redis, tries palisade's limits on past traffic, and fills its store with past orders
#[derive(Debug, Parser)]
#[command(
    name = "palisade",
    version,
    propagate_version = true,
    subcommand_value_name = "COMMAND"
)]
#[command(arg_required_else_help = true, after_long_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Replays the past: access logs through the rate limits, orders into segments
    #[command(
        subcommand,
        subcommand_value_name = "COMMAND",
        arg_required_else_help = true
    )]
    Replay(replay::Command),
    /// Checks the configuration, the secret and Redis, and says what to do
    #[command(long_about = Doctor::ABOUT, after_long_help = Doctor::EXAMPLES)]
    Doctor(Doctor),
    /// Prints a script that completes the commands in your shell
    #[command(long_about = Completions::ABOUT, after_long_help = Completions::EXAMPLES, arg_required_else_help = true)]
    Completions(Completions),
    /// Prints a manual page, or writes all of them
    #[command(long_about = Man::ABOUT, after_long_help = Man::EXAMPLES)]
    Man(Man),
}

const EXAMPLES: &str = "\
Examples:
  Is everything as it must be, before the service starts?
      palisade doctor --config palisade.toml

  Whom would the limits have denied yesterday?
      palisade replay access /var/log/nginx/access.log

  Which segments are the customers in today?
      palisade replay orders orders.csv --format csv

  Complete the commands in this Bash, and have `man palisade`:
      source <(palisade completions bash)
      palisade man --into ~/.local/share/man/man1

Exit status: 0 when it is done, 1 when something cannot be read, written or reached or a check fails, 2 for a wrong argument,
or a configuration that cannot be read or used; for the doctor that is a check.";

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = |text| (text, true);
    let result = match &cli.command {
        Command::Replay(command) => replay::run(command).map(done),
        Command::Doctor(arguments) => doctor::run(arguments),
        Command::Completions(arguments) => completions::run(arguments, Cli::command()).map(done),
        Command::Man(arguments) => man::run(arguments, Cli::command()).map(done),
    };
    match result.map(|(text, is_well)| (print(&text), is_well)) {
        Ok((Ok(()), true)) => ExitCode::SUCCESS,
        Ok((Ok(()), false)) => ExitCode::FAILURE,
        // The reader of a pipe has seen enough.
        Ok((Err(error), is_well)) if error.kind() == io::ErrorKind::BrokenPipe => {
            if is_well {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Ok((Err(error), _)) => {
            eprintln!("error: the output cannot be written: {error}");
            ExitCode::FAILURE
        }
        Err(failure) => {
            eprintln!("error: {failure}");
            failure.exit_code()
        }
    }
}

fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
