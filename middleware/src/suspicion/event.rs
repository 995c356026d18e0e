//! The layer's events: each is one structured line of the log, and goes to the observers.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant, SystemTime};

use super::store::{FailedRequest, Incident};
use super::{Ban, BanReason, IncidentKind, Subject};
use crate::log::Sampler;
use crate::model::{Alert, Network, Route, Secret, UserId};
use crate::task::shielded;

/// One event of the security log, as an observer receives it when it happens.
///
/// Observers receive every event. In a flood, not every event has a line of the log.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct SecurityEvent<'a> {
    /// The client that it is about, or that the user last came from; `0.0.0.0/0` if nobody knows.
    pub client: Network,
    /// The client, or the user that it is about, as the log names it: by its network or id, or
    /// [a hash of it](super::SuspicionLayerBuilder::hash_clients).
    pub name: &'a str,
    /// The event.
    pub occurrence: Occurrence<'a>,
}

/// An event of a client.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Occurrence<'a> {
    /// Its failures or logins reached a threshold.
    #[non_exhaustive]
    Incident {
        /// The kind, the threshold and the evidence.
        incident: &'a Incident,
        /// The failure that made it one.
        request: &'a FailedRequest,
        /// The user whose request failed, if known.
        user: Option<&'a UserId>,
        /// When the episode began, by this process's clock.
        first_seen: SystemTime,
        /// When the failure came, by this process's clock.
        last_seen: SystemTime,
    },
    /// It was banned, or its user was: [`Ban::subject`] says who.
    #[non_exhaustive]
    Banned {
        /// The reason.
        reason: BanReason,
        /// The ban as it stands, which may be another one that lasts longer.
        ban: &'a Ban,
    },
    /// A ban was lifted.
    #[non_exhaustive]
    Lifted {
        /// The user, if it was a user's.
        user: Option<&'a UserId>,
    },
    /// An operator let it in: its ban, if any, is lifted, and its limits are forgotten.
    #[non_exhaustive]
    Unblocked {
        /// The user, if it was not a client's address.
        user: Option<&'a UserId>,
    },
    /// A security event of a user's sessions, with the client that showed it.
    #[non_exhaustive]
    Session {
        /// The kind, the user and the session.
        alert: &'a Alert,
    },
}

impl SecurityEvent<'_> {
    /// The line's field `event`: `suspicious_activity`, `client_banned`, `ban_lifted`, `client_unblocked` or
    /// `session_alert`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self.occurrence {
            Occurrence::Incident { .. } => "suspicious_activity",
            Occurrence::Banned { .. } => "client_banned",
            Occurrence::Lifted { .. } => "ban_lifted",
            Occurrence::Unblocked { .. } => "client_unblocked",
            Occurrence::Session { .. } => "session_alert",
        }
    }
}

/// Stands for a client that nobody knows.
pub(crate) fn nobody() -> Network {
    Network::of(Ipv4Addr::UNSPECIFIED.into(), 0)
}

