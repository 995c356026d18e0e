//! The settings in force, and where each of them comes from.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use toml::{Table, Value};

use super::report::Report;
use crate::failure::Failure;

const DEFAULTS: &str = include_str!("defaults.toml");
const REDIS_URL: &str = "store.redis_url";
const SECRET_FILE: &str = "store.secret_file";
const BANS: &str = "suspicion.bans";

/// A setting in force.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) source: Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Source {
    Default,
    File,
    Environment,
}

impl Source {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Environment => "environment",
        }
    }
}

/// The settings by their keys.
#[derive(Debug)]
pub(super) struct Settings {
    rows: BTreeMap<String, (String, Source)>,
    place: String,
}

impl Settings {
    /// The defaults, and what a file says that a service can use.
    pub(super) fn of_file(file: Option<&Path>) -> Result<Self, Failure> {
        let text = match file {
            None => String::new(),
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| Failure::Setting(format!("{}: {error}", path.display())))?,
        };
        let table = |text: &str| {
            // Read once already, by a parser whose words hold no password.
            let unreadable = |_| Failure::Setting("the configuration is no TOML".to_owned());
            text.parse::<Table>().map_err(unreadable)
        };
        Ok(Self {
            rows: in_force(table(DEFAULTS)?, table(&text)?),
            place: file.map_or_else(|| "no file".to_owned(), |path| path.display().to_string()),
        })
    }

    pub(super) fn set_redis_url_by_environment(&mut self) {
        let set = ("set".to_owned(), Source::Environment);
        self.rows.insert(REDIS_URL.to_owned(), set);
    }

    pub(super) fn redis_url_is_of_environment(&self) -> bool {
        let row = self.rows.get(REDIS_URL);
        row.is_some_and(|(_, source)| *source == Source::Environment)
    }

    pub(super) fn check(&self, report: &mut Report) {
        let of_file = self.rows.values().filter(|it| it.1 == Source::File).count();
        let found = format!(
            "{}: {of_file} of {} settings in force",
            self.place,
            self.rows.len()
        );
        report.ok(super::CONFIGURATION, found);
    }

    pub(super) fn into_rows(self) -> Vec<Row> {
        let rows = self.rows.into_iter();
        rows.map(|(key, (value, source))| Row { key, value, source })
            .collect()
    }
}

fn in_force(mut defaults: Table, file: Table) -> BTreeMap<String, (String, Source)> {
    let written = |path: &[&str]| {
        let mut at = Some(&file);
        let (last, before) = path.split_last()?;
        for name in before {
            at = at?.get(*name)?.as_table();
        }
        at?.get(*last)
    };
    if written(&["suspicion", "bans"]).is_none()
        && let Some(suspicion) = defaults.get_mut("suspicion").and_then(Value::as_table_mut)
    {
        suspicion.insert("bans".to_owned(), "off".into());
    }
    if written(&["segments"]).is_some()
        && let Some(segments) = defaults.get_mut("segments").and_then(Value::as_table_mut)
    {
        // On, where the section says nothing of it.
        segments.insert("enabled".to_owned(), true.into());
    }
    // `rate_limit.ip` is short for the quota of the policy.
    for policy in ["ip", "user"] {
        if written(&["rate_limit", "policies", policy, "quota"]).is_some()
            && let Some(limits) = defaults.get_mut("rate_limit").and_then(Value::as_table_mut)
        {
            limits.remove(policy);
        }
    }
    let mut rows = BTreeMap::new();
    for unset in [REDIS_URL, SECRET_FILE] {
        rows.insert(unset.to_owned(), ("unset".to_owned(), Source::Default));
    }
    let mut add = |key: &str, value: &Value, source| {
        // A value of the file may be a table where the default is none.
        let stale = |known: &String| {
            *known == key
                || key
                    .strip_prefix(known.as_str())
                    .is_some_and(|it| it.starts_with('.'))
        };
        rows.retain(|known, _| !stale(known));
        let text = value.to_string();
        // A URL with a password may stand at any key.
        // Where there is no such file, the secret itself may stand in its place.
        let is_no_file = || {
            let path = value.as_str().map(Path::new);
            key == SECRET_FILE && !path.is_some_and(Path::is_file)
        };
        let is_secret =
            key == REDIS_URL || is_no_file() || (text.contains(':') && text.contains('@'));
        let text = if is_secret { "set".to_owned() } else { text };
        rows.insert(key.to_owned(), (text, source));
    };
    flatten(&Value::Table(defaults), "", &mut |key, value| {
        add(key, value, Source::Default)
    });
    flatten(&Value::Table(file), "", &mut |key, value| {
        add(key, value, Source::File)
    });
    if rows.keys().any(|key| key.starts_with("suspicion.bans.")) {
        rows.remove(BANS);
    }
    rows
}

