//! A Redis of the benchmark's own: nothing of it outlives the run or touches a disk.

use std::time::{Duration, Instant};

use redis::Connection;

use crate::Result;
use crate::process::{Tethered, free_port};

/// A running server and a connection to watch it by.
pub(crate) struct RedisServer {
    url: String,
    connection: Connection,
    _process: Tethered,
}

impl RedisServer {
    /// Starts a server on a free port, without persistence, and waits until it answers.
    pub(crate) fn start() -> Result<Self> {
        let port = free_port()?;
        let dir = std::env::temp_dir();
        let arguments = [
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            &dir.to_string_lossy(),
        ]
        .map(str::to_owned);
        let process = Tethered::start_program("redis-server", &arguments)?;
        let url = format!("redis://127.0.0.1:{port}");
        let client = redis::Client::open(url.as_str())?;
        let deadline = Instant::now() + Duration::from_secs(5);
        let connection = loop {
            match client.get_connection() {
                Ok(connection) => break connection,
                Err(error) if Instant::now() > deadline => {
                    return Err(
                        format!("redis-server does not answer on port {port}: {error}").into(),
                    );
                }
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        Ok(Self {
            url,
            connection,
            _process: process,
        })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// CPU used so far, user and system, in µs.
    pub(crate) fn cpu_micros(&mut self) -> Result<f64> {
        let info = self.info("cpu")?;
        let seconds = field(&info, "used_cpu_user:")? + field(&info, "used_cpu_sys:")?;
        Ok(seconds * 1e6)
    }

    /// Bytes that the data takes, with all that Redis needs to keep it.
    pub(crate) fn used_memory(&mut self) -> Result<f64> {
        field(&self.info("memory")?, "used_memory:")
    }

    /// How many scripts it was asked to run so far.
    pub(crate) fn scripts_run(&mut self) -> Result<f64> {
        let info = self.info("commandstats")?;
        let scripts = info.lines().filter(|line| line.starts_with("cmdstat_eval"));
        let calls = scripts.filter_map(|line| line.split_once("calls=")?.1.split(',').next());
        Ok(calls.filter_map(|calls| calls.parse::<f64>().ok()).sum())
    }

    /// The server's version.
    pub(crate) fn version(&mut self) -> Result<String> {
        let info = self.info("server")?;
        let version = info
            .lines()
            .find_map(|line| line.strip_prefix("redis_version:"));
        Ok(version.ok_or("Redis did not name its version")?.to_owned())
    }

    /// The mean of MEMORY USAGE (name, value and overhead) over the keys that match, and their number.
    pub(crate) fn bytes_per_key(&mut self, pattern: &str) -> Result<(f64, usize)> {
        let keys: Vec<String> = redis::cmd("KEYS")
            .arg(pattern)
            .query(&mut self.connection)?;
        let mut total = 0;
        for key in &keys {
            total += redis::cmd("MEMORY")
                .arg(&["USAGE", key, "SAMPLES", "0"])
                .query::<u64>(&mut self.connection)?;
        }
        Ok((total as f64 / keys.len() as f64, keys.len()))
    }

    fn info(&mut self, section: &str) -> Result<String> {
        Ok(redis::cmd("INFO")
            .arg(section)
            .query(&mut self.connection)?)
    }
}

fn field(info: &str, name: &str) -> Result<f64> {
    let value = info.lines().find_map(|line| line.strip_prefix(name));
    Ok(value
        .ok_or_else(|| format!("INFO has no {name}"))?
        .trim()
        .parse()?)
}
