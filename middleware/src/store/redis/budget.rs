//! How many bytes the keys of visitors, failures and customers may take, so that limits and bans have the rest.
//!
//! Visitors and failures have a ledger each (`lua/ledger.lua`), which all processes share: a script that is about to make a
//! key asks it for room, and makes none without. Customers are held to theirs by the sweep.
//!
//! A share is one of the server's `maxmemory`, which is read beside the calls once a minute. Until it is known, a server counts
//! as having none.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::Value;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::Core;
use super::answer::{Answer, MalformedReply};
use super::call::Call;
use crate::log::{Losses, now};
use crate::store::{Analytics, AnalyticsMemory};

/// How long the server's answer is good for, and how long no answer.
const FRESH: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_secs(1);

/// What a store knows of its budget.
pub(super) struct Budget {
    pub(super) setting: AnalyticsMemory,
    maxmemory: AtomicU64,
    /// When the server is asked next.
    next: Mutex<Option<Instant>>,
    /// Whether it was said that the server does not tell.
    said: AtomicBool,
    losses: [Losses; Analytics::ALL.len()],
}

impl Budget {
    pub(super) fn new(setting: AnalyticsMemory) -> Self {
        Self {
            setting,
            maxmemory: AtomicU64::new(0),
            next: Mutex::new(None),
            said: AtomicBool::new(false),
            losses: Default::default(),
        }
    }

    /// Whether it is time to ask; true for one caller.
    fn is_due(&self) -> bool {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let due = next.is_none_or(|next| now >= next);
        if due {
            *next = Some(now + RETRY);
        }
        due
    }

    fn learn(&self, maxmemory: u64) {
        self.maxmemory.store(maxmemory, Ordering::Relaxed);
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + FRESH);
    }
}

impl Core {
    /// The bytes that keys of this kind may take. It never waits.
    pub(super) fn budget(self: &Arc<Self>, of: Analytics) -> u64 {
        let budget = &self.budget;
        if budget.setting.is_share() && budget.is_due() {
            // Without a runtime nothing is asked, and nobody either.
            if let Ok(runtime) = Handle::try_current() {
                let core = Arc::clone(self);
                runtime.spawn(async move { core.ask_for_memory().await });
            }
        }
        let all = budget
            .setting
            .bytes(budget.maxmemory.load(Ordering::Relaxed));
        all / 4 * of.quarters()
    }

    async fn ask_for_memory(&self) {
        let mut call = Call::command("INFO");
        call.arg("memory");
        match self.ask_apart(&call, self.deadline, maxmemory).await {
            Ok(bytes) => self.budget.learn(bytes),
            Err(error) if !error.is_of_the_connection() => {
                self.budget.learn(0);
                if !self.budget.said.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        target: "palisade::store",
                        event = "analytics_memory_unknown",
                        %error,
                        bytes = AnalyticsMemory::UNBOUNDED,
                        "Redis does not tell its maxmemory (`INFO memory`), so `store.analytics_memory` is a share of nothing and \
                         so many bytes are taken; allow the command, or set bytes"
                    );
                }
            }
            // Away: asked again.
            Err(_) => {}
        }
    }

    /// Counts keys for which there was no room, or customers that had to go.
    pub(super) fn over_budget(&self, of: Analytics, keys: u64) {
        if keys == 0 {
            return;
        }
        self.health.count_over_budget(of, keys);
        let losses = self.budget.losses.get(of as usize);
        if losses.is_some_and(|losses| losses.count(now()).is_some()) {
            tracing::warn!(
                target: "palisade::store",
                event = "analytics_over_budget",
                kind = of.as_str(),
                keys = self.health.over_budget(of),
                "analytics take all of Redis's memory that `store.analytics_memory` gives them: so many keys were not made, or \
                 customers forgotten, since start"
            );
        }
    }
}

/// Reads `maxmemory` of the answer to `INFO memory`.
fn maxmemory(reply: Value) -> Result<Answer<u64>, MalformedReply> {
    let text = match reply {
        Value::BulkString(bytes) => String::from_utf8(bytes).map_err(|_| MalformedReply)?,
        Value::VerbatimString { text, .. } | Value::SimpleString(text) => text,
        _ => return Err(MalformedReply),
    };
    let mut lines = text.lines();
    let bytes = lines.find_map(|line| line.strip_prefix("maxmemory:"));
    let bytes: Option<u64> = bytes.and_then(|bytes| bytes.trim().parse().ok());
    bytes.map(Answer::from).ok_or(MalformedReply)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_memory_of_the_server() {
        let text =
            "# Memory\r\nused_memory:900\r\nmaxmemory:16777216\r\nmaxmemory_human:16.00M\r\n";
        let bulk = Value::BulkString(text.into());
        assert_eq!(maxmemory(bulk), Ok(16_777_216.into()));
        let verbatim = Value::VerbatimString {
            format: redis::VerbatimFormat::Text,
            text: text.to_owned(),
        };
        assert_eq!(maxmemory(verbatim), Ok(16_777_216.into()));
        for reply in [
            Value::Nil,
            Value::Okay,
            Value::BulkString("maxmemory_human:1M".into()),
            Value::BulkString("maxmemory:-1".into()),
        ] {
            assert_eq!(maxmemory(reply), Err(MalformedReply));
        }
    }
}
