//! The file itself.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use palisade_tests::repository::{self, yaml};
use serde_json::{Map, Value};

/// With its anchors resolved.
static COMPOSE: LazyLock<Value> = LazyLock::new(|| yaml("docker-compose.yml"));

#[test]
fn docker_compose_takes_it_without_a_complaint() {
    let output = Command::new("docker-compose")
        .args(["--profile", "load", "config", "--quiet"])
        .current_dir(repository::path(""))
        .env_remove("PALISADE_SECRET")
        .output()
        .expect("docker-compose is not installed: run scripts/test setup, or apt-get install docker-compose");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    assert_eq!(complaint, "");
}

fn services() -> &'static Map<String, Value> {
    COMPOSE["services"].as_object().unwrap()
}

fn service(name: &str) -> &'static Value {
    &services()[name]
}

fn texts(value: &Value) -> Vec<&str> {
    let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().map(|text| text.as_str().unwrap()).collect()
}

/// Source, target and whether it is read-only, of each volume of a service.
fn mounts(service: &Value) -> Vec<(&str, &str, bool)> {
    let parts = |text| {
        let mut parts = str::split(text, ':');
        let (source, target) = (parts.next().unwrap(), parts.next().unwrap());
        (source, target, parts.next() == Some("ro"))
    };
    texts(&service["volumes"]).into_iter().map(parts).collect()
}

/// Where a file of the container lies in the repository.
fn mounted(service: &str, inside: &str) -> Option<String> {
    mounts(self::service(service))
        .iter()
        .find_map(|(source, target, _)| {
            let rest = Path::new(inside).strip_prefix(target).ok()?;
            let source = Path::new(source.strip_prefix("./")?);
            let found = if rest.as_os_str().is_empty() {
                source.to_owned()
            } else {
                source.join(rest)
            };
            Some(found.to_str().unwrap().to_owned())
        })
}

#[test]
fn the_services_are_those_of_the_stack_and_the_load_comes_on_demand() {
    let names: Vec<_> = services().keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "alertmanager",
            "alloy",
            "grafana",
            "load",
            "loki",
            "prometheus",
            "redis",
            "webstore"
        ]
    );
    for (name, service) in services() {
        let wanted: &[&str] = if name == "load" { &["load"] } else { &[] };
        assert_eq!(texts(&service["profiles"]), wanted, "{name}");
    }
}

#[test]
fn every_image_is_pinned_to_a_release() {
    let release = regex::Regex::new(r"^[a-z./-]+:v?\d+\.\d+\.\d+$").unwrap();
    for (name, service) in services() {
        let image = service["image"].as_str().unwrap_or_default();
        assert!(release.is_match(image), "{name}: {image:?}");
    }
    let from = regex::Regex::new(r"(?m)^FROM (\S+)(?: AS (\S+))?$").unwrap();
    let pinned = regex::Regex::new(r"^[a-z]+:\d+\.\d+(\.\d+)?(-[a-z]+)*$").unwrap();
    let dockerfile = repository::text("deploy/Dockerfile");
    let mut stages = BTreeSet::new();
    for found in from.captures_iter(&dockerfile) {
        let base = &found[1];
        assert!(
            stages.contains(base) || pinned.is_match(base),
            "FROM {base}"
        );
        stages.extend(found.get(2).map(|stage| stage.as_str().to_owned()));
    }
    for name in ["webstore", "load"] {
        let build = &service(name)["build"];
        assert_eq!(build["dockerfile"], "deploy/Dockerfile");
        let target = build["target"].as_str().unwrap();
        assert!(stages.contains(target), "no stage {target}");
        let (_, stage) = dockerfile.split_once(&format!(" AS {target}\n")).unwrap();
        let stage = stage.split("\nFROM ").next().unwrap();
        assert!(stage.contains("\nUSER 10001:10001\n"), "{target} is root");
    }
}

#[test]
fn only_what_a_person_opens_is_published_and_on_loopback_alone() {
    let published: BTreeSet<_> = services()
        .iter()
        .flat_map(|(name, service)| {
            texts(&service["ports"])
                .into_iter()
                .map(|port| (name.as_str(), port))
        })
        .collect();
    let wanted = [
        ("alertmanager", "127.0.0.1:9093:9093"),
        ("grafana", "127.0.0.1:3000:3000"),
        ("prometheus", "127.0.0.1:9090:9090"),
        ("webstore", "127.0.0.1:8000:8000"),
        ("webstore", "127.0.0.1:9464:9464"),
    ];
    assert_eq!(published, BTreeSet::from(wanted));
    for network in ["store", "logs"] {
        assert_eq!(COMPOSE["networks"][network]["internal"], true, "{network}");
    }
    for (name, network) in [("redis", "store"), ("loki", "logs"), ("alloy", "logs")] {
        assert_eq!(texts(&service(name)["networks"]), [network], "{name}");
    }
}

