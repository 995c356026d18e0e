//! The layer's events: each is one structured line of the log, and goes to the observers.

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use super::store::{FailedRequest, Incident};
use super::{Ban, BanReason, IncidentKind};
use crate::log::Sampler;
use crate::model::{Network, Route, Secret, UserId};
use crate::task::shielded;

/// One event of the security log, as an observer receives it when it happens.
///
/// Observers receive every event. In a flood, not every event has a line of the log.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct SecurityEvent<'a> {
    /// The client that it is about.
    pub client: Network,
    /// The client as the log names it: its network, or [a hash of it](super::SuspicionLayerBuilder::hash_clients).
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
    /// It was banned.
    #[non_exhaustive]
    Banned {
        /// The reason.
        reason: BanReason,
        /// The ban as it stands, which may be another one that lasts longer.
        ban: &'a Ban,
    },
    /// Its ban was lifted.
    Lifted,
    /// An operator let it in: its ban, if any, is lifted, and its limits are forgotten. A user has no client: it is then
    /// `0.0.0.0/0`, and the name is the user's.
    #[non_exhaustive]
    Unblocked {
        /// The user, if it was not a client's address.
        user: Option<&'a UserId>,
    },
}

impl SecurityEvent<'_> {
    /// The line's field `event`: `suspicious_activity`, `client_banned`, `ban_lifted` or `client_unblocked`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self.occurrence {
            Occurrence::Incident { .. } => "suspicious_activity",
            Occurrence::Banned { .. } => "client_banned",
            Occurrence::Lifted => "ban_lifted",
            Occurrence::Unblocked { .. } => "client_unblocked",
        }
    }
}

pub(super) type ObserveEvent = Box<dyn Fn(&SecurityEvent<'_>) + Send + Sync>;

/// Lines in a second, of the incidents of each kind and as many of the bans for them: a client has few, but an attacker
/// with an IPv6 /48 is 65,536 clients.
const LINES: u16 = 20;

/// Writes the events, and tells them to the observers.
pub(super) struct Reporter {
    /// Keys the hash that stands for a client, where addresses are not to be written.
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
                user = user.map(tracing::field::display),
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

    pub(super) fn report_ban(&self, reason: BanReason, ban: &Ban) {
        let length = ban.until.duration_since(ban.since).unwrap_or_default();
        // The jitter's microseconds are left out.
        let seconds = Duration::from_secs(length.as_secs());
        let name = self.name(ban.client);
        let represents = match reason {
            BanReason::Incident(kind) => self.represents(&self.bans[kind as usize]),
            // The service's own act has its line, as a lift has.
            BanReason::Manual => Some(1),
        };
        if let Some(represents) = represents {
            tracing::warn!(
                target: "palisade::security",
                event = "client_banned",
                client = %name,
                reason = reason.as_str(),
                strikes = ban.strikes,
                r#for = %humantime::format_duration(seconds),
                until = %humantime::format_rfc3339_millis(ban.until),
                represents,
                "client banned"
            );
        }
        self.tell(ban.client, &name, Occurrence::Banned { reason, ban });
    }

    pub(super) fn report_lift(&self, client: Network) {
        let name = self.name(client);
        tracing::warn!(
            target: "palisade::security",
            event = "ban_lifted",
            client = %name,
            "ban lifted"
        );
        self.tell(client, &name, Occurrence::Lifted);
    }

    /// `client` is nobody's for a user.
    pub(super) fn report_unblock(&self, client: Network, user: Option<&UserId>) {
        let name = match user {
            Some(user) => user.to_string(),
            None => self.name(client),
        };
        tracing::warn!(
            target: "palisade::security",
            event = "client_unblocked",
            client = user.is_none().then_some(&*name),
            user = user.map(tracing::field::display),
            "client unblocked"
        );
        self.tell(client, &name, Occurrence::Unblocked { user });
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
        let client = client.to_string();
        match &self.hash_clients {
            Some(secret) => secret.hash(b"client", client.as_bytes()),
            None => client,
        }
    }
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
