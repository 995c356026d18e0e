//! A real Prometheus.

use std::fmt::Write;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::http::Client;

/// A running Prometheus that scrapes the given targets twice a second; killed when dropped.
pub struct Prometheus {
    child: Child,
    client: Client,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// Starts it and waits until it is ready.
    ///
    /// # Panics
    /// It is not installed, or not ready within 30 seconds.
    pub async fn start(targets: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let targets = targets.iter().fold(String::new(), |mut list, target| {
            let _ = write!(list, "'{target}',");
            list
        });
        let config = format!(
            "global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}\n\
             scrape_configs: [{{job_name: webstore, static_configs: [{{targets: [{targets}]}}]}}]\n"
        );
        std::fs::write(folder.path().join("prometheus.yml"), config)
            .expect("its configuration is written");
        // Prometheus cannot report a port that it chose, so it is given one that was free a moment ago.
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|l| l.local_addr())
            .expect("a free port")
            .port();
        let child = Command::new("prometheus")
            .current_dir(folder.path())
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=error"])
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .spawn()
            .expect("prometheus is not installed: run scripts/test setup, or apt-get install prometheus");
        let client = Client::new(format_args!("127.0.0.1:{port}"));
        let prometheus = Self {
            child,
            client,
            _folder: folder,
        };
        prometheus
            .until("it is ready", async |client| {
                let reply = client
                    .try_send(http::Method::GET, "/-/ready", &[], "")
                    .await
                    .ok()?;
                (reply.status == 200).then_some(())
            })
            .await;
        prometheus
    }

    /// Asks the HTTP API until an answer satisfies `enough`, and returns that answer's `data`.
    ///
    /// # Panics
    /// Nothing does within 30 seconds.
    pub async fn ask(
        &self,
        path: &str,
        enough: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        self.until(path, async |client| {
            let data = client.get(path, &[]).await.json()["data"].take();
            enough(&data).then_some(data)
        })
        .await
    }

    async fn until<T>(&self, what: &str, attempt: impl AsyncFn(&Client) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = attempt(&self.client).await {
                return found;
            }
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "prometheus, after 30 s, still not: {what}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
