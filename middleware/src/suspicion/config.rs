//! `[suspicion]` and `[suspicion.bans]` of the configuration.

#[cfg(all(test, feature = "serde"))]
mod tests;

use super::{BanResponse, IncidentKind, Sentence, Watch};
use crate::model::Exemptions;

/// Which failures are suspicious.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SuspicionConfig {
    /// The kinds that are counted, and how.
    pub watches: Vec<(IncidentKind, Watch)>,
    /// Clients, users and routes whose failures never count.
    pub exempt: Exemptions,
    /// Whether events name clients by a keyed hash instead of their network.
    pub hash_clients: bool,
    /// `[suspicion.bans]`; without the section, nobody is banned.
    pub bans: Option<BansConfig>,
}

/// Bans for incidents.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BansConfig {
    /// How long.
    pub sentence: Sentence,
    /// The kinds that are banned for.
    pub kinds: Vec<IncidentKind>,
    /// The answer to a banned client.
    pub response: BanResponse,
    /// Whether bans are imposed and counted, but refuse nothing.
    pub dry_run: bool,
}

impl Default for SuspicionConfig {
    fn default() -> Self {
        Self {
            watches: IncidentKind::BY_STATUS
                .map(|kind| (kind, kind.default_threshold().into()))
                .into(),
            exempt: Exemptions::new(),
            hash_clients: false,
            bans: None,
        }
    }
}

#[cfg(feature = "serde")]
mod section {
    use std::fmt;

    use serde::Deserialize;
    use serde::de::value::MapAccessDeserializer;
    use serde::de::{Error, MapAccess, Visitor};

    use super::{BanResponse, BansConfig, IncidentKind, Sentence, SuspicionConfig, Watch};
    use crate::ConfigError;
    use crate::model::section::{
        EXEMPT, Exempt, Keys, Mode, NETWORKS, PRESET, ROUTES, Section, Takes, USERS, duration,
        in_range, named, routes,
    };
    use crate::suspicion::Threshold;

    #[derive(Deserialize, Default)]
    #[serde(deny_unknown_fields, default)]
    pub(crate) struct Suspicion {
        credential_stuffing: Option<Watching>,
        endpoint_scanning: Option<Watching>,
        abuse: Option<Watching>,
        credential_stuffing_slow: Option<Watching>,
        password_spraying: Option<Watching>,
        distributed_stuffing: Option<Watching>,
        success_after_failures: Option<Watching>,
        exempt: Exempt,
        hash_clients: bool,
        bans: Option<Bans>,
    }

    /// A threshold, or a table that has it as a key.
    enum Watching {
        Threshold(String),
        Table(Table),
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Table {
        threshold: String,
        distinct: Option<bool>,
        #[serde(default)]
        routes: Vec<String>,
    }

    impl<'de> Deserialize<'de> for Watching {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Either;

            impl<'de> Visitor<'de> for Either {
                type Value = Watching;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("a threshold such as `10/5m`, or `{ threshold = \"10/5m\", distinct = true, routes = [] }`")
                }

                fn visit_str<E: Error>(self, text: &str) -> Result<Watching, E> {
                    Ok(Watching::Threshold(text.to_owned()))
                }

                fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Watching, A::Error> {
                    let table = Table::deserialize(MapAccessDeserializer::new(map))?;
                    Ok(Watching::Table(table))
                }
            }

