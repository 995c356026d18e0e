//! What Loki, Alloy and Grafana read. They cannot be had here, so their files are only read: names, ports, paths, labels.

use std::collections::BTreeSet;
use std::process::Command;

use palisade_tests::repository::{self, text, yaml};
use regex::Regex;

/// The labels of a log line, of which each has few values.
const LABELS: [&str; 4] = ["service", "level", "event", "segment"];

/// What is written between `name = [` or `name = {` and its end, once in Alloy's file.
fn blocks(alloy: &str, pattern: &str) -> Vec<String> {
    let pattern = Regex::new(pattern).unwrap();
    let found = pattern.captures_iter(alloy);
    found.map(|found| found[1].to_owned()).collect()
}

#[test]
fn alloy_reads_the_file_that_the_webstore_writes_and_sends_it_to_loki() {
    let alloy = text("deploy/alloy/config.alloy");
    let compose = text("docker-compose.yml");
    let paths = blocks(&alloy, r#""__path__" = "([^"]+)""#);
    assert_eq!(paths, ["/var/log/webstore/webstore.log"]);
    assert!(compose.contains(&format!("--log-file={}", paths[0])));

    let loki = yaml("deploy/loki/loki.yml");
    let port = &loki["server"]["http_listen_port"];
    let urls = blocks(&alloy, r#"url = "([^"]+)""#);
    assert_eq!(urls, [format!("http://loki:{port}/loki/api/v1/push")]);

    // Every component that is named as a receiver or a target is there, and each brace has its other half.
    let exists: BTreeSet<_> = Regex::new(r#"(?m)^([a-z_.]+) "([a-z]+)" \{"#)
        .unwrap()
        .captures_iter(&alloy)
        .map(|found| format!("{}.{}", &found[1], &found[2]))
        .collect();
    let named = blocks(&alloy, r"[\[ ]([a-z]+\.[a-z_.]+)\.(?:receiver|targets)\b");
    assert_eq!(named.len(), 3);
    for component in named {
        assert!(exists.contains(&component), "{component} of {exists:?}");
    }
    let code = Regex::new(r#"//.*|"[^"]*""#)
        .unwrap()
        .replace_all(&alloy, "");
    for (open, close) in [('{', '}'), ('[', ']')] {
        assert_eq!(code.matches(open).count(), code.matches(close).count());
    }
}

#[test]
fn a_log_line_has_the_four_labels_and_no_other() {
    let alloy = text("deploy/alloy/config.alloy");
    let words = |list: &str| -> Vec<String> {
        let word = Regex::new(r"[a-z_]+").unwrap();
        word.find_iter(list)
            .map(|found| found.as_str().to_owned())
            .collect()
    };
    let kept = blocks(&alloy, r"(?s)stage\.label_keep \{\s*values = \[([^\]]*)\]");
    assert_eq!(words(&kept[0]), LABELS);
    let set = blocks(&alloy, r"(?s)stage\.labels \{\s*values = \{([^}]*)\}");
    assert_eq!(words(&set[0]), ["level", "event", "segment"]);
    let always = blocks(
        &alloy,
        r"(?s)stage\.static_labels \{\s*values = \{([^}]*)\}",
    );
    assert_eq!(words(&always[0]), ["service", "webstore"]);
    let read = blocks(&alloy, r"(?s)stage\.json \{\s*expressions = \{([^}]*)\}");
    assert_eq!(words(&read[0]), ["timestamp", "level", "event", "segment"]);
    assert_eq!(
        yaml("deploy/loki/loki.yml")["limits_config"]["max_label_names_per_series"],
        LABELS.len()
    );
}

#[test]
fn loki_keeps_everything_on_its_volume_and_deletes_what_is_old() {
    let loki = yaml("deploy/loki/loki.yml");
    for path in [
        &loki["common"]["path_prefix"],
        &loki["common"]["storage"]["filesystem"]["chunks_directory"],
        &loki["common"]["storage"]["filesystem"]["rules_directory"],
        &loki["compactor"]["working_directory"],
    ] {
        assert!(path.as_str().unwrap().starts_with("/loki"), "{path}");
    }
    assert_eq!(loki["compactor"]["retention_enabled"], true);
    assert_eq!(loki["limits_config"]["retention_period"], "336h");
    assert_eq!(loki["schema_config"]["configs"][0]["schema"], "v13");
}

#[test]
fn grafana_finds_its_datasources_by_the_services_names_and_every_dashboard() {
    let mut found = BTreeSet::new();
    for file in repository::files("grafana/provisioning/datasources", ".yml") {
        for source in yaml(&file)["datasources"].as_array().unwrap() {
            let field = |name: &str| source[name].as_str().unwrap_or_default().to_owned();
            assert_eq!(field("access"), "proxy", "{file}");
            found.insert((field("uid"), field("type"), field("url")));
        }
    }
    let source = |kind: &str, url: &str| (kind.to_owned(), kind.to_owned(), url.to_owned());
    let wanted = [
        source("prometheus", "http://prometheus:9090"),
        source("loki", "http://loki:3100"),
    ];
    assert_eq!(found, BTreeSet::from(wanted));

    let compose = text("docker-compose.yml");
    let mut folders = Vec::new();
    for file in repository::files("grafana/provisioning/dashboards", ".yml") {
        for provider in yaml(&file)["providers"].as_array().unwrap() {
            folders.push(provider["options"]["path"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(folders.len(), 1);
    assert!(
        compose.contains(&format!("./grafana/dashboards:{}:ro", folders[0])),
        "{folders:?}"
    );
    let names = repository::files("grafana/dashboards", ".json");
    assert_eq!(
        names,
        [
            "grafana/dashboards/logs-explorer.json",
            "grafana/dashboards/service-health.json",
            "grafana/dashboards/webstore-overview.json"
        ]
    );
}

#[test]
fn prometheus_finds_the_containers_by_the_services_names() {
    for (list, target) in [
        ("webstore", "webstore:9464"),
        ("alertmanager", "alertmanager:9093"),
    ] {
        let targets = yaml(&format!("prometheus/targets/compose/{list}.yml"));
        assert_eq!(targets[0]["targets"], serde_json::json!([target]), "{list}");
    }
}

/// What Docker sends to a build, by `.dockerignore`: its patterns are folders and files, and two of endings.
fn is_sent(file: &str) -> bool {
    let mut sent = true;
    for line in text(".dockerignore").lines() {
        let (keeps, pattern) = match line.strip_prefix('!') {
            Some(pattern) => (true, pattern),
            None => (false, line),
        };
        let matches = match pattern.strip_prefix("**/") {
            _ if line.is_empty() || line.starts_with('#') => continue,
            _ if pattern == "*" => true,
            Some(name) => match name.strip_prefix('*') {
                Some(ending) => file.ends_with(ending),
                None => file.split('/').any(|part| part == name),
            },
            None => file == pattern || file.starts_with(&format!("{pattern}/")),
        };
        if matches {
            sent = keeps;
        }
    }
    sent
}

#[test]
fn what_docker_builds_from_is_a_whole_workspace_and_nothing_beside_it() {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(repository::path(""))
        .output()
        .expect("git runs");
    let files = String::from_utf8(listed.stdout).unwrap();
    let context = tempfile::tempdir().unwrap();
    for file in files.lines().filter(|file| is_sent(file)) {
        let copy = context.path().join(file);
        std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
        std::fs::copy(repository::path(file), copy).unwrap();
    }
    for not_needed in [
        ".git",
        "README.md",
        "docs",
        "grafana",
        "tests/tests",
        "fuzz",
    ] {
        assert!(!context.path().join(not_needed).exists(), "{not_needed}");
    }
    let read = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--offline", "--format-version=1"])
        .current_dir(context.path())
        .output()
        .expect("cargo runs");
    let complaint = String::from_utf8_lossy(&read.stderr);
    assert!(read.status.success(), "{complaint}");
}
