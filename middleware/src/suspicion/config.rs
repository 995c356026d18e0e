//! `[suspicion]` and `[suspicion.bans]` of the configuration.

#[cfg(all(test, feature = "serde"))]
mod tests;

use super::{BanResponse, IncidentKind, Sentence, Threshold};
use crate::model::Exemptions;

/// Which failures are suspicious.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SuspicionConfig {
    /// The kinds that are counted, and when each is suspicious.
    pub thresholds: Vec<(IncidentKind, Threshold)>,
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
            thresholds: IncidentKind::BY_STATUS
                .map(|kind| (kind, kind.default_threshold()))
                .into(),
            exempt: Exemptions::new(),
            hash_clients: false,
            bans: None,
        }
    }
}

#[cfg(feature = "serde")]
mod section {
    use serde::Deserialize;

    use super::{BanResponse, BansConfig, IncidentKind, Sentence, SuspicionConfig, Threshold};
    use crate::ConfigError;
    use crate::model::section::{Exempt, Mode, Section, duration, in_range};

    #[derive(Deserialize, Default)]
    #[serde(deny_unknown_fields, default)]
    pub(crate) struct Suspicion {
        credential_stuffing: Option<String>,
        endpoint_scanning: Option<String>,
        abuse: Option<String>,
        credential_stuffing_slow: Option<String>,
        password_spraying: Option<String>,
        distributed_stuffing: Option<String>,
        success_after_failures: Option<String>,
        exempt: Exempt,
        hash_clients: bool,
        bans: Option<Bans>,
    }

    #[derive(Deserialize, Default)]
    #[serde(deny_unknown_fields, default)]
    struct Bans {
        r#for: Option<String>,
        longest: Option<String>,
        jitter: Option<i64>,
        kinds: Option<Vec<String>>,
        response: BanResponse,
        mode: Mode,
    }

    impl Section for SuspicionConfig {
        type Written = Suspicion;

        const KEYS: &'static [&'static str] = &[
            "credential_stuffing",
            "endpoint_scanning",
            "abuse",
            "credential_stuffing_slow",
            "password_spraying",
            "distributed_stuffing",
            "success_after_failures",
            "exempt",
            "cidrs",
            "users",
            "routes",
            "hash_clients",
            "bans",
            "for",
            "longest",
            "jitter",
            "kinds",
            "response",
            "mode",
        ];

        fn read(written: Suspicion) -> Result<Self, ConfigError> {
            let texts = [
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
            let mut thresholds = Vec::with_capacity(texts.len());
            for (kind, text) in texts {
                match text.as_deref() {
                    None if kind.is_of_logins() => {}
                    None => thresholds.push((kind, kind.default_threshold())),
                    Some("off") => {}
                    Some(text) => thresholds.push((kind, parse_threshold(kind, text)?)),
                }
            }
            let counted = thresholds.iter().map(|(kind, _)| *kind);
            let counted: Vec<_> = counted.filter(|kind| kind.names_its_client()).collect();
            let bans = written.bans.map(|bans| bans.read(&counted)).transpose();
            let bans = bans.map_err(|error| error.under("bans"))?;
            Ok(Self {
                thresholds,
                exempt: written.exempt.read()?,
                hash_clients: written.hash_clients,
                bans,
            })
        }
    }

    impl Bans {
        fn read(self, counted: &[IncidentKind]) -> Result<BansConfig, ConfigError> {
            let default = Sentence::default();
            let read = |key, text: Option<String>, default| {
                text.map_or(Ok(default), |text| duration(key, &text))
            };
            let longest = read("longest", self.longest, default.longest())?;
            // What is not written follows a maximum that is shorter.
            let first = read("for", self.r#for, default.first().min(longest))?;
            let mut sentence = Sentence::new(first, longest)?;
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

    fn parse_threshold(kind: IncidentKind, text: &str) -> Result<Threshold, ConfigError> {
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
        match kind.refuses(threshold) {
            None => Ok(threshold),
            Some(allowed) => Err(refused(format!("{allowed}, or `off`"))),
        }
    }
}
