//! The panel: security events, bans and the action that lifts them, and incidents by kind.

mod bans;
mod events;

use std::collections::HashSet;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::bans::BanWatch;
pub(crate) use self::events::Events;
use super::{IncidentKind, Subject, SuspicionTally, Suspicions};
use crate::model::panel::{Acted, Acting, Action, Fields, Panel, shown};
use crate::model::{Network, UserId};

/// For the store to lift a ban: longer than any deadline that it can be given.
const STORE: Duration = Duration::from_secs(15);

/// The panel.
pub(crate) struct SuspicionPanel {
    suspicions: Suspicions,
    tally: Arc<SuspicionTally>,
    events: Arc<Events>,
    bans: Arc<BanWatch>,
}

/// A kind that is counted, and its threshold.
#[derive(Debug, Serialize)]
struct Watched {
    kind: &'static str,
    /// Failures, or distinct accounts or networks.
    count: u32,
    /// Such as `5m`.
    window: String,
}

/// How bans are.
#[derive(Debug, Serialize)]
struct BanSetting {
    /// The first, such as `10m`.
    first: String,
    longest: String,
    dry_run: bool,
}

impl SuspicionPanel {
    pub(crate) fn new(
        suspicions: Suspicions,
        tally: Arc<SuspicionTally>,
        events: Arc<Events>,
    ) -> Self {
        Self {
            suspicions,
            tally,
            events,
            bans: Arc::default(),
        }
    }

    /// Tells the clients that are banned, as far as the panel knows.
    pub(crate) fn banned(&self) -> impl Fn() -> HashSet<Network> + Send + Sync + use<> {
        let bans = Arc::clone(&self.bans);
        move || {
            let banned = bans.now().1.into_iter();
            banned.filter_map(|subject| subject.network()).collect()
        }
    }
}

impl Panel for SuspicionPanel {
    fn name(&self) -> &'static str {
        "suspicion"
    }

    fn script(&self) -> &'static str {
        include_str!("panel.js")
    }

    fn hello(&self, fields: &mut Fields) {
        let rules = self.suspicions.rules().iter().map(|rule| Watched {
            kind: rule.kind.as_str(),
            count: rule.threshold.count(),
            window: humantime::format_duration(rule.threshold.window()).to_string(),
        });
        fields.add("watches", &rules.collect::<Vec<_>>());
        let bans = self.suspicions.sentence();
        let bans = bans.map(|(sentence, enforced)| BanSetting {
            first: humantime::format_duration(sentence.first()).to_string(),
            longest: humantime::format_duration(sentence.longest()).to_string(),
            dry_run: !enforced,
        });
        fields.add("bans", &bans);
    }

    fn now(&self, fields: &mut Fields) {
        fields.add("events", &self.events.newest_first());
        let bans = self.suspicions.sentence().map(|_| self.bans.now().0);
        fields.add("bans", &bans);
        let rules = self.suspicions.rules();
        let is_watched = |kind: &IncidentKind| rules.iter().any(|rule| rule.kind == *kind);
        let incidents = IncidentKind::ALL.into_iter().filter(is_watched);
        let incidents = incidents.map(|kind| (kind.as_str(), self.tally.incidents(kind)));
        fields.add("incidents", &incidents.collect::<Vec<_>>());
    }

    fn refresh(&self) {
        if self.suspicions.sentence().is_some() {
            self.bans.ask(&self.suspicions);
        }
    }

    fn action(&self) -> Option<&dyn Action> {
        Some(self)
    }
}

/// Ends a ban: `{"client": "192.0.2.1"}` or `{"user": "ada"}`.
impl Action for SuspicionPanel {
    fn path(&self) -> &'static str {
        "bans/lift"
    }

    fn act(&self, body: &[u8]) -> Acting {
        let subject = match subject(body) {
            Ok(subject) => subject,
            Err(detail) => return Box::pin(ready(Acted::Invalid(detail))),
        };
        let (suspicions, bans) = (self.suspicions.clone(), Arc::clone(&self.bans));
        Box::pin(async move {
            let lifted = tokio::time::timeout(STORE, suspicions.lift(subject.clone())).await;
            let Ok(Ok(lifted)) = lifted else {
                return Acted::Unavailable(format!(
                    "the store did not take it: the ban of {subject} ends in this process alone, and holds again once \
                     the store answers; try again then"
                ));
            };
            bans.lifted(&subject);
            Acted::Done(if lifted {
                r#"{"lifted":true}"#
            } else {
                r#"{"lifted":false}"#
            })
        })
    }
}

/// Whose ban a body names, or what is wrong with the body.
fn subject(body: &[u8]) -> Result<Subject, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "snake_case")]
    enum Lift {
        Client(String),
        User(String),
    }
    match serde_json::from_slice(body) {
        Ok(Lift::Client(client)) => client.parse().map(Subject::Network).map_err(|_| {
            format!(
                "`client` cannot be `{}`: allowed is an IPv4 address such as `192.0.2.1`, or an IPv6 network such as \
                 `2001:db8::/64`",
                shown(&client)
            )
        }),
        Ok(Lift::User(user)) => UserId::kept(&user).map(Subject::User).ok_or_else(|| {
            format!(
                "`user` cannot be `{}`: allowed is an id as the list of bans has it",
                shown(&user)
            )
        }),
        Err(_) => Err(r#"the body is not `{"client": "..."}` or `{"user": "..."}`"#.to_owned()),
    }
}
