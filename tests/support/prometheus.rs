//! A real Prometheus.

use std::fmt::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::SOON;
use crate::http::Client;

/// A running Prometheus; killed when dropped.
pub struct Prometheus {
    process: Process,
    client: Client,
    /// `127.0.0.1:port` of its page and its HTTP API.
    pub address: String,
    folder: TempDir,
}

struct Process(Child);

impl Prometheus {
    /// Starts one that scrapes the given targets twice a second, and waits until it is ready.
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
        Self::in_folder(folder, &[]).await
    }

    /// Starts one with the `prometheus.yml` of a folder, which takes its data (`data`) too, and with further options;
    /// waits until it is ready.
    ///
    /// # Panics
    /// It is not installed, or not ready within 30 seconds.
    pub async fn in_folder(folder: TempDir, options: &[&str]) -> Self {
        let address = free_address();
        let child = Command::new("prometheus")
            .current_dir(folder.path())
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=error"])
            .arg(format!("--web.listen-address={address}"))
            .args(options)
            .stdout(Stdio::null())
            .spawn()
            .expect("prometheus is not installed: run scripts/test setup, or apt-get install prometheus");
        let client = Client::new(&address);
        let prometheus = Self {
            process: Process(child),
            client,
            address,
            folder,
        };
        prometheus
            .until("it is ready", async |client| {
                is_ready(client).await.then_some(())
            })
            .await;
        prometheus
    }

    /// Kills it, and returns the folder, to be started from again.
    #[must_use]
    pub fn stop(self) -> TempDir {
        drop(self.process);
        self.folder
    }

    /// The folder of its configuration and its data.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Asks the HTTP API until an answer satisfies `enough`, and returns that answer's `data`.
    ///
    /// # Panics
    /// Nothing does within 30 seconds.
    pub async fn ask(&self, path: &str, enough: impl Fn(&Value) -> bool) -> Value {
        self.until(path, async |client| {
            let data = client.get(path, &[]).await.json()["data"].take();
            enough(&data).then_some(data)
        })
        .await
    }

    /// Asks the HTTP API once, with parameters of any length and any characters.
    ///
    /// # Errors
    /// What it answers that is wrong with the question.
    pub async fn call(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        // Without parameters there is nothing that a URL could not take, and some of its paths are only read.
        let reply = if parameters.is_empty() {
            self.client.get(path, &[]).await
        } else {
            let form = [("content-type", "application/x-www-form-urlencoded")];
            let body = encoded(parameters);
            self.client
                .send(http::Method::POST, path, &form, &body)
                .await
        };
        let mut reply = reply.json();
        match reply["error"].as_str() {
            None => Ok(reply["data"].take()),
            Some(error) => Err(error.to_owned()),
        }
    }

    /// The series that an expression gives at a moment, in seconds since 1970; `None` is now.
    ///
    /// # Errors
    /// What is wrong with the expression.
    pub async fn query(&self, expression: &str, at: Option<f64>) -> Result<Vec<Value>, String> {
        let at = at.map(|at| at.to_string());
        let mut parameters = vec![("query", expression)];
        parameters.extend(at.as_deref().map(|at| ("time", at)));
        series(self.call("/api/v1/query", &parameters).await?)
    }

    /// The series that an expression gives between two moments, in seconds since 1970.
    ///
    /// # Errors
    /// What is wrong with the expression.
    pub async fn query_range(
        &self,
        expression: &str,
        (start, end): (f64, f64),
        step: f64,
    ) -> Result<Vec<Value>, String> {
        let (start, end, step) = (start.to_string(), end.to_string(), step.to_string());
        let parameters = [
            ("query", expression),
            ("start", &start),
            ("end", &end),
            ("step", &step),
        ];
        series(self.call("/api/v1/query_range", &parameters).await?)
    }

    async fn until<T>(&self, what: &str, attempt: impl AsyncFn(&Client) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = attempt(&self.client).await {
                return found;
            }
            assert!(
                start.elapsed() < SOON,
                "prometheus, after {SOON:?}, still not: {what}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A vector's or a matrix's series; a scalar as one without labels.
fn series(mut data: Value) -> Result<Vec<Value>, String> {
    let result = data["result"].take();
    match (data["resultType"].as_str(), result) {
        (Some("scalar"), value) => Ok(vec![serde_json::json!({ "metric": {}, "value": value })]),
        (_, Value::Array(series)) => Ok(series),
        (kind, result) => Err(format!("no series but {kind:?}: {result}")),
    }
}

/// An address that was free a moment ago, for programs that cannot report a port of their own choice.
pub(crate) fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.expect("a free port").to_string()
}

/// What Prometheus and Alertmanager answer on `/-/ready`.
pub(crate) async fn is_ready(client: &Client) -> bool {
    client
        .try_send(http::Method::GET, "/-/ready", &[], "")
        .await
        .is_ok_and(|reply| reply.status == 200)
}

fn encoded(parameters: &[(&str, &str)]) -> String {
    let mut form = String::new();
    for (name, value) in parameters {
        if !form.is_empty() {
            form.push('&');
        }
        form.push_str(name);
        form.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() {
                form.push(char::from(byte));
            } else {
                let _ = write!(form, "%{byte:02X}");
            }
        }
    }
    form
}