/// Tells each value that is no table, by its key with dots.
fn flatten(value: &Value, key: &str, tell: &mut impl FnMut(&str, &Value)) {
    let Value::Table(table) = value else {
        return tell(key, value);
    };
    for (name, value) in table {
        let key = if key.is_empty() {
            name.clone()
        } else {
            format!("{key}.{name}")
        };
        flatten(value, &key, tell);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(file: &str) -> BTreeMap<String, (String, Source)> {
        in_force(DEFAULTS.parse().unwrap(), file.parse().unwrap())
    }

    fn at(rows: &BTreeMap<String, (String, Source)>, key: &str) -> Option<(String, Source)> {
        rows.get(key).cloned()
    }

    #[test]
    fn says_of_each_value_where_it_comes_from() {
        let rows = of(
            "[store]\nredis_url = 'redis://:hunter2@db'\n[rate_limit]\nip = '5/1m'\n[rate_limit.policies.user]\n\
             quota = '9/1m'\n[segments]\nvip_orders = 7\n[suspicion.bans]\n",
        );
        let of_file = |value: &str| Some((value.to_owned(), Source::File));
        let default = |value: &str| Some((value.to_owned(), Source::Default));
        assert_eq!(at(&rows, "store.redis_url"), of_file("set"));
        assert_eq!(at(&rows, "store.secret_file"), default("unset"));
        assert_eq!(at(&rows, "rate_limit.ip"), of_file("\"5/1m\""));
        assert_eq!(at(&rows, "rate_limit.user"), None);
        assert_eq!(
            at(&rows, "rate_limit.policies.user.quota"),
            of_file("\"9/1m\"")
        );
        assert_eq!(at(&rows, "segments.enabled"), default("true"));
        assert_eq!(at(&rows, "segments.vip_orders"), of_file("7"));
        assert_eq!(at(&rows, "suspicion.bans.for"), default("\"10m\""));
        assert!(!format!("{rows:?}").contains("hunter2"));
        let rows = of("[rate_limit]\nexempt.users = ['redis://:hunter2@db', 'a:hunter2@db']");
        assert_eq!(at(&rows, "rate_limit.exempt.users"), of_file("set"));
        let rows = of("[store]\nsecret_file = 'the-secret-hunter2-itself'");
        assert_eq!(at(&rows, "store.secret_file"), of_file("set"));
        let rows = of("[store]\nsecret_file = 'Cargo.toml'");
        assert_eq!(at(&rows, "store.secret_file"), of_file("\"Cargo.toml\""));
        let rows = of("[suspicion]\nabuse = { threshold = '5/1m' }");
        assert_eq!(at(&rows, "suspicion.bans"), default("\"off\""));
        assert_eq!(at(&rows, "suspicion.abuse"), None);
        assert_eq!(at(&rows, "suspicion.abuse.threshold"), of_file("\"5/1m\""));
        assert_eq!(at(&rows, "segments.enabled"), default("false"));
    }
}
