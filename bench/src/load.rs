//! The load: wrk, which takes less of the two cores that all share than a generator in Rust would.

use std::net::SocketAddr;
use std::process::Command;

use crate::Result;

/// The path that every request asks for.
pub(crate) const PATH: &str = "/us/products";

/// Threads of wrk: one alone would be the limit of the faster variants, not their service.
const THREADS: &str = "2";

/// What a run of wrk found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Measured {
    /// Answered requests.
    pub(crate) requests: f64,
    /// Answered requests per second.
    pub(crate) rate: f64,
    /// Of these, answered with a status of 400 or more.
    pub(crate) refused: f64,
    /// Median latency in ms.
    pub(crate) p50: f64,
    /// 99th percentile of latency in ms.
    pub(crate) p99: f64,
}

/// Asks `address` as fast as it answers, for `seconds`, by `connections`, as `clients` in turn.
pub(crate) fn run(
    address: SocketAddr,
    seconds: u32,
    connections: u32,
    clients: u32,
) -> Result<Measured> {
    let output = Command::new("wrk")
        .args(["--threads", THREADS, "--latency"])
        .args(["--connections", &connections.to_string()])
        .args(["--duration", &format!("{seconds}s")])
        .args(["--script", concat!(env!("CARGO_MANIFEST_DIR"), "/load.lua")])
        .args([
            &format!("http://{address}"),
            "--",
            &clients.to_string(),
            PATH,
            THREADS,
        ])
        .output()
        .map_err(|error| format!("cannot start wrk ({error}); on Debian: apt-get install wrk"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse(&text).unwrap_or_else(|| {
        let complaint = String::from_utf8_lossy(&output.stderr);
        Err(format!("wrk failed ({}): {text}{complaint}", output.status).into())
    })
}

/// Reads the line that `load.lua` prints; an error for a load that was not answered in full.
fn parse(output: &str) -> Option<Result<Measured>> {
    let line = output
        .lines()
        .find_map(|line| line.strip_prefix("result "))?;
    let numbers: Vec<f64> = line
        .split(' ')
        .map_while(|number| number.parse().ok())
        .collect();
    let [requests, micros, broken, late, refused, p50, p99, _max] = numbers[..] else {
        return None;
    };
    if broken + late > 0.0 || requests == 0.0 {
        return Some(Err(format!(
            "{requests} requests were answered, {broken} connections broke, {late} requests took longer than 2 s"
        )
        .into()));
    }
    Some(Ok(Measured {
        requests,
        rate: requests / micros * 1e6,
        refused,
        p50: p50 / 1e3,
        p99: p99 / 1e3,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_scripts_line_among_wrks_own() {
        let output =
            "Running 2s test @ http://127.0.0.1:1\nresult 1000 500000 0 0 7 1500 2500 9000\n";
        let measured = parse(output).unwrap().unwrap();
        let expected = Measured {
            requests: 1000.0,
            rate: 2000.0,
            refused: 7.0,
            p50: 1.5,
            p99: 2.5,
        };
        assert_eq!(measured, expected);
    }

    #[test]
    fn a_broken_connection_fails_the_run() {
        let error = parse("result 1000 500000 3 0 0 1 2 3")
            .unwrap()
            .unwrap_err();
        assert!(error.to_string().contains("3 connections broke"), "{error}");
    }

    #[test]
    fn output_without_the_line_is_no_result() {
        assert!(parse("unable to connect to 127.0.0.1:1").is_none());
        assert!(parse("result 1 2").is_none());
    }
}
