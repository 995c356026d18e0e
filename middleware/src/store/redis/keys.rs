//! The names of everything that the store keeps in Redis; no other file makes one.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::ConfigError;
use crate::funnel::store::Journeys;
use crate::model::{PartitionKey, Repr, UserId};
use crate::rate_limit::store::Logs;
use crate::session::store::{Once, Origin};
use crate::store::{Analytics, check_prefix};
use crate::suspicion::store::Rule;
use crate::suspicion::{IncidentKind, Subject, Threshold};

/// The prefix of every key, so that several services can share a server.
#[derive(Debug, Clone)]
pub(super) struct Prefix(Arc<str>);

impl Prefix {
    /// # Errors
    /// A prefix that [`check_prefix`] refuses.
    pub(super) fn new(text: &str) -> Result<Self, ConfigError> {
        check_prefix(text)?;
        Ok(Self(text.into()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The prefixes of a policy's logs.
    pub(super) fn of_policy(&self, logs: &Logs) -> LogPrefixes {
        let Logs { policy, window, .. } = logs;
        let window = shown(*window);
        let of = |kind| format!("{}rate:{policy}:{window}:{kind}:{{", self.0).into();
        LogPrefixes {
            networks: of("ip"),
            users: of("user"),
            texts: of("text"),
        }
    }

    /// The prefix of what a rule counts: `<prefix>suspicious:<signal>:<count>/<window>:`, or with `<signal>-distinct` where it
    /// counts distinct things instead of failures, which are kept in another form. A trail holds no more than its threshold and
    /// window ask for, so each has trails of its own.
    pub(super) fn of_rule(&self, rule: &Rule) -> Box<str> {
        let form = if rule.distinct && !rule.kind.is_of_logins() {
            "-distinct"
        } else {
            ""
        };
        self.of_trails(rule.kind, form, rule.threshold)
    }

    /// The prefix of what counts towards a ban for a kind: `<prefix>suspicious:<signal>-things:<count>/<window>:`.
    pub(super) fn of_things(&self, kind: IncidentKind, threshold: Threshold) -> Box<str> {
        self.of_trails(kind, "-things", threshold)
    }

    fn of_trails(&self, kind: IncidentKind, form: &str, threshold: Threshold) -> Box<str> {
        let (count, window) = (threshold.count(), shown(threshold.window()));
        let signal = signal(kind);
        format!("{}suspicious:{signal}{form}:{count}/{window}:", self.0).into()
    }

    /// The prefix of the bans: `<prefix>ban:`.
    pub(super) fn of_bans(&self) -> Box<str> {
        format!("{}ban:", self.0).into()
    }

    /// A ban: `<prefix>ban:<network>`, or `<prefix>ban:user:<id>`.
    pub(super) fn ban(&self, subject: &Subject) -> String {
        format!("{}{subject}", self.of_bans())
    }

    /// The index of all bans: `<prefix>bans`.
    pub(super) fn bans(&self) -> String {
        format!("{}bans", self.0)
    }

    /// A customer's hash; the braces are a Cluster hash tag.
    pub(super) fn customer(&self, customer: &UserId) -> Vec<u8> {
        self.customer_of(customer.as_str().as_bytes())
    }

    /// The hash that a member of an index stands for.
    pub(super) fn customer_of(&self, member: &[u8]) -> Vec<u8> {
        [self.0.as_bytes(), b"customer:{", member, b"}"].concat()
    }

    /// The key that remembers an erased customer, in the slot of the hash.
    pub(super) fn erased(&self, customer: &UserId) -> String {
        format!("{}customer-erased:{{{customer}}}", self.0)
    }

    /// The indices of the customers by last activity: the VIPs, the others.
    pub(super) fn customer_indices(&self) -> [String; 2] {
        ["vip", "others"].map(|index| format!("{}customers:{index}", self.0))
    }

    /// The lease of the customers' sweep.
    pub(super) fn sweep(&self) -> String {
        format!("{}customers:sweep", self.0)
    }

    /// The prefix of a funnel's visitors: `<prefix>funnel:<window>:<stages>:`.
    pub(super) fn of_visitors(&self, journeys: Journeys) -> Box<str> {
        let (window, stages) = (shown(journeys.window), journeys.stages);
        format!("{}funnel:{window}:{stages:08x}:", self.0).into()
    }

    /// The ledger of a kind of analytics: `<prefix>ledger:<kind>`.
    pub(super) fn ledger(&self, of: Analytics) -> String {
        format!("{}ledger:{}", self.0, of.as_str())
    }

    /// What is kept of a user's sessions, in one slot: the epoch, the index, the counts by hour.
    pub(super) fn sessions(&self, user: &UserId) -> Keys {
        let mut keys = Keys::with_room_for(5);
        for kind in ["session-epoch", "sessions", "session-hours"] {
            keys.push_text(&format!("{}{kind}:{{{user}}}", self.0));
        }
        keys
    }

    /// What the names of a user's sessions begin with; the id's digits follow: `<prefix>session:{<user>}:`.
    pub(super) fn of_sessions(&self, user: &UserId) -> String {
        format!("{}{user}}}:", self.of_all_sessions())
    }

    /// What the names of all sessions begin with: `<prefix>session:{`.
    pub(super) fn of_all_sessions(&self) -> String {
        format!("{}session:{{", self.0)
    }

    /// What the names of all epochs begin with: `<prefix>session-epoch:{`.
    pub(super) fn of_epochs(&self) -> String {
        format!("{}session-epoch:{{", self.0)
    }

    /// What remembers a create with a key of its own: `<prefix>session-once:{<user>}:<key>`.
    pub(super) fn session_once(&self, user: &UserId, once: Once) -> String {
        format!("{}session-once:{{{user}}}:{}", self.0, digits(&once.0))
    }

    /// The index of an origin's sessions: `<prefix>sessions-from:<origin>`.
    pub(super) fn sessions_from(&self, origin: Origin) -> String {
        format!("{}sessions-from:{}", self.0, digits(&origin.0))
    }

    /// What the names of the indices of all sessions that live begin with; a hexadecimal digit follows.
    pub(super) fn of_live_sessions(&self) -> String {
        format!("{}sessions-live:", self.0)
    }

    /// The keys that a probe uses: a gate and two logs, in three slots of a Cluster whatever the prefix, and a key on which
    /// commands are tried.
    pub(super) fn probes(&self) -> [String; 4] {
        ["a", "b", "c", "d"].map(|name| format!("{}probe:{name}", self.0))
    }

    /// The marker of the service whose keys these are: `<prefix>service`.
    pub(super) fn service(&self) -> String {
        format!("{}service", self.0)
    }
}

/// The prefixes of a policy's logs, by the kind of their keys: `<prefix>rate:<policy>:<window>:<kind>:{`.
#[derive(Debug)]
pub(super) struct LogPrefixes {
    networks: Box<str>,
    users: Box<str>,
    texts: Box<str>,
}

/// A window as keys name it: `60s`, `1500ms`, `1500001us`.
fn shown(window: Duration) -> String {
    let micros = window.as_micros();
    match (micros % 1_000_000, micros % 1_000) {
        (0, _) => format!("{}s", micros / 1_000_000),
        (_, 0) => format!("{}ms", micros / 1_000),
        _ => format!("{micros}us"),
    }
}

/// 16 bytes as lower-case hexadecimal digits.
pub(super) fn digits(bytes: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*bytes))
}

/// The kind's name in keys.
const fn signal(kind: IncidentKind) -> &'static str {
    match kind {
        IncidentKind::CredentialStuffing => "401",
        IncidentKind::EndpointScanning => "404",
        IncidentKind::Abuse => "4xx",
        IncidentKind::CredentialStuffingSlow => "401-slow",
        IncidentKind::PasswordSpraying => "spray",
        IncidentKind::DistributedStuffing => "account",
        IncidentKind::SuccessAfterFailures => "success",
    }
}

