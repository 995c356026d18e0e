//! Whose keys stand under a prefix: a marker holds the service's name, so that two services that meet there are told, and a
//! fingerprint of its secret, so that two processes of one service are told that hash by different ones.
//!
//! The fingerprint is 32 bits of an HMAC by the secret. A secret of 16 random bytes cannot be found by them, and whoever reads
//! them reads the hashes of users too, which tell no less.
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
use crate::model::Secret;
use crate::task::ticker::{self, Tick, Ticker};

/// For how long a marker outlives its service.
const TTL: Duration = Duration::from_secs(3_600);

/// A name is no longer than this.
const MOST_OF_A_NAME: usize = 63;

/// What a store knows of its service, and of another one.
pub(super) struct Marker {
    own: OnceLock<Own>,
    /// What was logged last.
    told: Mutex<Met>,
    ticks: Ticker,
}

/// What a service marks its prefix with.
struct Own {
    service: Box<str>,
    /// Of the secret, if one is configured.
    print: Option<String>,
    /// Of the secret before it: while a secret is changed, other processes have it.
    previous: Option<String>,
}

/// Whom a service meets under its prefix.
#[derive(Clone, PartialEq, Eq)]
enum Met {
    /// Nobody else.
    Itself,
    /// Another service, of this name.
    Other(String),
    /// A process of the same service with another secret.
    OtherSecret,
}

/// Hexadecimal digits of a fingerprint.
const PRINT: usize = 8;

impl Marker {
    pub(super) const fn new() -> Self {
        Self {
            own: OnceLock::new(),
            told: Mutex::new(Met::Itself),
            ticks: Ticker::new(Duration::from_secs(10)),
        }
    }
}

impl Own {
    /// Whether a process with this fingerprint checks what this one makes.
    fn shares(&self, print: Option<&str>) -> bool {
        let (Some(own), Some(other)) = (self.print.as_deref(), print) else {
            return true;
        };
        own == other || self.previous.as_deref() == Some(other)
    }

    fn text(&self) -> String {
        match &self.print {
            None => self.service.to_string(),
            Some(print) => format!("{} {print}", self.service),
        }
    }
}

fn print(secret: &Secret) -> String {
    let digest = secret.digest(b"marker", &[]);
    let [a, b, c, d, ..] = digest;
    format!("{:08x}", u32::from_be_bytes([a, b, c, d]))
}

impl RedisStore {
    /// Marks the prefix with the name of the service whose keys stand under it, and with its secret; what is given first holds.
    #[cfg_attr(not(feature = "otel"), allow(dead_code))]
    pub(crate) fn mark(&self, service: &str, secret: Option<&Secret>, previous: Option<&Secret>) {
        self.0.marker.own.get_or_init(|| Own {
            service: service.into(),
            print: secret.map(print),
            previous: previous.map(print),
        });
        self.0.keep_marked();
    }
}

impl Core {
    /// Starts what keeps the marker, if there is a service to name and a runtime to run on.
    pub(super) fn keep_marked(self: &Arc<Self>) {
        if self.marker.own.get().is_some() {
            ticker::start(self);
        }
    }

    /// Whose marker there is; a free one is taken, and one's own refreshed.
    async fn meet(&self, own: &Own) -> Result<Met, Failure> {
        let key = self.prefix.service();
        let mut get = Call::command("GETRANGE");
        // No more than a name and a fingerprint have, whatever the key holds.
        get.arg(&*key).arg(0).arg(MOST_OF_A_NAME + PRINT);
        let read = |reply| match reply {
            Value::BulkString(bytes) if bytes.is_empty() => Ok(Answer::from(None)),
            Value::BulkString(bytes) => Ok(Answer::from(Some(marked(&bytes)))),
            _ => Err(MalformedReply),
        };
        let is_free = match self.ask_apart(&get, self.deadline, read).await {
            Ok(None) => true,
            Ok(Some((name, print))) if *name == *own.service => {
                if !own.shares(print.as_deref()) {
                    drop(self.limit_planted(&key).await);
                    return Ok(Met::OtherSecret);
                }
                true
            }
            Ok(Some((other, _))) if !other.is_empty() => {
                // Told all the same where that fails.
                drop(self.limit_planted(&key).await);
                return Ok(Met::Other(other));
            }
            Ok(Some(_))
            | Err(Failure::Refused(Refusal {
                cause: Cause::WrongType,
                ..
            })) => false,
            Err(failure) => return Err(failure),
        };
        if !is_free {
            // No marker of any service, and it may be long.
            self.health.count_broken_logs(1);
            let mut remove = REMOVE.call(1);
            remove.arg(&*key);
            self.ask_apart(&remove, self.deadline, |_| Ok(Answer::from(())))
                .await?;
        }
        let mut set = Call::command("SET");
        set.arg(&*key)
            .arg(own.text())
            .arg("PX")
            .arg(TTL.as_millis() as u64);
        self.ask_apart(&set, self.deadline, |_| Ok(Answer::from(())))
            .await?;
        Ok(Met::Itself)
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
        let Some(own) = self.marker.own.get() else {
            return;
        };
        let Ok(met) = self.meet(own).await else {
            return;
        };
        let told = self.marker.told.lock();
        let mut told = told.unwrap_or_else(PoisonError::into_inner);
        match &met {
            met if *told == *met => {}
            Met::Itself => {}
            Met::Other(other) => tracing::warn!(
                target: "palisade::store",
                event = "prefix_shared",
                prefix = self.prefix.as_str(),
                service = &*own.service,
                other = &**other,
                "another service keeps its limits, bans and customers under the same prefix of this Redis, so each counts the \
                 other's; give one of them a `store.prefix` of its own"
            ),
            Met::OtherSecret => tracing::warn!(
                target: "palisade::store",
                event = "secret_differs",
                prefix = self.prefix.as_str(),
                service = &*own.service,
                "another process of this service has, or had within an hour, another secret under the same prefix of this \
                 Redis, so each refuses the other's sessions and hashes users to other keys; give all the same \
                 `store.secret_file` or PALISADE_SECRET, and change it by the steps of docs/operations.md"
            ),
        }
        *told = met;
    }
}

/// What a marker holds: a name, and the fingerprint of a secret after it.
fn marked(bytes: &[u8]) -> (String, Option<String>) {
    let at = bytes.len().saturating_sub(PRINT + 1);
    match bytes.split_at(at) {
        (name, [b' ', print @ ..])
            if print.len() == PRINT && print.iter().all(u8::is_ascii_hexdigit) =>
        {
            let print = print.iter().copied().map(char::from).collect();
            (named(name), Some(print))
        }
        _ => (named(bytes), None),
    }
}

/// A name that any program may have written: at most as long as ours, of visible characters.
fn named(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let visible = text.chars().filter(char::is_ascii_graphic);
    visible.take(MOST_OF_A_NAME).collect()
}
