//! A real redis-server that also speaks TLS, with a certificate made for one test.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::redis::RedisServer;

/// A server with two ports: one in the clear for the test to look in, one for TLS alone.
pub struct TlsRedis {
    /// Through its port in the clear.
    pub server: RedisServer,
    port: u16,
    files: TempDir,
}

impl TlsRedis {
    /// A server whose certificate is for 127.0.0.1, and that nobody trusts who is not given
    /// [`certificate`](Self::certificate).
    #[must_use]
    pub fn start() -> Self {
        let files = TempDir::new().expect("a temporary directory");
        let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| {
            let path = files.path().join(name);
            path.to_str().expect("a path in UTF-8").to_owned()
        });
        make_certificate(&certificate, &key);
        let server = RedisServer::start_with(&[
            "--tls-cert-file",
            &certificate,
            "--tls-key-file",
            &key,
            "--tls-auth-clients",
            "no",
        ]);
        // Another process may take a free port before the server does.
        let port = loop {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
            let port = listener.local_addr().expect("its address").port();
            drop(listener);
            let answer = server.cli(&["config", "set", "tls-port", &port.to_string()]);
            if answer == "OK" {
                break port;
            }
            assert!(
                answer.contains("listen"),
                "redis-server without TLS: {answer}"
            );
        };
        Self {
            server,
            port,
            files,
        }
    }

    /// `rediss://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("rediss://127.0.0.1:{}", self.port)
    }

    /// What a client must trust, as the environment variable `SSL_CERT_FILE`.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.files.path().join("certificate.pem")
    }
}

fn make_certificate(certificate: &str, key: &str) {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
        ])
        .args(["-nodes", "-days", "1", "-subj", "/CN=palisade-test"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        // Else it would be an authority, which may not be a server.
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-out", certificate, "-keyout", key])
        .output()
        .expect("openssl is not installed: `apt-get install openssl` (scripts/test does it)");
    let errors = String::from_utf8_lossy(&made.stderr);
    assert!(
        made.status.success(),
        "openssl made no certificate:\n{errors}"
    );
}