/// The keys of one or more charges, end to end in one buffer.
#[derive(Debug, Default)]
pub(super) struct Keys {
    text: String,
    ends: SmallVec<[u32; 4]>,
}

impl Keys {
    /// `palisade:rate:user:60s:user:{}` and a key of the longest kind.
    pub(super) const TYPICAL: usize = 96;

    pub(super) fn with_room_for(keys: usize) -> Self {
        Self {
            text: String::with_capacity(keys * Self::TYPICAL),
            ends: SmallVec::new(),
        }
    }

    /// Adds `<policy's prefix for the key's kind><key>}`: the log of a key. The braces are a Cluster hash tag.
    pub(super) fn push_log(&mut self, policy: &LogPrefixes, key: &PartitionKey) {
        self.push_named_log(policy, key, "}");
    }

    /// Adds `<log>:older`: what `admit_request.lua` sets aside of a long log.
    pub(super) fn push_older(&mut self, policy: &LogPrefixes, key: &PartitionKey) {
        self.push_named_log(policy, key, "}:older");
    }

    fn push_named_log(&mut self, policy: &LogPrefixes, key: &PartitionKey, end: &str) {
        let prefix = match key.repr() {
            Repr::Network(_) => &policy.networks,
            Repr::User(_) => &policy.users,
            Repr::Text(_) => &policy.texts,
        };
        self.push_key(prefix, key);
        self.text.push_str(end);
        self.end();
    }