pub(super) type ObserveEvent = Box<dyn Fn(&SecurityEvent<'_>) + Send + Sync>;

/// Lines in a second, of the incidents of each kind and as many of the bans for them: a client has few, but an attacker
/// with an IPv6 /48 is 65,536 clients.
const LINES: u16 = 20;

/// Writes the events, and tells them to the observers.
pub(super) struct Reporter {
    /// Keys the hash that stands for a client or a user, where neither is to be written.
    hash_clients: Option<Secret>,
    observers: Vec<ObserveEvent>,
    started: Instant,
    /// By kind.
    incidents: [Sampler; IncidentKind::ALL.len()],
    /// By the kind that they are for.
    bans: [Sampler; IncidentKind::ALL.len()],
}

impl Reporter {
    pub(super) fn new(hash_clients: Option<Secret>, observers: Vec<ObserveEvent>) -> Self {
        let samplers = || IncidentKind::ALL.map(|_| Sampler::new(LINES));
        Self {
            hash_clients,
            observers,
            started: Instant::now(),
            incidents: samplers(),
            bans: samplers(),
        }
    }

    /// How many events a line stands for; `None` for an event without a line.
    fn represents(&self, sampler: &Sampler) -> Option<u64> {
        sampler.offer(self.started.elapsed().as_secs())
    }

    pub(super) fn report(
        &self,
        incident: &Incident,
        request: &FailedRequest,
        user: Option<&UserId>,
        last_seen: SystemTime,
    ) {
        let first_seen = last_seen
            .checked_sub(incident.span)
            .unwrap_or(SystemTime::UNIX_EPOCH);
        let account = request
            .login
            .filter(|_| incident.rule.kind.is_of_an_account());
        let account = account.map(|login| login.account);
        let name = self.name(request.client);
        if let Some(represents) = self.represents(&self.incidents[incident.rule.kind as usize]) {
            tracing::warn!(
                target: "palisade::security",
                event = "suspicious_activity",
                kind = incident.rule.kind.as_str(),
                client = %name,
                user = user.map(|user| self.user(user)),
                account = account.map(tracing::field::display),
                status = request.status.as_u16(),
                count = incident.count,
                estimated = incident.estimated.then_some(true),
                threshold = incident.rule.threshold.count(),
                window = %humantime::format_duration(incident.rule.threshold.window()),
                routes = ?Routes(&incident.routes),
                first_seen = %humantime::format_rfc3339_millis(first_seen),
                last_seen = %humantime::format_rfc3339_millis(last_seen),
                represents,
                "suspicious activity"
            );
        }
        let occurrence = Occurrence::Incident {
            incident,
            request,
            user,
            first_seen,
            last_seen,
        };
        self.tell(request.client, &name, occurrence);
    }

    pub(super) fn report_ban(&self, reason: BanReason, ban: &Ban, client: Option<Network>) {
        let length = ban.until.duration_since(ban.since).unwrap_or_default();
        // The jitter's microseconds are left out.
        let seconds = Duration::from_secs(length.as_secs());
        let whom = self.whom(&ban.subject, client);
        let represents = match reason {
            BanReason::Incident(kind) => self.represents(&self.bans[kind as usize]),
            // The service's own act has its line, as a lift has.
            BanReason::Manual => Some(1),
        };
        if let Some(represents) = represents {
            tracing::warn!(
                target: "palisade::security",
                event = "client_banned",
                client = whom.client,
                user = whom.user,
                reason = reason.as_str(),
                strikes = ban.strikes,
                r#for = %humantime::format_duration(seconds),
                until = %humantime::format_rfc3339_millis(ban.until),
                represents,
                "client banned"
            );
        }
        self.tell_of(&whom, client, Occurrence::Banned { reason, ban });
    }

    pub(super) fn report_lift(&self, subject: &Subject) {
        let client = subject.network();
        let whom = self.whom(subject, client);
        tracing::warn!(
            target: "palisade::security",
            event = "ban_lifted",
            client = whom.client,
            user = whom.user,
            "ban lifted"
        );
        let user = subject.user();
        self.tell_of(&whom, client, Occurrence::Lifted { user });
    }

    pub(super) fn report_unblock(&self, subject: &Subject) {
        let client = subject.network();
        let whom = self.whom(subject, client);
        tracing::warn!(
            target: "palisade::security",
            event = "client_unblocked",
            client = whom.client,
            user = whom.user,
            "client unblocked"
        );
        let user = subject.user();
        self.tell_of(&whom, client, Occurrence::Unblocked { user });
    }

    fn whom(&self, subject: &Subject, client: Option<Network>) -> Whom {
        Whom {
            client: client.map(|client| self.name(client)),
            user: subject.user().map(|user| self.user(user)),
        }
    }

    fn tell_of(&self, whom: &Whom, client: Option<Network>, occurrence: Occurrence<'_>) {
        let name = whom.user.as_ref().or(whom.client.as_ref());
        let name = name.map_or("", String::as_str);
        self.tell(client.unwrap_or_else(nobody), name, occurrence);
    }

    fn tell(&self, client: Network, name: &str, occurrence: Occurrence<'_>) {
        let event = SecurityEvent {
            client,
            name,
            occurrence,
        };
        for observer in &self.observers {
            shielded("security", || observer(&event));
        }
    }

    fn name(&self, client: Network) -> String {
        self.named(b"client", client.to_string())
    }

    fn user(&self, user: &UserId) -> String {
        self.named(b"user", user.to_string())
    }

    fn named(&self, domain: &[u8], name: String) -> String {
        match &self.hash_clients {
            Some(secret) => secret.hash(domain, name.as_bytes()),
            None => name,
        }
    }
}

/// A subject as the log names it, with the client that a user last came from.
struct Whom {
    client: Option<String>,
    user: Option<String>,
}

/// The routes, quoted and escaped.
struct Routes<'a>(&'a [Route]);

impl fmt::Debug for Routes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let latest = self.0.len().saturating_sub(Incident::ROUTES);
        f.debug_list()
            .entries(self.0[latest..].iter().map(Route::shown))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn routes_are_bounded_quoted_and_escaped() {
        let odd = Route::from("/a\n\"\u{202e}b");
        assert_eq!(
            format!("{:?}", Routes(&[odd, Route::UNMATCHED])),
            r#"["/a\n\"\u{202e}b", "unmatched"]"#
        );
        let long = Route::from(Arc::<str>::from("é".repeat(1_000)));
        let shown = format!("{:?}", Routes(&vec![long; 100]));
        assert_eq!(shown.matches('é').count(), Incident::ROUTES * 64);
    }
}
