//! `cargo bench -p palisade-bench`: the comparison, in the process that starts all others.

use std::process::ExitCode;

fn main() -> ExitCode {
    palisade_bench::main()
}
