//! What a section of the configuration is, and the words that several sections share.

use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::de::value::{Error as ValueError, StrDeserializer};
use serde::de::{DeserializeOwned, Error, IntoDeserializer, Visitor};
use serde::{Deserialize, Deserializer};
use toml::{Table, Value};

use super::{ConfigError, Exemptions, Quota, RouteFilter};

/// A section of the configuration. Its room implements this for the settings; its name stands in the list of
/// [`Config`](crate::config::Config).
pub(crate) trait Section: Sized {
    /// The section as it is written. The default is a section without keys.
    type Written: DeserializeOwned + Default;

    /// Every key of the section and of its tables, and what it takes: an error names the key of its line only if it stands here.
    const KEYS: Keys;

    /// Reads what is written.
    ///
    /// # Errors
    /// A value that cannot be used. Its key does not say the section's name.
    fn read(written: Self::Written) -> Result<Self, ConfigError>;
}

/// A section that means something only if it is written.
impl<S: Section> Section for Option<S> {
    type Written = Option<S::Written>;

    const KEYS: Keys = S::KEYS;

    fn read(written: Self::Written) -> Result<Self, ConfigError> {
        written.map(S::read).transpose()
    }
}

/// The keys of a section.
pub(crate) type Keys = &'static [(&'static str, Takes)];

/// What a key takes, in TOML's types and in words.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Takes {
    Text(&'static str),
    Texts(&'static str),
    Number(&'static str),
    Flag,
    Table(&'static str),
    /// Several types, or names: its own reader says which.
    Said,
}

pub(crate) const ROUTES: Takes = Takes::Texts("routes such as `POST /{country}/orders`");
pub(crate) const NETWORKS: Takes = Takes::Texts("networks such as `10.0.0.0/8`, and addresses");
pub(crate) const USERS: Takes = Takes::Texts("ids of users such as `ada`");
pub(crate) const PRESET: Takes = Takes::Text("`assets`");
pub(crate) const EXEMPT: Takes = Takes::Table(
    "a table of lists, such as `{ cidrs = [\"10.0.0.0/8\"], users = [], routes = [] }`",
);

impl Takes {
    /// The value that is of another type, and what is allowed.
    fn refuses(self, value: &Value) -> Option<(&Value, String)> {
        let found = match (self, value) {
            (Self::Said, _)
            | (Self::Text(_), Value::String(_))
            | (Self::Number(_), Value::Integer(_))
            | (Self::Flag, Value::Boolean(_))
            | (Self::Table(_), Value::Table(_)) => None,
            (Self::Texts(_), Value::Array(values)) => values.iter().find(|it| !it.is_str()),
            _ => Some(value),
        };
        let allowed = match self {
            Self::Text(allowed) => format!("a text in quotes: {allowed}"),
            Self::Texts(allowed) => format!("a list of texts in quotes: {allowed}"),
            Self::Number(allowed) | Self::Table(allowed) => allowed.to_owned(),
            Self::Flag => "`true` or `false`".to_owned(),
            Self::Said => return None,
        };
        found.map(|found| (found, allowed))
    }
}

/// The first value of a section that is of another type than its key takes, if there is one.
pub(crate) fn mistyped(section: &str, value: &Value, keys: Keys) -> Option<ConfigError> {
    fn within(path: &str, table: &Table, keys: Keys, are_names: bool) -> Option<ConfigError> {
        const POLICY: Takes =
            Takes::Table("a table such as `{ key = \"ip\", quota = \"200/1m\" }`");
        table.iter().find_map(|(key, value)| {
            let path = format!("{path}.{key}");
            let known = keys.iter().find(|(known, _)| known == key);
            let takes = known.map_or(Takes::Said, |(_, takes)| *takes);
            let takes = if are_names { POLICY } else { takes };
            if let Some((value, allowed)) = takes.refuses(value) {
                return Some(ConfigError::new(path, shown(value), allowed));
            }
            let inner = value.as_table()?;
            within(&path, inner, keys, !are_names && key == "policies")
        })
    }

    match value {
        Value::Table(table) => within(section, table, keys, false),
        value => {
            let allowed = format!("a section, `[{section}]`");
            Some(ConfigError::new(section, shown(value), allowed))
        }
    }
}

/// A value in a few words.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(_) => "[…]".to_owned(),
        Value::Table(_) => "{…}".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => format!("{number:?}"),
        Value::Boolean(flag) => flag.to_string(),
        Value::Datetime(time) => time.to_string(),
    }
}

/// The key `mode`.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    #[default]
    Enforce,
    DryRun,
}

