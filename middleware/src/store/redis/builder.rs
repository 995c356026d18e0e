use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::breaker::Breaker;
use super::budget::Budget;
use super::connection::Connections;
use super::dispatch::Queue;
use super::health::State;
use super::keys::Prefix;
use super::marker::Marker;
use super::{Core, Observer, RedisStore};
use crate::ConfigError;
use crate::model::{Operation, Outcome, Written};
use crate::store::AnalyticsMemory;

/// Settings of a [`RedisStore`].
#[must_use]
pub struct RedisStoreBuilder {
    url: String,
    prefix: String,
    deadline: Duration,
    failures: u32,
    probe_interval: Duration,
    analytics_memory: AnalyticsMemory,
    observer: Option<Observer>,
}

impl RedisStoreBuilder {
    /// The prefix of keys unless [`prefix`](Self::prefix) is set.
    pub const DEFAULT_PREFIX: &str = "palisade:";
    /// How long a request waits unless [`deadline`](Self::deadline) is set.
    pub const DEFAULT_DEADLINE: Duration = Duration::from_millis(50);

    pub(super) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            prefix: Self::DEFAULT_PREFIX.to_owned(),
            deadline: Self::DEFAULT_DEADLINE,
            failures: 5,
            probe_interval: Duration::from_millis(500),
            analytics_memory: AnalyticsMemory::default(),
            observer: None,
        }
    }

    /// The prefix of every key: 1 to 64 visible ASCII characters without braces, brackets, quotes, `*`, `?`, `\`;
    /// `palisade:` unless set.
    pub fn prefix(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// How long a request waits for its verdict, from 1 ms to 10 s; 50 ms unless set.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Opens the breaker after this many failed calls in a row (1 to 1,000; 5 unless set). While it is open, no request asks
    /// the server, and a probe is sent at this interval (10 ms to 1 s; 500 ms unless set).
    pub fn breaker(mut self, failures: u32, probe_interval: Duration) -> Self {
        self.failures = failures;
        self.probe_interval = probe_interval;
        self
    }

    /// How much of the server's memory visitors, failures and customers may take together; `50%` of its `maxmemory` unless
    /// set, or 1 GiB of a server without one.
    pub fn analytics_memory(mut self, analytics_memory: AnalyticsMemory) -> Self {
        self.analytics_memory = analytics_memory;
        self
    }

    /// Receives every [`Operation`] with its outcome and how long it took; it must not block. Requests that share a call are
    /// told one by one.
    pub fn observer(
        mut self,
        observer: impl Fn(Operation, Outcome, Duration) + Send + Sync + 'static,
    ) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// The store. It connects at its first request, so it starts while the server is down.
    ///
    /// # Errors
    /// A URL that cannot be read, or a setting out of its range.
    pub fn build(self) -> Result<RedisStore, ConfigError> {
        let within = |key, value: Duration, least: Duration, most: Duration, allowed| {
            if (least..=most).contains(&value) {
                Ok(value)
            } else {
                let value = Written(value);
                Err(ConfigError::new(key, value, allowed))
            }
        };
        let millis = Duration::from_millis;
        let deadline = within(
            "deadline",
            self.deadline,
            millis(1),
            millis(10_000),
            "1ms to 10s",
        )?;
        let probe_interval = within(
            "probe_interval",
            self.probe_interval,
            millis(10),
            millis(1000),
            "10ms to 1s",
        )?;
        if !(1..=1000).contains(&self.failures) {
            return Err(ConfigError::new("failures", self.failures, "1 to 1000"));
        }
        let prefix = Prefix::new(&self.prefix)?;
        let connections = Connections::new(&self.url)?;
        let (server, database) = (connections.address(), connections.database());
        Ok(RedisStore(Arc::new(Core {
            place: format!("database {database} of {server} under `{}`", self.prefix).into(),
            connections,
            health: Arc::new(State::new(Breaker::new(self.failures))),
            queue: Queue::default(),
            prefix,
            deadline,
            probe_interval,
            marker: Marker::new(),
            budget: Budget::new(self.analytics_memory),
            observer: self.observer,
            watcher: OnceLock::new(),
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder() -> RedisStoreBuilder {
        RedisStore::builder("redis://127.0.0.1:6379")
    }

    fn refused(builder: RedisStoreBuilder) -> String {
        builder.build().unwrap_err().key().to_owned()
    }

    #[test]
    fn refuses_settings_out_of_range_by_name() {
        let second = Duration::from_secs(1);
        assert_eq!(
            refused(builder().deadline(Duration::from_micros(999))),
            "deadline"
        );
        assert_eq!(refused(builder().deadline(11 * second)), "deadline");
        assert_eq!(refused(builder().breaker(0, second)), "failures");
        assert_eq!(refused(builder().breaker(1001, second)), "failures");
        assert_eq!(
            refused(builder().breaker(5, Duration::from_millis(9))),
            "probe_interval"
        );
        assert_eq!(refused(builder().breaker(5, 2 * second)), "probe_interval");
        assert_eq!(refused(builder().prefix("a b")), "prefix");
        assert_eq!(refused(RedisStore::builder("localhost")), "redis_url");
    }

    #[test]
    fn accepts_the_bounds() {
        let built = builder()
            .deadline(Duration::from_millis(1))
            .breaker(1, Duration::from_millis(10))
            .build();
        assert!(built.is_ok());
    }
}
