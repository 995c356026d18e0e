//! The files of this repository that other programs read.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

/// A path in the repository.
#[must_use]
pub fn path(inside: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests
        .parent()
        .expect("tests/ is in the repository")
        .join(inside)
}

/// The text of a file.
///
/// # Panics
/// There is none.
#[must_use]
pub fn text(inside: &str) -> String {
    std::fs::read_to_string(path(inside)).unwrap_or_else(|error| panic!("{inside}: {error}"))
}

/// The content of a YAML file.
///
/// # Panics
/// It is none.
#[must_use]
pub fn yaml(inside: &str) -> Value {
    parse_yaml(inside, &text(inside))
}

/// The content of a YAML text; `name` is for the message.
///
/// # Panics
/// It is no YAML.
#[must_use]
pub fn parse_yaml(name: &str, text: &str) -> Value {
    serde_yaml_ng::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The files of a folder with this ending, sorted, by their path in the repository.
///
/// # Panics
/// There is no such folder.
#[must_use]
pub fn files(folder: &str, ending: &str) -> Vec<String> {
    let entries =
        std::fs::read_dir(path(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut found: Vec<_> = entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .filter(|name| name.ends_with(ending))
        .map(|name| format!("{folder}/{name}"))
        .collect();
    found.sort();
    found
}

/// `prometheus.yml` and its rules in a folder of their own, with these targets instead, each `host:port`; `edit` changes
/// the configuration.
///
/// # Panics
/// The files are not where they are expected.
#[must_use]
pub fn prometheus_with(
    webstore: &str,
    alertmanager: Option<&str>,
    edit: impl FnOnce(&mut Value),
) -> TempDir {
    prometheus_with_rules(webstore, alertmanager, edit, |_| {})
}

/// The same, with `edit_rules` to change the rules.
///
/// # Panics
/// The files are not where they are expected.
#[must_use]
pub fn prometheus_with_rules(
    webstore: &str,
    alertmanager: Option<&str>,
    edit: impl FnOnce(&mut Value),
    edit_rules: impl FnOnce(&mut Value),
) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut config, mut rules) = (yaml("prometheus.yml"), yaml("prometheus/rules.yml"));
    edit(&mut config);
    edit_rules(&mut rules);
    let write = |name: &str, content: &str| {
        let file = folder.path().join(name);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        std::fs::write(file, content).expect("a copy is written");
    };
    write("prometheus.yml", &config.to_string());
    write("prometheus/rules.yml", &rules.to_string());
    let targets = |target: Option<&str>| {
        let targets: Vec<_> = target.into_iter().collect();
        serde_json::json!([{ "targets": targets }]).to_string()
    };
    write("prometheus/targets/webstore.yml", &targets(Some(webstore)));
    write(
        "prometheus/targets/alertmanager.yml",
        &targets(alertmanager),
    );
    folder
}

/// Judges every group of rules as often as the others, also those that take their time.
pub fn no_slow_groups(rules: &mut Value) {
    for group in rules["groups"].as_array_mut().into_iter().flatten() {
        if let Some(group) = group.as_object_mut() {
            group.remove("interval");
        }
    }
}

/// Scrapes and evaluates every second: what takes minutes at the repository's own pace.
pub fn every_second(config: &mut Value) {
    let global = &mut config["global"];
    for interval in ["scrape_interval", "scrape_timeout", "evaluation_interval"] {
        global[interval] = "1s".into();
    }
    for scraped in config["scrape_configs"]
        .as_array_mut()
        .into_iter()
        .flatten()
    {
        if let Some(scraped) = scraped.as_object_mut() {
            scraped.remove("scrape_interval");
            scraped.remove("scrape_timeout");
        }
    }
}
