//! What can be asked of the comparison.

use clap::{Args, Parser, Subcommand};
use palisade::rate_limit::Quota;

use crate::variants::Variant;

/// Compares one axum service bare, behind palisade, and behind other limiters.
///
/// Every variant is a process of its own that serves the same product list; every round asks each of them once,
/// in an order shuffled anew, as 5,000 clients with a user each, and divides its requests/s by those of the bare
/// service in the same round. Prints one Markdown table; progress goes to standard error. Needs wrk and
/// redis-server. Run it on a machine that does nothing else.
#[derive(Debug, Parser)]
#[command(
    name = "cargo bench -p palisade-bench --",
    after_help = "Try it:\n  cargo bench -p palisade-bench                                 the whole comparison, 6 minutes\n  \
                  cargo bench -p palisade-bench -- --rounds 3 --seconds 1       a first look, below a minute\n  \
                  cargo bench -p palisade-bench -- --variants bare,redis        two variants only\n  \
                  cargo bench -p palisade-bench --bench compare -- sessions     a million sessions, about 6 minutes"
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) comparison: Comparison,
    #[command(subcommand)]
    pub(crate) part: Option<Part>,
    /// What `cargo bench` adds.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Comparison {
    /// Rounds; each measures every variant once.
    #[arg(long, env = "BENCH_ROUNDS", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Seconds that each variant is measured in each round.
    #[arg(long, env = "BENCH_SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) seconds: u32,
    /// Connections that are kept alive and each have one request under way.
    #[arg(long, env = "BENCH_CONNECTIONS", default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..))]
    pub(crate) connections: u32,
    /// Clients that take turns; the flood is always one.
    #[arg(long, env = "BENCH_CLIENTS", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..16_000_000))]
    pub(crate) clients: u32,
    /// Seed of the orders; random unless given, and printed.
    #[arg(long, env = "BENCH_SEED")]
    pub(crate) seed: Option<u64>,
    /// Variants to measure; `bare` is always among them.
    #[arg(long, env = "BENCH_VARIANTS", value_delimiter = ',', default_values_t = Variant::DEFAULT)]
    pub(crate) variants: Vec<Variant>,
    /// Leaves out bytes per key and single decisions.
    #[arg(long)]
    pub(crate) only_rounds: bool,
}

/// Where sessions are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kept {
    Memory,
    Redis,
}

/// The parts that run in processes of their own, and another measurement.
#[derive(Debug, Subcommand)]
pub(crate) enum Part {
    /// Measures sessions instead: bytes of each, and the time of a validation and of a user's list, at ever more of them
    Sessions {
        /// How many in the end
        #[arg(long, default_value_t = 1_000_000)]
        count: usize,
        #[arg(long, hide = true)]
        kept: Option<Kept>,
    },
    /// Serves the shop in one variant until standard input ends; prints its address.
    #[command(hide = true)]
    Serve(Serve),
    /// Prints the bytes of resident memory that a key takes in a store of this process.
    #[command(hide = true)]
    Footprint {
        #[arg(long)]
        variant: Variant,
    },
    /// Prints the time of single decisions in memory.
    #[command(hide = true)]
    Decisions,
    /// Runs a program until standard input ends.
    #[command(hide = true)]
    Tether {
        #[arg(last = true)]
        command: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[arg(long)]
    pub(crate) variant: Variant,
    #[arg(long)]
    pub(crate) redis: Option<String>,
    #[command(flatten)]
    pub(crate) quotas: Quotas,
}

/// The quotas of the two tiers.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Quotas {
    #[arg(long)]
    pub(crate) ip: Quota,
    #[arg(long)]
    pub(crate) user: Quota,
}