    /// Adds `<prefix><key>`. For what is kept by keys of one kind: nothing in the name tells them apart.
    pub(super) fn push(&mut self, prefix: &str, key: &PartitionKey) {
        self.push_key(prefix, key);
        self.end();
    }

    /// Adds `<prefix><network>` or `<prefix>user:<id>`, as [`Prefix::ban`] does.
    pub(super) fn push_subject(&mut self, prefix: &str, subject: &Subject) {
        match subject {
            Subject::Network(network) => self.push(prefix, &(*network).into()),
            Subject::User(user) => self.push_user(prefix, user),
        }
    }

    /// As [`push_subject`](Self::push_subject), of a user.
    pub(super) fn push_user(&mut self, prefix: &str, user: &UserId) {
        for part in [prefix, Subject::OF_USER, user.as_str()] {
            self.text.push_str(part);
        }
        self.end();
    }

    fn push_key(&mut self, prefix: &str, key: &PartitionKey) {
        self.text.push_str(prefix);
        match key.repr() {
            Repr::User(text) | Repr::Text(text) => self.text.push_str(text),
            // Writing to a String cannot fail.
            Repr::Network(network) => {
                let _ = write!(self.text, "{network}");
            }
        }
    }

    fn end(&mut self) {
        self.ends.push(self.text.len() as u32);
    }

    /// Adds `<kind prefix><key>:sketch`: the estimate of how many distinct items the trail of the same key saw. No trail of
    /// the kind has this name, since no network and no hash ends so.
    pub(super) fn push_sketch(&mut self, kind_prefix: &str, key: &PartitionKey) {
        self.push_key(kind_prefix, key);
        self.text.push_str(":sketch");
        self.end();
    }

    pub(super) fn push_text(&mut self, key: &str) {
        self.text.push_str(key);
        self.end();
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let key = &self.text[start..end as usize];
            start = end as usize;
            key
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Network, Secret};

