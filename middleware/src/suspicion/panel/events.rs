//! The newest events of the security log.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::model::panel::{millis, shown};
use crate::suspicion::{Occurrence, SecurityEvent};

/// Events that are kept.
const KEPT: usize = 50;
/// Routes of an incident that are named, the latest.
const ROUTES: usize = 3;

/// One event of the security log, as it was written there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Noted {
    /// Rises by one with each event.
    number: u64,
    /// Milliseconds since 1970.
    at: u64,
    /// `suspicious_activity`, `client_banned`, `ban_lifted`, `client_unblocked` or `session_alert`.
    event: &'static str,
    /// The kind of the incident or of the alert, or the ban's reason; empty for a lift.
    kind: &'static str,
    /// The client or the user that it is about, or its hash where the log has hashes.
    client: String,
    /// Plain text: the evidence in a few words.
    detail: String,
}

/// The newest events, told off the requests' path.
#[derive(Debug, Default)]
pub(crate) struct Events(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    number: u64,
    /// The newest last.
    events: VecDeque<Noted>,
}

impl Events {
    pub(crate) fn note(&self, event: &SecurityEvent<'_>) {
        let told = Noted {
            number: 0,
            at: millis(SystemTime::now()),
            event: event.as_str(),
            kind: kind(&event.occurrence),
            client: event.name.to_owned(),
            detail: detail(&event.occurrence),
        };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.number += 1;
        let number = kept.number;
        if kept.events.len() >= KEPT {
            kept.events.pop_front();
        }
        kept.events.push_back(Noted { number, ..told });
    }

    pub(super) fn newest_first(&self) -> Vec<Noted> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.events.iter().rev().cloned().collect()
    }
}

fn kind(occurrence: &Occurrence<'_>) -> &'static str {
    match occurrence {
        Occurrence::Incident { incident, .. } => incident.rule.kind.as_str(),
        Occurrence::Banned { reason, .. } => reason.as_str(),
        Occurrence::Session { alert } => alert.kind.as_str(),
        Occurrence::Lifted { .. } | Occurrence::Unblocked { .. } => "",
    }
}

/// The evidence in a few words.
fn detail(occurrence: &Occurrence<'_>) -> String {
    match occurrence {
        Occurrence::Incident {
            incident,
            request,
            user,
            ..
        } => {
            let about = if incident.estimated { "about " } else { "" };
            let window = humantime::format_duration(incident.rule.threshold.window());
            let status = request.status.as_u16();
            let mut detail = format!("{about}{} in {window}, last {status}", incident.count);
            if let Some(user) = user {
                detail.push_str(&format!(", user {user}"));
            }
            let latest = incident.routes.len().saturating_sub(ROUTES);
            for route in incident.routes.iter().skip(latest) {
                detail.push_str(", ");
                detail.push_str(&shown(route.as_str()));
            }
            detail
        }
        Occurrence::Banned { ban, .. } => {
            let length = ban.until.duration_since(ban.since).unwrap_or_default();
            // Longer by its jitter, whose fractions tell nobody anything.
            let length = humantime::format_duration(Duration::from_secs(length.as_secs()));
            format!("for {length}, strikes {}", ban.strikes)
        }
        Occurrence::Lifted { .. } => String::new(),
        Occurrence::Session { .. } => "a session of the user".to_owned(),
        Occurrence::Unblocked { .. } => "its limits are forgotten".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Network;

    #[test]
    fn the_newest_events_are_kept_and_numbered_from_the_first() {
        let events = Events::default();
        let client: Network = "192.0.2.1".parse().unwrap();
        for n in 0..KEPT + 10 {
            let name = n.to_string();
            events.note(&SecurityEvent {
                client,
                name: &name,
                occurrence: Occurrence::Lifted { user: None },
            });
        }
        let kept = events.newest_first();
        let told: Vec<_> = kept
            .iter()
            .map(|it| (it.number as usize, it.client.parse().unwrap(), it.event))
            .collect();
        let wanted = (10..KEPT + 10).rev();
        assert_eq!(
            told,
            wanted
                .map(|n| (n + 1, n, "ban_lifted"))
                .collect::<Vec<(usize, usize, _)>>()
        );
    }
}
