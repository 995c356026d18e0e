use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use super::bans::BanWatch;
use super::events::Events;
use super::feed::Feed;
use super::guard::{Hosts, Token};
use super::line::Line;
use super::service::OpsService;
use super::sources::Sources;
use super::stream::Sample;
use crate::ConfigError;
use crate::model::{Exchange, ObserveExchange, Operation, Outcome};
use crate::suspicion::SecurityEvent;
use crate::task::ticker::{self, Ticker};

/// Gathers what the live page shows. Clones share it.
///
/// It is fed by one stack ([`StackBuilder::ops`](crate::stack::StackBuilder::ops)), and shown by any number of
/// [services](Self::service). Within a runtime it takes a sample a second from then on; without one, it begins when its
/// service is first asked.
#[derive(Clone)]
pub struct Ops(pub(super) Arc<Hub>);

/// What all clones share.
pub(super) struct Hub {
    pub(super) service: String,
    pub(super) started: SystemTime,
    pub(super) start: Instant,
    pub(super) hosts: Hosts,
    /// `None` where nothing may be done.
    pub(super) token: Option<Token>,
    /// The observers hold the feed and the events, never the hub: the hub's sources hold the observers, and nobody would
    /// drop such a circle.
    pub(super) feed: Arc<Feed>,
    pub(super) events: Arc<Events>,
    pub(super) sources: OnceLock<Sources>,
    pub(super) history: Mutex<VecDeque<Sample>>,
    pub(super) line: Line,
    pub(super) bans: BanWatch,
    /// Takes the samples.
    pub(super) ticker: Ticker,
}

impl Ops {
    /// The page of a service of this name, reached as an IP address or `localhost`, which may lift bans.
    #[must_use]
    pub fn new(service: impl Into<String>) -> Self {
        Self::with(service.into(), Hosts::default(), false)
    }

    /// As [`new`](Self::new), with settings.
    pub fn builder(service: impl Into<String>) -> OpsBuilder {
        OpsBuilder {
            service: service.into(),
            hosts: Vec::new(),
            read_only: false,
        }
    }

    fn with(service: String, hosts: Hosts, read_only: bool) -> Self {
        let start = Instant::now();
        Self(Arc::new(Hub {
            service,
            started: SystemTime::now(),
            start,
            hosts,
            token: if read_only { None } else { Token::random() },
            feed: Arc::new(Feed::new(start)),
            events: Arc::default(),
            sources: OnceLock::new(),
            history: Mutex::default(),
            line: Line::default(),
            bans: BanWatch::default(),
            ticker: Ticker::new(Duration::from_secs(1)),
        }))
    }

    /// The page as a `tower::Service`; see the [module](crate::ops) for where it can stand.
    #[must_use]
    pub fn service(&self) -> OpsService {
        ticker::start(&self.0);
        OpsService::new(Arc::clone(&self.0))
    }

    /// Takes the numbers of a stack.
    pub(crate) fn attach(&self, sources: Sources) -> Result<(), ConfigError> {
        let attached = self.0.sources.set(sources);
        attached
            .map_err(|_| ConfigError::without_value("ops", "an `Ops` that no other stack feeds"))?;
        ticker::start(&self.0);
        Ok(())
    }

    /// Tells it what became of requests.
    pub(crate) fn exchanges(&self) -> impl ObserveExchange + use<> {
        Exchanges(Arc::clone(&self.0.feed))
    }

    /// Tells it what became of calls to the store.
    #[cfg_attr(not(feature = "redis"), allow(dead_code))]
    pub(crate) fn calls(&self) -> impl Fn(Operation, Outcome, Duration) + Send + Sync + use<> {
        let feed = Arc::clone(&self.0.feed);
        move |_, outcome, took| feed.call(outcome, took)
    }

    /// Tells it what the security log is told.
    pub(crate) fn security_events(&self) -> impl Fn(&SecurityEvent<'_>) + Send + Sync + use<> {
        let events = Arc::clone(&self.0.events);
        move |event| events.note(event)
    }
}

impl fmt::Debug for Ops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ops")
            .field("service", &self.0.service)
            .field("hosts", &self.0.hosts)
            .finish_non_exhaustive()
    }
}

struct Exchanges(Arc<Feed>);

impl ObserveExchange for Exchanges {
    fn begin(&self) {
        self.0.begin();
    }

    fn observe(&self, exchange: &Exchange<'_>) {
        self.0.end(exchange);
    }
}

impl Hub {
    /// Whether the page may do more than show.
    pub(super) fn may_act(&self) -> bool {
        self.token.is_some()
    }

    pub(super) fn has_bans(&self) -> bool {
        let sources = self.sources.get();
        sources.is_some_and(|it| it.suspicions.sentence().is_some())
    }
}

/// In milliseconds since 1970; 0 before.
pub(super) fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// Settings of an [`Ops`].
#[derive(Debug, Clone)]
#[must_use]
pub struct OpsBuilder {
    service: String,
    hosts: Vec<String>,
    read_only: bool,
}

impl OpsBuilder {
    /// A name under which the page is reached, beside IP addresses and `localhost`: what stands in the browser's address
    /// bar, without a port.
    ///
    /// Any other name is refused, or a web site whose name leads to the listener's address (DNS rebinding) could read the
    /// page through a browser that visits it.
    pub fn allow_host(mut self, name: impl Into<String>) -> Self {
        self.hosts.push(name.into());
        self
    }

    /// Shows, and refuses every action.
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// The hub.
    ///
    /// # Errors
    /// A host that is no name of 1 to 253 characters of `a-z0-9-` between dots.
    pub fn build(self) -> Result<Ops, ConfigError> {
        let hosts = Hosts::new(&self.hosts)?;
        Ok(Ops::with(self.service, hosts, self.read_only))
    }
}