#[test]
fn every_container_is_confined() {
    for (name, service) in services() {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(texts(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(
            texts(&service["security_opt"]),
            ["no-new-privileges:true"],
            "{name}"
        );
        assert!(service["mem_limit"].is_string(), "{name} has no limit");
        assert_eq!(
            service["logging"]["options"]["max-size"], "10m",
            "{name}'s log"
        );
        for more in [
            "privileged",
            "cap_add",
            "devices",
            "pid",
            "ipc",
            "network_mode",
            "userns_mode",
        ] {
            assert!(service[more].is_null(), "{name} has {more}");
        }
        let restart = if name == "load" {
            "no"
        } else {
            "unless-stopped"
        };
        assert_eq!(service["restart"], restart, "{name}");
        for (source, target, read_only) in mounts(service) {
            assert!(!source.contains(".sock"), "{name} has the socket {source}");
            assert!(!source.starts_with(['/', '~']), "{name} has {source}");
            let from_here = source.starts_with("./");
            assert!(!from_here || read_only, "{name} can write {source}");
            assert!(
                from_here || COMPOSE["volumes"].get(source).is_some(),
                "no volume {source} for {target}"
            );
        }
    }
    // Written by one, read by the other.
    assert!(mounts(service("webstore")).contains(&("logs", "/var/log/webstore", false)));
    assert!(mounts(service("alloy")).contains(&("logs", "/var/log/webstore", true)));
}

#[test]
fn everything_that_serves_has_a_health_check_and_is_waited_for() {
    for (name, service) in services() {
        let check = texts(&service["healthcheck"]["test"]);
        if name == "load" {
            assert_eq!(service["healthcheck"]["disable"], true);
        } else {
            assert!(check.len() > 1 && check[0].starts_with("CMD"), "{name}");
        }
        let depended = service["depends_on"].as_object();
        for (on, condition) in depended.into_iter().flatten() {
            let wanted = if (name.as_str(), on.as_str()) == ("alloy", "webstore") {
                "service_started"
            } else {
                "service_healthy"
            };
            assert_eq!(condition["condition"], wanted, "{name} on {on}");
        }
    }
    for (name, on) in [
        ("webstore", "redis"),
        ("prometheus", "webstore"),
        ("prometheus", "alertmanager"),
        ("alloy", "loki"),
        ("grafana", "prometheus"),
        ("grafana", "loki"),
        ("load", "webstore"),
    ] {
        assert!(
            service(name)["depends_on"].get(on).is_some(),
            "{name} does not wait for {on}"
        );
    }
}

#[test]
fn nobody_can_log_in_to_grafana_and_anybody_there_can_only_look() {
    let environment = &service("grafana")["environment"];
    for (key, value) in [
        ("GF_AUTH_ANONYMOUS_ENABLED", "true"),
        ("GF_AUTH_ANONYMOUS_ORG_ROLE", "Viewer"),
        ("GF_AUTH_BASIC_ENABLED", "false"),
        ("GF_AUTH_DISABLE_LOGIN_FORM", "true"),
        ("GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION", "true"),
        ("GF_USERS_ALLOW_SIGN_UP", "false"),
    ] {
        assert_eq!(environment[key], value, "{key}");
    }
    let home = environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
        .as_str()
        .unwrap();
    assert_eq!(
        mounted("grafana", home).as_deref(),
        Some("grafana/dashboards/webstore-overview.json")
    );
}

#[test]
fn every_mounted_file_is_in_the_repository_and_where_its_program_looks() {
    let root = repository::path("");
    for (name, service) in services() {
        for (source, target, _) in mounts(service) {
            if let Some(inside) = source.strip_prefix("./") {
                assert!(
                    root.join(inside).exists(),
                    "{name} mounts {source} at {target}, which is not there"
                );
            }
        }
    }
    let argument = |service: &str, prefix: &str| {
        let command = texts(&self::service(service)["command"]);
        let found = command.iter().find_map(|word| word.strip_prefix(prefix));
        found
            .unwrap_or_else(|| panic!("{service} has no {prefix}"))
            .to_owned()
    };
    for (name, prefix, file) in [
        ("webstore", "--config=", "examples/webstore/compose.toml"),
        ("prometheus", "--config.file=", "prometheus.yml"),
        (
            "alertmanager",
            "--config.file=",
            "prometheus/alertmanager.yml",
        ),
        ("loki", "-config.file=", "deploy/loki/loki.yml"),
        ("alloy", "/etc/alloy", "deploy/alloy/config.alloy"),
        ("redis", "/etc/redis", "deploy/redis/redis.conf"),
    ] {
        let argument = argument(name, prefix);
        let path = if prefix.starts_with('/') {
            format!("{prefix}{argument}")
        } else {
            argument
        };
        assert_eq!(mounted(name, &path).as_deref(), Some(file), "{name}");
    }
    // Beside the configuration, as its relative paths want it.
    assert_eq!(
        mounted("prometheus", "/etc/prometheus/prometheus/rules.yml").as_deref(),
        Some("prometheus/rules.yml")
    );
    for list in ["webstore.yml", "alertmanager.yml"] {
        let inside = format!("/etc/prometheus/prometheus/targets/{list}");
        let wanted = format!("prometheus/targets/compose/{list}");
        assert_eq!(mounted("prometheus", &inside), Some(wanted));
    }
}

#[test]
fn the_load_generators_address_is_the_only_trusted_one() {
    let address = service("load")["networks"]["shop"]["ipv4_address"]
        .as_str()
        .unwrap();
    let config = repository::text("examples/webstore/compose.toml");
    assert!(
        config.contains(&format!("trusted_proxies = [\"{address}/32\"]")),
        "{address}"
    );
}
