//! Whose keys stand under a prefix: a marker holds the service's name, so that two services that meet there are told.
//!
//! Who comes first keeps the marker, and refreshes it as long as it runs. The other is told of it, and takes the marker once it
//! has expired. A marker that somebody set without an end gets one. A server that is away is asked again at the next tick.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use redis::Value;

use super::answer::{Answer, MalformedReply};
use super::call::Call;
use super::error::{Cause, Failure, Refusal};
use super::limits::REMOVE;
use super::{Core, RedisStore};
use crate::task::ticker::{self, Tick, Ticker};

/// For how long a marker outlives its service.
const TTL: Duration = Duration::from_secs(3_600);

/// A name is no longer than this.
const MOST_OF_A_NAME: usize = 63;

/// What a store knows of its service, and of another one.
pub(super) struct Marker {
    service: OnceLock<Box<str>>,
    /// The other service that was logged last.
    other: Mutex<Option<String>>,
    ticks: Ticker,
}

impl Marker {
    pub(super) const fn new() -> Self {
        Self {
            service: OnceLock::new(),
            other: Mutex::new(None),
            ticks: Ticker::new(Duration::from_secs(10)),
        }
    }
}

impl RedisStore {
    /// Marks the prefix with the name of the service whose keys stand under it; the first name given holds.
    #[cfg_attr(not(feature = "otel"), allow(dead_code))]
    pub(crate) fn mark(&self, service: &str) {
        self.0.marker.service.get_or_init(|| service.into());
        self.0.keep_marked();
    }
}

impl Core {
    /// Starts what keeps the marker, if there is a service to name and a runtime to run on.
    pub(super) fn keep_marked(self: &Arc<Self>) {
        if self.marker.service.get().is_some() {
            ticker::start(self);
        }
    }

    /// Whose marker there is; a free one is taken, and one's own refreshed.
    async fn meet(&self, service: &str) -> Result<Option<String>, Failure> {
        let key = self.prefix.service();
        let mut get = Call::command("GETRANGE");
        // No more than a byte above a name, whatever the key holds.
        get.arg(&*key).arg(0).arg(MOST_OF_A_NAME);
        let read = |reply| match reply {
            Value::BulkString(bytes) => Ok(Answer::from(bytes)),
            _ => Err(MalformedReply),
        };
        let held = match self.ask_apart(&get, self.deadline, read).await {
            Err(Failure::Refused(Refusal {
                cause: Cause::WrongType,
                ..
            })) => None,
            held => Some(held?),
        };
        let other = held.as_deref().map(named).unwrap_or_default();
        if held.is_none_or(|held| !held.is_empty() && held != service.as_bytes()) {
            if !other.is_empty() && other != service {
                // Told all the same where that fails.
                drop(self.limit_planted(&key).await);
                return Ok(Some(other));
            }
            // No marker of any service, and it may be long.
            self.health.count_broken_logs(1);
            let mut remove = REMOVE.call(1);
            remove.arg(&*key);
            self.ask_apart(&remove, self.deadline, |_| Ok(Answer::from(())))
                .await?;
        }
        let mut set = Call::command("SET");
        set.arg(&*key)
            .arg(service)
            .arg("PX")
            .arg(TTL.as_millis() as u64);
        self.ask_apart(&set, self.deadline, |_| Ok(Answer::from(())))
            .await?;
        Ok(None)
    }

    /// Has a marker expire that would outlive its service: no service sets one so, and it would be told of for ever.
    async fn limit_planted(&self, key: &str) -> Result<(), Failure> {
        let mut pttl = Call::command("PTTL");
        pttl.arg(key);
        let longest = TTL.as_millis() as i64;
        let read = |reply| match reply {
            // -1 has no end, and -2 is gone by now.
            Value::Int(left) => Ok(Answer::from(left == -1 || left > longest)),
            _ => Err(MalformedReply),
        };
        if !self.ask_apart(&pttl, self.deadline, read).await? {
            return Ok(());
        }
        self.health.count_broken_logs(1);
        let mut expire = Call::command("PEXPIRE");
        expire.arg(key).arg(longest);
        self.ask_apart(&expire, self.deadline, |_| Ok(Answer::from(())))
            .await
    }
}

impl Tick for Core {
    fn ticker(&self) -> &Ticker {
        &self.marker.ticks
    }

    async fn tick(self: Arc<Self>) {
        let Some(service) = self.marker.service.get() else {
            return;
        };
        let Ok(met) = self.meet(service).await else {
            return;
        };
        let mut told = self
            .marker
            .other
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = met.as_ref().filter(|met| told.as_ref() != Some(met)) {
            tracing::warn!(
                target: "palisade::store",
                event = "prefix_shared",
                prefix = self.prefix.as_str(),
                service = &**service,
                other = &**other,
                "another service keeps its limits, bans and customers under the same prefix of this Redis, so each counts the \
                 other's; give one of them a `store.prefix` of its own"
            );
        }
        *told = met;
    }
}

/// A name that any program may have written: at most as long as ours, of visible characters.
fn named(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let visible = text.chars().filter(char::is_ascii_graphic);
    visible.take(MOST_OF_A_NAME).collect()
}