            deserializer.deserialize_any(Either)
        }
    }

    impl Watching {
        /// `None` for a kind that is off.
        fn read(self, kind: IncidentKind) -> Result<Option<Watch>, ConfigError> {
            let (text, distinct, named) = match self {
                Self::Threshold(text) if text == "off" => return Ok(None),
                Self::Threshold(text) => (text, None, Vec::new()),
                Self::Table(table) => (table.threshold, table.distinct, table.routes),
            };
            let refused = |key: &str, allowed| {
                let error = ConfigError::without_value(key, allowed);
                Err(error.under(kind.as_str()))
            };
            if kind.is_of_logins() {
                if distinct.is_some() {
                    return refused(
                        "distinct",
                        "nothing here: kinds of logins always count distinct accounts or networks",
                    );
                }
                if !named.is_empty() {
                    return refused(
                        "routes",
                        "nothing here: the handler of a login tells of it, whatever its route",
                    );
                }
            }
            let threshold = parse_threshold(kind, &text, distinct == Some(true))?;
            let named = routes("routes", &named).map_err(|error| error.under(kind.as_str()))?;
            let watch = Watch::new(threshold).routes(named);
            Ok(Some(match distinct {
                Some(distinct) => watch.distinct(distinct),
                None => watch,
            }))
        }
    }

    #[derive(Deserialize, Default)]
    #[serde(deny_unknown_fields, default)]
    struct Bans {
        r#for: Option<String>,
        longest: Option<String>,
        jitter: Option<i64>,
        kinds: Option<Vec<String>>,
        #[serde(deserialize_with = "named")]
        response: BanResponse,
        #[serde(deserialize_with = "named")]
        mode: Mode,
    }

    impl Section for SuspicionConfig {
        type Written = Suspicion;

        const KEYS: Keys = &[
            ("credential_stuffing", Takes::Said),
            ("endpoint_scanning", Takes::Said),
            ("abuse", Takes::Said),
            ("credential_stuffing_slow", Takes::Said),
            ("password_spraying", Takes::Said),
            ("distributed_stuffing", Takes::Said),
            ("success_after_failures", Takes::Said),
            ("threshold", Takes::Text(Threshold::ALLOWED)),
            ("distinct", Takes::Flag),
            ("exempt", EXEMPT),
            ("cidrs", NETWORKS),
            ("users", USERS),
            ("routes", ROUTES),
            ("preset", PRESET),
            ("hash_clients", Takes::Flag),
            (
                "bans",
                Takes::Table("a section, `[suspicion.bans]`; without it nobody is banned"),
            ),
            ("for", Takes::Text("a duration such as `10m`")),
            ("longest", Takes::Text("a duration such as `24h`")),
            (
                "jitter",
                Takes::Number("a whole number from 0 to 100 percent"),
            ),
            (
                "kinds",
                Takes::Texts("kinds of incidents such as `endpoint_scanning`"),
            ),
            ("response", Takes::Said),
            ("mode", Takes::Said),
        ];

        fn read(written: Suspicion) -> Result<Self, ConfigError> {
            let watching = [
                (
                    IncidentKind::CredentialStuffing,
                    written.credential_stuffing,
                ),
                (IncidentKind::EndpointScanning, written.endpoint_scanning),
                (IncidentKind::Abuse, written.abuse),
                (
                    IncidentKind::CredentialStuffingSlow,
                    written.credential_stuffing_slow,
                ),
                (IncidentKind::PasswordSpraying, written.password_spraying),
                (
                    IncidentKind::DistributedStuffing,
                    written.distributed_stuffing,
                ),
                (
                    IncidentKind::SuccessAfterFailures,
                    written.success_after_failures,
                ),
            ];
            let mut watches = Vec::with_capacity(watching.len());
            for (kind, watching) in watching {
                let watch = match watching {
                    None if kind.is_of_logins() => None,
                    None => Some(kind.default_threshold().into()),
                    Some(watching) => watching.read(kind)?,
                };
                watches.extend(watch.map(|watch| (kind, watch)));
            }
            let counted = watches.iter().map(|(kind, _)| *kind);
            let counted: Vec<_> = counted.filter(|kind| kind.names_its_client()).collect();
            let bans = written.bans.map(|bans| bans.read(&counted)).transpose();
            let bans = bans.map_err(|error| error.under("bans"))?;
            Ok(Self {
                watches,
                exempt: written.exempt.read_with_preset()?,
                hash_clients: written.hash_clients,
                bans,
            })
        }
    }

    impl Bans {
        fn read(self, counted: &[IncidentKind]) -> Result<BansConfig, ConfigError> {
            let default = Sentence::default();
            let read = |key, text: &Option<String>, default| {
                let text = text.as_deref();
                text.map_or(Ok(default), |text| duration(key, text))
            };
            let longest = read("longest", &self.longest, default.longest())?;
            // What is not written follows a maximum that is shorter.
            let first = read("for", &self.r#for, default.first().min(longest))?;
            let mut sentence = Sentence::new(first, longest).map_err(|error| {
                let written = match error.key() {
                    "for" => &self.r#for,
                    _ => &self.longest,
                };
                match written {
                    Some(text) => error.of_written(text),
                    None => error,
                }
            })?;
            if let Some(percent) = self.jitter {
                let percent = in_range("jitter", percent, 0, 100, "percent")?;
                sentence = sentence.jitter(percent)?;
            }
            let kinds = match self.kinds {
                None => counted.to_vec(),
                Some(names) => {
                    let read = |name: String| {
                        let kind = counted.iter().find(|kind| kind.as_str() == name);
                        kind.copied().ok_or_else(|| {
                            let counted: Vec<_> =
                                counted.iter().map(|kind| kind.as_str()).collect();
                            let allowed = format!(
                                "a kind that is not `off` and says something of its client: {}",
                                counted.join(", ")
                            );
                            ConfigError::new("kinds", name, allowed)
                        })
                    };
                    names.into_iter().map(read).collect::<Result<_, _>>()?
                }
            };
            Ok(BansConfig {
                sentence,
                kinds,
                response: self.response,
                dry_run: self.mode == Mode::DryRun,
            })
        }
    }

    fn parse_threshold(
        kind: IncidentKind,
        text: &str,
        distinct: bool,
    ) -> Result<Threshold, ConfigError> {
        let refused = |allowed| ConfigError::new(kind.as_str(), text, allowed);
        if kind == IncidentKind::SuccessAfterFailures {
            // It has no count of its own: a window alone.
            let threshold = match text {
                "on" => Some(kind.default_threshold()),
                window => format!("1/{window}").parse().ok(),
            };
            let allowed = "`on` (`1h`), a duration of 1s to 24h, or `off`";
            return threshold.ok_or_else(|| refused(allowed.to_owned()));
        }
        let threshold = text.parse::<Threshold>();
        let threshold =
            threshold.map_err(|_| refused(format!("{}, or `off`", Threshold::ALLOWED)))?;
        match kind.refuses(threshold, distinct) {
            None => Ok(threshold),
            Some(allowed) => Err(refused(format!("{allowed}, or `off`"))),
        }
    }
}
