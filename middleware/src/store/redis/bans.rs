//! The port of the bans: who is refused, over all processes.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use tokio::time::{Instant, timeout};

use super::ban_scripts::{Answer, BanScripts, ReadIndex, Terms, banned, imposed, lifted};
use super::failure::Failure;
use super::scripts::{Call, MalformedReply};
use super::{Core, RedisStore};
use crate::model::{Network, Operation, Outcome, StoreError, StoreErrorKind};
use crate::suspicion::{Answering, Ban, BanReason, BanStore, Kind, Sentence};

impl BanStore for RedisStore {
    fn impose(
        &self,
        client: Network,
        kind: Kind,
        sentence: &Sentence,
        roll: u32,
    ) -> Answering<Ban> {
        self.ban(client, Terms::of(BanReason::Incident(kind), sentence, roll))
    }

    fn impose_for(&self, client: Network, length: Duration) -> Answering<Ban> {
        self.ban(client, Terms::manual(length))
    }

    fn lift(&self, client: Network) -> Answering<bool> {
        let core = Arc::clone(&self.0);
        Box::pin(async move {
            let call = core.bans.lift(core.keys_of_ban(client), client);
            core.ask_of_bans(&call, lifted).await
        })
    }

    fn banned_for(&self, client: Network) -> Answering<Option<Duration>> {
        let core = Arc::clone(&self.0);
        Box::pin(async move {
            let call = core.bans.read(vec![core.prefix.ban(client)]);
            let bans = core
                .ask_of_bans(&call, |reply| banned(reply, &[client]))
                .await?;
            Ok(bans.first().map(|ban| ban.left))
        })
    }

    fn list(&self, limit: usize) -> Answering<Vec<Ban>> {
        let core = Arc::clone(&self.0);
        let limit = limit.min(BanScripts::MAX_READ);
        Box::pin(async move {
            if limit == 0 {
                return Ok(Vec::new());
            }
            let index = ReadIndex {
                key: core.prefix.bans(),
                limit,
            };
            let clients = core.ask_of_bans(&index, listed).await?;
            if clients.is_empty() {
                return Ok(Vec::new());
            }
            let keys = clients.iter().map(|client| core.prefix.ban(*client));
            let call = core.bans.read(keys.collect());
            let mut bans = core
                .ask_of_bans(&call, |reply| banned(reply, &clients))
                .await?;
            // The index knows milliseconds, and a ban may have been lengthened since it was read.
            bans.sort_by_key(|ban| std::cmp::Reverse(ban.until));
            Ok(bans)
        })
    }
}

impl RedisStore {
    fn ban(&self, client: Network, terms: Terms) -> Answering<Ban> {
        let core = Arc::clone(&self.0);
        Box::pin(async move {
            let call = core.bans.impose(core.keys_of_ban(client), client, terms);
            core.ask_of_bans(&call, |reply| imposed(reply, client))
                .await
        })
    }
}

impl Core {
    fn keys_of_ban(&self, client: Network) -> [String; 2] {
        [self.prefix.ban(client), self.prefix.bans()]
    }

    async fn ask_of_bans<T>(
        self: &Arc<Self>,
        call: &(impl Call + Sync),
        read: impl FnOnce(Value) -> Result<Answer<T>, MalformedReply>,
    ) -> Result<T, StoreError> {
        if self.health.breaker.is_open() {
            self.observe(Operation::Ban, Outcome::Rejected, Duration::ZERO);
            return Err(StoreError::new(StoreErrorKind::Rejected));
        }
        let asked = Instant::now();
        let result = match timeout(self.deadline, self.connections.call(call)).await {
            Ok(reply) => reply.and_then(|reply| Ok(read(reply)?)),
            Err(_) => {
                // What does not answer may never: the next call starts on another connection.
                self.connections.forget();
                Err(Failure::Timeout)
            }
        };
        let outcome = match &result {
            Ok(_) => Outcome::Ok,
            Err(failure) => failure.outcome(),
        };
        self.observe(Operation::Ban, outcome, asked.elapsed());
        match result {
            Ok(Answer { broken, answer }) => {
                if broken > 0 {
                    self.health.count_broken_logs(broken);
                }
                Ok(answer)
            }
            Err(failure) => {
                // The breaker is the limits', as it is for the counting of failures.
                if failure.is_of_the_connection() {
                    self.note_failure(&failure);
                }
                Err(failure.into())
            }
        }
    }
}

/// The clients of the index; what is no client of ours is passed over.
fn listed(reply: Value) -> Result<Answer<Vec<Network>>, MalformedReply> {
    let Value::Array(members) = reply else {
        return Err(MalformedReply);
    };
    let clients = members.into_iter().filter_map(|member| match member {
        Value::BulkString(bytes) => network(str::from_utf8(&bytes).ok()?),
        _ => None,
    });
    Ok(Answer {
        broken: 0,
        answer: clients.collect(),
    })
}

/// A network as it is displayed.
fn network(text: &str) -> Option<Network> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, prefix.parse().ok()?),
        None => (text, 32),
    };
    let network = Network::of(address.parse::<IpAddr>().ok()?, prefix);
    (network.to_string() == text).then_some(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_network_that_is_displayed_and_nothing_else() {
        for address in ["192.0.2.1", "0.0.0.0", "::", "2001:db8::1", "ff::1:2:3:4"] {
            for prefix in [0, 1, 56, 64, 127, 128] {
                let client = Network::of(address.parse().unwrap(), prefix);
                assert_eq!(network(&client.to_string()), Some(client));
            }
        }
        for text in [
            "",
            "x",
            "192.0.2.1/32",
            "2001:db8::1",
            "2001:db8::1/64",
            "::/129",
            "::/",
        ] {
            assert_eq!(network(text), None, "{text:?}");
        }
    }
}