    #[test]
    fn names_what_is_kept_by_prefix_policy_kind_or_room_and_key() {
        let prefix = Prefix::new("shop-1:").unwrap();
        let mut keys = Keys::with_room_for(8);
        let minute = prefix.of_policy(&Logs::of("ip", Duration::from_secs(60)));
        let network = Network::of("2001:db8::1".parse().unwrap(), 64);
        keys.push_log(&minute, &network.into());
        let secret = Secret::from_bytes(b"s");
        keys.push_log(&minute, &UserId::new("ada@example.org", &secret).into());
        for micros in [90_000_000, 1_500_000, 86_400_000_000, 1_500_001] {
            let logs = Logs::of("user", Duration::from_micros(micros));
            let key = PartitionKey::text("ada@example.org", &secret);
            keys.push_log(&prefix.of_policy(&logs), &key);
        }
        keys.push_text(&prefix.probes()[0]);
        let client = Network::of("192.0.2.1".parse().unwrap(), 64).into();
        let rule = |kind, threshold: &str| Rule::new(kind, threshold.parse().unwrap());
        let of = |kind, threshold| prefix.of_rule(&rule(kind, threshold));
        keys.push(&of(IncidentKind::Abuse, "20/5m"), &client);
        keys.push(&of(IncidentKind::CredentialStuffingSlow, "20/2h"), &client);
        let threshold = "10/1500ms".parse().unwrap();
        let distinct = Rule::of_distinct(IncidentKind::EndpointScanning, threshold);
        keys.push(&prefix.of_rule(&distinct), &client);
        let journeys = Journeys::of(["browse", "buy"], Duration::from_secs(3_600));
        keys.push(
            &prefix.of_visitors(journeys),
            &PartitionKey::text("ada", &Secret::from_bytes(b"s")),
        );
        keys.push_sketch(&of(IncidentKind::PasswordSpraying, "5/5m"), &client);
        let account = PartitionKey::of_ours("~00".into());
        keys.push(&of(IncidentKind::DistributedStuffing, "5/1h"), &account);
        assert_eq!(
            keys.iter().collect::<Vec<_>>(),
            [
                "shop-1:rate:ip:60s:ip:{2001:db8::/64}",
                "shop-1:rate:ip:60s:user:{ada@example.org}",
                "shop-1:rate:user:90s:text:{ada@example.org}",
                "shop-1:rate:user:1500ms:text:{ada@example.org}",
                "shop-1:rate:user:86400s:text:{ada@example.org}",
                "shop-1:rate:user:1500001us:text:{ada@example.org}",
                "shop-1:probe:a",
                "shop-1:suspicious:4xx:20/300s:192.0.2.1",
                "shop-1:suspicious:401-slow:20/7200s:192.0.2.1",
                "shop-1:suspicious:404-distinct:10/1500ms:192.0.2.1",
                "shop-1:funnel:3600s:ec190620:ada",
                "shop-1:suspicious:spray:5/300s:192.0.2.1:sketch",
                "shop-1:suspicious:account:5/3600s:~00"
            ]
        );
        // An id that reads as an address is a user all the same.
        let user = Subject::User(UserId::new("192.0.2.1", &secret));
        for (subject, name) in [
            (Subject::from(network), "shop-1:ban:2001:db8::/64"),
            (user, "shop-1:ban:user:192.0.2.1"),
        ] {
            assert_eq!(prefix.ban(&subject), name);
            let mut keys = Keys::with_room_for(1);
            keys.push_subject(&prefix.of_bans(), &subject);
            assert_eq!(keys.iter().collect::<Vec<_>>(), [name]);
        }
        assert_eq!(prefix.bans(), "shop-1:bans");
        let things = prefix.of_things(IncidentKind::EndpointScanning, threshold);
        assert_eq!(*things, *"shop-1:suspicious:404-things:10/1500ms:");
        assert_eq!(prefix.service(), "shop-1:service");
    }

    #[test]
    fn names_what_is_kept_of_customers() {
        let prefix = Prefix::new("shop-1:").unwrap();
        let ada = UserId::new("ada@example.org", &Secret::from_bytes(b"s"));
        assert_eq!(prefix.customer(&ada), *b"shop-1:customer:{ada@example.org}");
        assert_eq!(
            prefix.erased(&ada),
            "shop-1:customer-erased:{ada@example.org}"
        );
        assert_eq!(
            prefix.customer_indices(),
            ["shop-1:customers:vip", "shop-1:customers:others"]
        );
        assert_eq!(prefix.sweep(), "shop-1:customers:sweep");
    }

    #[test]
    fn names_what_is_kept_of_sessions() {
        let prefix = Prefix::new("shop-1:").unwrap();
        let ada = UserId::new("ada@example.org", &Secret::from_bytes(b"s"));
        assert_eq!(
            prefix.sessions(&ada).iter().collect::<Vec<_>>(),
            [
                "shop-1:session-epoch:{ada@example.org}",
                "shop-1:sessions:{ada@example.org}",
                "shop-1:session-hours:{ada@example.org}"
            ]
        );
        let of = |name: &str| format!("shop-1:{name}");
        assert_eq!(prefix.of_sessions(&ada), of("session:{ada@example.org}:"));
        assert_eq!(prefix.of_all_sessions(), of("session:{"));
        assert_eq!(prefix.of_epochs(), of("session-epoch:{"));
        let bytes = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255];
        let digits = "000102030405060708090a0b0c0d0eff";
        assert_eq!(
            prefix.session_once(&ada, Once(bytes)),
            of(&format!("session-once:{{ada@example.org}}:{digits}"))
        );
        assert_eq!(
            prefix.sessions_from(Origin(bytes)),
            of(&format!("sessions-from:{digits}"))
        );
        assert_eq!(prefix.of_live_sessions(), of("sessions-live:"));
    }

    #[test]
    fn refuses_prefixes_that_mean_something_to_redis() {
        let long = "x".repeat(65);
        for text in [
            "", "a b", "{tag}:", "a*", "a?", "[a]", "a\\", "ü:", "a\n", &long,
        ] {
            let error = Prefix::new(text).unwrap_err();
            assert_eq!(error.key(), "prefix", "{text:?}");
        }
        assert!(Prefix::new(&"x".repeat(64)).is_ok());
    }
}