/// The key `exempt`.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Exempt {
    cidrs: Vec<String>,
    users: Vec<String>,
    routes: Vec<String>,
    preset: Option<Preset>,
}

/// A set of exemptions by its name.
#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum Preset {
    Assets,
}

impl Exempt {
    pub(crate) fn read(&self) -> Result<Exemptions, ConfigError> {
        match self.preset {
            None => self.read_with_preset(),
            Some(Preset::Assets) => {
                let allowed = "nothing here: it is of failures, so it stands in `suspicion.exempt`";
                let error = ConfigError::new("preset", "assets", allowed);
                Err(error.under("exempt"))
            }
        }
    }

    /// Where failures are counted.
    pub(crate) fn read_with_preset(&self) -> Result<Exemptions, ConfigError> {
        let read = || {
            let exempt = Exemptions::new()
                .cidrs(self.cidrs.iter().map(String::as_str))?
                .users(self.users.iter().map(String::as_str))?
                .routes(routes("routes", &self.routes)?);
            Ok(match self.preset {
                None => exempt,
                Some(Preset::Assets) => exempt.assets(),
            })
        };
        read().map_err(|error: ConfigError| error.under("exempt"))
    }
}

/// Reads one of the names of `T`. What is no text is refused with these names too.
pub(crate) fn named<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    written: D,
) -> Result<T, D::Error> {
    struct Names<T>(PhantomData<T>);

    impl<T: DeserializeOwned> Visitor<'_> for Names<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            // What `T` says of a name that it does not know.
            let nameless: StrDeserializer<'_, ValueError> = "".into_deserializer();
            let refused = T::deserialize(nameless)
                .err()
                .map(|error| error.to_string());
            let names = refused
                .as_deref()
                .and_then(|text| text.split_once("expected "));
            f.write_str(names.map_or("a name", |(_, names)| names))
        }

        fn visit_str<E: Error>(self, name: &str) -> Result<T, E> {
            T::deserialize(name.into_deserializer())
        }
    }

    written.deserialize_any(Names(PhantomData))
}

/// As [`named`], for a key that may be absent.
pub(crate) fn named_if_any<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    written: D,
) -> Result<Option<T>, D::Error> {
    named(written).map(Some)
}

pub(crate) fn quota(key: impl Into<String>, text: &str) -> Result<Quota, ConfigError> {
    text.parse::<Quota>().map_err(|error| error.at(key))
}

pub(crate) fn routes(key: &str, texts: &[String]) -> Result<Vec<RouteFilter>, ConfigError> {
    texts
        .iter()
        .map(|text| text.parse::<RouteFilter>().map_err(|error| error.at(key)))
        .collect()
}

/// Any duration; the builder knows its range.
pub(crate) fn duration(key: &str, text: &str) -> Result<Duration, ConfigError> {
    humantime::parse_duration(text).map_err(|_| ConfigError::new(key, text, ANY_DURATION))
}

const ANY_DURATION: &str = "a duration such as `50ms`, `1m` or `1h30m`";

/// A duration within its range.
pub(crate) fn duration_within(
    key: &str,
    text: &str,
    range: RangeInclusive<Duration>,
    allowed: &str,
) -> Result<Duration, ConfigError> {
    let parsed = humantime::parse_duration(text).ok();
    parsed
        .filter(|duration| range.contains(duration))
        .ok_or_else(|| ConfigError::new(key, text, allowed))
}

/// A number within its bounds, in a type that holds all of them.
pub(crate) fn in_range<T: TryFrom<i64>>(
    key: &str,
    value: i64,
    least: i64,
    most: i64,
    unit: impl Display,
) -> Result<T, ConfigError> {
    let refused = || {
        let allowed = format!("a whole number from {least} to {most} {unit}");
        ConfigError::new(key, value, allowed.trim_end())
    };
    if !(least..=most).contains(&value) {
        return Err(refused());
    }
    T::try_from(value).map_err(|_| refused())
}
