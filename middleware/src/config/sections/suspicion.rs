//! `[suspicion]` and `[suspicion.bans]`.

use serde::Deserialize;

use super::{DURATION, Exempt, Mode, in_range};
use crate::ConfigError;
use crate::config::{BansConfig, SuspicionConfig};
use crate::suspicion::{BanResponse, Kind, Sentence, Threshold};

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Suspicion {
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

impl Suspicion {
    pub(super) fn validate(self) -> Result<SuspicionConfig, ConfigError> {
        let written = [
            (Kind::CredentialStuffing, self.credential_stuffing),
            (Kind::EndpointScanning, self.endpoint_scanning),
            (Kind::Abuse, self.abuse),
            (Kind::CredentialStuffingSlow, self.credential_stuffing_slow),
            (Kind::PasswordSpraying, self.password_spraying),
            (Kind::DistributedStuffing, self.distributed_stuffing),
            (Kind::SuccessAfterFailures, self.success_after_failures),
        ];
        let mut thresholds = Vec::with_capacity(written.len());
        for (kind, text) in written {
            match text.as_deref() {
                None if kind.is_of_logins() => {}
                None => thresholds.push((kind, kind.default_threshold())),
                Some("off") => {}
                Some(text) => thresholds.push((kind, parse_threshold(kind, text)?)),
            }
        }
        let counted = thresholds.iter().map(|(kind, _)| *kind);
        let counted: Vec<_> = counted.filter(|kind| kind.names_its_client()).collect();
        let bans = self.bans.map(|bans| bans.validate(&counted)).transpose()?;
        Ok(SuspicionConfig {
            thresholds,
            exempt: self.exempt.validate("suspicion.exempt")?,
            hash_clients: self.hash_clients,
            bans,
        })
    }
}

impl Bans {
    fn validate(self, counted: &[Kind]) -> Result<BansConfig, ConfigError> {
        const AT: &str = "suspicion.bans";
        let default = Sentence::default();
        let read = |key: &str, text: Option<String>, default| match text {
            None => Ok(default),
            Some(text) => humantime::parse_duration(&text)
                .map_err(|_| ConfigError::new(format!("{AT}.{key}"), text, DURATION)),
        };
        let longest = read("longest", self.longest, default.longest())?;
        // What is not written follows a maximum that is shorter.
        let first = read("for", self.r#for, default.first().min(longest))?;
        let mut sentence = Sentence::new(first, longest).map_err(|error| error.under(AT))?;
        if let Some(percent) = self.jitter {
            let percent = in_range("suspicion.bans.jitter", percent, 0, 100, "percent")?;
            sentence = sentence.jitter(percent).map_err(|error| error.under(AT))?;
        }
        let kinds = match self.kinds {
            None => counted.to_vec(),
            Some(names) => {
                let read = |name: String| {
                    let kind = counted.iter().find(|kind| kind.as_str() == name);
                    kind.copied().ok_or_else(|| {
                        let counted: Vec<_> = counted.iter().map(|kind| kind.as_str()).collect();
                        let allowed = format!(
                            "a kind that is not `off` and says something of its client: {}",
                            counted.join(", ")
                        );
                        ConfigError::new("suspicion.bans.kinds", name, allowed)
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

fn parse_threshold(kind: Kind, text: &str) -> Result<Threshold, ConfigError> {
    let refused = |allowed| ConfigError::new(format!("suspicion.{kind}"), text, allowed);
    if kind == Kind::SuccessAfterFailures {
        // It has no count of its own: a window alone.
        let threshold = match text {
            "on" => Some(kind.default_threshold()),
            window => format!("1/{window}").parse().ok(),
        };
        let allowed = "`on` (`1h`), a duration of 1s to 24h, or `off`";
        return threshold.ok_or_else(|| refused(allowed.to_owned()));
    }
    let threshold = text.parse::<Threshold>();
    let threshold = threshold.map_err(|_| refused(format!("{}, or `off`", Threshold::ALLOWED)))?;
    match kind.refuses(threshold) {
        None => Ok(threshold),
        Some(allowed) => Err(refused(format!("{allowed}, or `off`"))),
    }
}
