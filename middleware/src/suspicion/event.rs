//! An incident becomes one structured line of the log.

use std::fmt;
use std::time::{Duration, SystemTime};

use super::store::{FailedRequest, Incident, shown};
use super::{Ban, BanReason};
use crate::client::{Network, Route, Secret, UserId};

/// Writes the events.
#[derive(Debug)]
pub(super) struct Reporter {
    /// Keys the hash that stands for a client, where addresses are not to be written.
    pub(super) hash_clients: Option<Secret>,
}

impl Reporter {
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
            .filter(|_| incident.watch.kind.is_of_an_account());
        let account = account.map(|login| login.account);
        tracing::warn!(
            target: "palisade::security",
            kind = incident.watch.kind.as_str(),
            client = %self.client(request.client),
            user = user.map(tracing::field::display),
            account = account.map(tracing::field::display),
            status = request.status.as_u16(),
            count = incident.count,
            estimated = incident.estimated.then_some(true),
            threshold = incident.watch.threshold.count(),
            window = %humantime::format_duration(incident.watch.threshold.window()),
            routes = ?Routes(&incident.routes),
            first_seen = %humantime::format_rfc3339_millis(first_seen),
            last_seen = %humantime::format_rfc3339_millis(last_seen),
            "suspicious activity"
        );
    }

    pub(super) fn report_ban(&self, reason: BanReason, ban: &Ban) {
        let length = ban.until.duration_since(ban.since).unwrap_or_default();
        // The jitter's microseconds tell nobody anything.
        let seconds = Duration::from_secs(length.as_secs());
        tracing::warn!(
            target: "palisade::security",
            client = %self.client(ban.client),
            reason = reason.as_str(),
            strikes = ban.strikes,
            r#for = %humantime::format_duration(seconds),
            until = %humantime::format_rfc3339_millis(ban.until),
            "client banned"
        );
    }

    fn client(&self, client: Network) -> String {
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
            .entries(self.0[latest..].iter().map(shown))
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
