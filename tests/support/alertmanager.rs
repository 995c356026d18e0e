//! A real Alertmanager.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::SOON;
use crate::http::Client;
use crate::prometheus::{free_address, is_ready};

/// A running Alertmanager; killed when dropped.
pub struct Alertmanager {
    child: Child,
    client: Client,
    /// `127.0.0.1:port` of its page and its HTTP API.
    pub address: String,
    _data: TempDir,
}

impl Alertmanager {
    /// Starts one with a configuration file, alone in its cluster, and waits until it is ready.
    ///
    /// # Panics
    /// It is not installed, refuses the file, or is not ready within 30 seconds.
    pub async fn start(config: &Path) -> Self {
        let address = free_address();
        let data = tempfile::tempdir().expect("a temporary folder");
        let child = Command::new("prometheus-alertmanager")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", data.path().display()))
            .arg(format!("--web.listen-address={address}"))
            .args(["--cluster.listen-address=", "--log.level=error"])
            .stdout(Stdio::null())
            .spawn()
            .expect("alertmanager is not installed: run scripts/test setup, or apt-get install prometheus-alertmanager");
        let alertmanager = Self {
            child,
            client: Client::new(&address),
            address,
            _data: data,
        };
        let started = Instant::now();
        while !is_ready(&alertmanager.client).await {
            assert!(
                started.elapsed() < SOON,
                "alertmanager is not ready after 30 s"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        alertmanager
    }

    /// The alerts that it holds.
    pub async fn alerts(&self) -> Vec<Value> {
        match self.client.get("/api/v2/alerts", &[]).await.json() {
            Value::Array(alerts) => alerts,
            other => panic!("no alerts but {other}"),
        }
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
