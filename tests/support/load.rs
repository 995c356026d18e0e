//! The load generator as its own process.

use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::webstore::build;

/// A running load test; killed when dropped.
pub struct Load {
    child: Child,
}

impl Load {
    /// Starts it against a shop, `127.0.0.1:port`, with options as on its command line.
    ///
    /// # Panics
    /// It cannot be built or started.
    #[must_use]
    pub fn start(shop: &str, options: &[&str]) -> Self {
        let child = Command::new(binary())
            .arg(format!("--host=http://{shop}"))
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("load starts");
        Self { child }
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// It still runs after `within`.
    pub async fn wait(&mut self, within: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                return status;
            }
            assert!(start.elapsed() < within, "load still runs after {within:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Builds the load generator once, and tells where it is; before a measurement, since that takes minutes at first.
pub fn binary() -> PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| build("load")).clone()
}
