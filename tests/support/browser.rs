//! A headless Chromium, driven by chromedriver over WebDriver (W3C) and, for what that lacks, DevTools commands.
//!
//! WebDriver is JSON over HTTP, and a dozen of its commands are all that is needed here; the client below adds no
//! dependency, where the usual crate would bring one for TLS, for cookies and for internationalized domain names.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::Client;

const INSTALL: &str =
    "is not installed: `apt-get install chromium chromium-driver` (scripts/test does it)";
/// Neither a sandbox, which root cannot have, nor anything that calls out.
const FLAGS: [&str; 10] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
];

/// A browser with a fresh profile and one window; dropped, it ends.
pub struct Browser {
    driver: Child,
    address: String,
    http: Client,
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// Starts chromedriver and a browser of 1,600 by 1,000 pixels that prefers light colours.
    ///
    /// # Panics
    /// One of the two is not installed, or does not start.
    pub async fn start() -> Self {
        let (driver, address) = start_driver();
        let profile = TempDir::new().expect("a temporary directory");
        let mut flags: Vec<_> = FLAGS.map(str::to_owned).into();
        flags.push(format!("--user-data-dir={}", profile.path().display()));
        let mut browser = Self {
            http: Client::new(&address),
            driver,
            address,
            session: String::new(),
            _profile: profile,
        };
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": flags},
        }}});
        let session = browser.ask("/session", &wanted).await;
        let session = session.unwrap_or_else(|error| {
            // It says so in one of several ways, by its version.
            let lower = error.to_lowercase();
            let missing = ["cannot find", "no chrome binary", "unable to find"];
            if missing.iter().any(|it| lower.contains(it)) {
                panic!("chromium {INSTALL}");
            }
            panic!("chromium does not start: {error}")
        });
        browser.session = session["sessionId"]
            .as_str()
            .expect("a session has an id")
            .to_owned();
        browser.resize(1_600, 1_000).await;
        browser.prefer(&[("prefers-color-scheme", "light")]).await;
        browser
    }

    /// Opens an address and waits until it is loaded.
    pub async fn open(&self, url: &str) {
        self.command("url", &json!({"url": url})).await;
    }

    /// What the body of a function returns when the page runs it; a promise is awaited.
    pub async fn run(&self, script: &str) -> Value {
        self.command("execute/sync", &json!({"script": script, "args": []}))
            .await
    }

    /// Runs a script until it returns something true, and returns that.
    ///
    /// # Panics
    /// It does not `within` that time; the message says what was `wanted`, and what stands on the page.
    pub async fn until(&self, wanted: &str, within: Duration, script: &str) -> Value {
        let start = Instant::now();
        loop {
            let value = self.run(script).await;
            if !matches!(value, Value::Null | Value::Bool(false)) {
                return value;
            }
            if start.elapsed() > within {
                let page = self.run("return document.body.innerText").await;
                panic!("after {within:?}, still not: {wanted}; the page says: {page}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Presses and releases one key, as [WebDriver writes it](https://www.w3.org/TR/webdriver2/#keyboard-actions).
    pub async fn press(&self, key: char) {
        let key = key.to_string();
        let actions = json!({"actions": [{"type": "key", "id": "keyboard", "actions": [
            {"type": "keyDown", "value": key},
            {"type": "keyUp", "value": key},
        ]}]});
        self.command("actions", &actions).await;
    }

    /// Makes the viewport so many CSS pixels wide and high, which a window cannot be at 400.
    pub async fn resize(&self, width: u32, height: u32) {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", &size)
            .await;
    }

    /// Has the system prefer something: `[("prefers-color-scheme", "dark")]`.
    pub async fn prefer(&self, features: &[(&str, &str)]) {
        let feature = |&(name, value)| json!({"name": name, "value": value});
        let features: Vec<_> = features.iter().map(feature).collect();
        self.devtools("Emulation.setEmulatedMedia", &json!({"features": features}))
            .await;
    }

    /// Has every page that is opened from now on run a script before its own.
    pub async fn run_first(&self, script: &str) {
        let source = json!({"source": script});
        self.devtools("Page.addScriptToEvaluateOnNewDocument", &source)
            .await;
    }

    /// The whole page as a PNG.
    pub async fn picture(&self) -> Vec<u8> {
        let whole = json!({"format": "png", "captureBeyondViewport": true});
        let picture = self.devtools("Page.captureScreenshot", &whole).await;
        let data = picture["data"].as_str().expect("a picture has data");
        base64::engine::general_purpose::STANDARD
            .decode(data)
            .expect("it is base64")
    }

    /// Writes [`picture`](Self::picture) to a file, and makes its folder if need be.
    pub async fn save_picture(&self, path: &Path) {
        let folder = path.parent().expect("a file is in a folder");
        std::fs::create_dir_all(folder).expect("the folder of pictures");
        std::fs::write(path, self.picture().await).expect("the picture is written");
    }

    /// What the console said since the last call: errors, warnings, violations of the content security policy.
    pub async fn console(&self) -> Vec<String> {
        let entries = self.command("se/log", &json!({"type": "browser"})).await;
        let entries = entries.as_array().expect("a list of entries");
        entries
            .iter()
            .map(|it| format!("{} {}: {}", it["level"], it["source"], it["message"]))
            .collect()
    }

    /// A command of the [DevTools protocol](https://chromedevtools.github.io/devtools-protocol/).
    pub async fn devtools(&self, command: &str, parameters: &Value) -> Value {
        let command = json!({"cmd": command, "params": parameters});
        self.command("goog/cdp/execute", &command).await
    }

    async fn command(&self, command: &str, parameters: &Value) -> Value {
        let path = format!("/session/{}/{command}", self.session);
        self.ask(&path, parameters)
            .await
            .unwrap_or_else(|error| panic!("{command} {parameters}: {error}"))
    }

    async fn ask(&self, path: &str, parameters: &Value) -> Result<Value, String> {
        let reply = self.http.post(path, &[], &parameters.to_string()).await;
        let value = reply.json()["value"].take();
        if reply.status == 200 {
            Ok(value)
        } else {
            Err(value["message"].to_string())
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends the browser; the rest of its group goes with it, should it not.
        if let Ok(mut stream) = TcpStream::connect(&self.address) {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
            let _ = stream.write_all(b"GET /shutdown HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
            let _ = stream.read(&mut [0; 256]);
        }
        let _ = Command::new("kill")
            .args(["-KILL", "--", &format!("-{}", self.driver.id())])
            .stderr(Stdio::null())
            .status();
        let _ = self.driver.wait();
    }
}

/// Starts chromedriver, and tells its address.
fn start_driver() -> (Child, String) {
    loop {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| match error.kind() {
                ErrorKind::NotFound => panic!("chromedriver {INSTALL}"),
                _ => panic!("chromedriver does not start: {error}"),
            });
        match listening(&mut driver) {
            Ok(address) => return (driver, address),
            // It takes a free port of IPv4, which another process may have on IPv6.
            Err(said) if said.contains("port not available") => {}
            Err(said) => panic!("chromedriver ended before it was ready: {said}"),
        }
    }
}

/// The driver's address, from what it prints when it is ready; else what it said before it ended.
fn listening(driver: &mut Child) -> Result<String, String> {
    let mut stdout = BufReader::new(driver.stdout.take().expect("stdout is piped"));
    let mut said = String::new();
    loop {
        let before = said.len();
        let read = stdout.read_line(&mut said);
        if read.expect("chromedriver prints text") == 0 {
            driver.wait().expect("to reap chromedriver");
            return Err(said);
        }
        if let Some((_, port)) = said[before..].split_once("started successfully on port ") {
            // Whatever it prints later must not fill the pipe.
            let port = port.trim().trim_end_matches('.').to_owned();
            std::thread::spawn(move || stdout.read_to_end(&mut Vec::new()));
            return Ok(format!("127.0.0.1:{port}"));
        }
    }
}
