//! `palisade replay`: what happened before palisade was there, access logs and orders.
mod access;
mod log;
mod orders;
mod progress;
mod source;
mod table;

use std::time::Duration;

use clap::Subcommand;

use self::access::Access;
use self::orders::Orders;
use crate::failure::Failure;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Replays access logs through the rate limits
    #[command(long_about = Access::ABOUT, after_long_help = Access::EXAMPLES)]
    Access(Access),
    /// Loads past orders, and tells which segments the customers are in
    #[command(long_about = Orders::ABOUT, after_long_help = Orders::EXAMPLES)]
    Orders(Orders),
}

/// An argument's duration.
fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| "allowed is a duration such as `10m`, `1h30m` or `90d`".to_owned())
}

/// The report, as text to print.
pub(crate) fn run(command: &Command) -> Result<String, Failure> {
    match command {
        Command::Access(arguments) => access::run(arguments),
        Command::Orders(arguments) => orders::run(arguments),
    }
}
