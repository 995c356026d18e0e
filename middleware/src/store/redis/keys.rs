//! The names of everything that the store keeps in Redis; no other file makes one.

use std::fmt::Write;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::ConfigError;
use crate::model::{Network, PartitionKey, Repr, UserId};
use crate::store::check_prefix;
use crate::suspicion::IncidentKind;

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

    /// The prefix of a policy's logs: `<prefix>rate:<policy>:`.
    pub(super) fn of_policy(&self, policy: &str) -> Box<str> {
        format!("{}rate:{policy}:", self.0).into()
    }

    /// The prefix of a kind's failures: `<prefix>suspicious:<signal>:`.
    pub(super) fn of_kind(&self, kind: IncidentKind) -> Box<str> {
        format!("{}suspicious:{}:", self.0, signal(kind)).into()
    }

    /// The prefix of the bans: `<prefix>ban:`.
    pub(super) fn of_bans(&self) -> Box<str> {
        format!("{}ban:", self.0).into()
    }

    /// A client's ban: `<prefix>ban:<network>`.
    pub(super) fn ban(&self, client: Network) -> String {
        format!("{}{client}", self.of_bans())
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

    /// The prefix of a funnel's visitors: `<prefix>funnel:`.
    pub(super) fn of_visitors(&self) -> Box<str> {
        format!("{}funnel:", self.0).into()
    }

    /// The keys that a probe uses: a gate and two logs, in three slots of a Cluster whatever the prefix, and a key on which
    /// commands are tried.
    pub(super) fn probes(&self) -> [String; 4] {
        ["a", "b", "c", "d"].map(|name| format!("{}probe:{name}", self.0))
    }
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
    /// `palisade:rate:user:` and a key of the longest kind.
    pub(super) const TYPICAL: usize = 96;

    pub(super) fn with_room_for(keys: usize) -> Self {
        Self {
            text: String::with_capacity(keys * Self::TYPICAL),
            ends: SmallVec::new(),
        }
    }

    /// Adds `<policy prefix><key>`.
    pub(super) fn push(&mut self, policy_prefix: &str, key: &PartitionKey) {
        self.text.push_str(policy_prefix);
        match key.repr() {
            Repr::Text(text) => self.text.push_str(text),
            // Writing to a String cannot fail.
            Repr::Network(network) => {
                let _ = write!(self.text, "{network}");
            }
        }
        self.ends.push(self.text.len() as u32);
    }

    /// Adds `<kind prefix><key>:sketch`: the estimate of how many distinct items the trail of the same key saw. No trail of
    /// the kind has this name, since no network and no hash ends so.
    pub(super) fn push_sketch(&mut self, kind_prefix: &str, key: &PartitionKey) {
        self.push(kind_prefix, key);
        self.text.push_str(":sketch");
        if let Some(end) = self.ends.last_mut() {
            *end = self.text.len() as u32;
        }
    }

    pub(super) fn push_text(&mut self, key: &str) {
        self.text.push_str(key);
        self.ends.push(self.text.len() as u32);
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
    use crate::model::Secret;

    #[test]
    fn names_what_is_kept_by_prefix_policy_kind_or_room_and_key() {
        let prefix = Prefix::new("shop-1:").unwrap();
        let mut keys = Keys::with_room_for(8);
        keys.push(
            &prefix.of_policy("ip"),
            &Network::of("2001:db8::1".parse().unwrap(), 64).into(),
        );
        keys.push(
            &prefix.of_policy("user"),
            &PartitionKey::text("ada@example.org", &Secret::from_bytes(b"s")),
        );
        keys.push_text(&prefix.probes()[0]);
        let client = Network::of("192.0.2.1".parse().unwrap(), 64).into();
        keys.push(&prefix.of_kind(IncidentKind::Abuse), &client);
        keys.push(
            &prefix.of_kind(IncidentKind::CredentialStuffingSlow),
            &client,
        );
        keys.push(
            &prefix.of_visitors(),
            &PartitionKey::text("ada", &Secret::from_bytes(b"s")),
        );
        keys.push_sketch(&prefix.of_kind(IncidentKind::PasswordSpraying), &client);
        let account = PartitionKey::of_ours("~00".into());
        keys.push(&prefix.of_kind(IncidentKind::DistributedStuffing), &account);
        assert_eq!(
            keys.iter().collect::<Vec<_>>(),
            [
                "shop-1:rate:ip:2001:db8::/64",
                "shop-1:rate:user:ada@example.org",
                "shop-1:probe:a",
                "shop-1:suspicious:4xx:192.0.2.1",
                "shop-1:suspicious:401-slow:192.0.2.1",
                "shop-1:funnel:ada",
                "shop-1:suspicious:spray:192.0.2.1:sketch",
                "shop-1:suspicious:account:~00"
            ]
        );
        let banned = Network::of("2001:db8::1".parse().unwrap(), 64);
        assert_eq!(prefix.ban(banned), "shop-1:ban:2001:db8::/64");
        assert_eq!(prefix.bans(), "shop-1:bans");
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
