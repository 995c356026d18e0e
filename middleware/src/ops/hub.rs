use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use super::guard::Token;
use super::line::Line;
use super::service::OpsService;
use crate::ConfigError;
use crate::http::hosts::Hosts;
use crate::model::panel::Panel;
use crate::task::ticker::{self, Ticker};

/// Gathers the figures of the live page. Clones share them.
///
/// It is fed by one stack ([`StackBuilder::ops`](crate::stack::StackBuilder::ops)), and shown by any number of
/// [services](Self::service). Within a runtime it takes a sample a second from then on; without one, it begins when its
/// service is first asked.
#[derive(Clone)]
pub struct Ops(pub(super) Arc<Hub>);

/// The state that all clones share.
pub(super) struct Hub {
    pub(super) service: String,
    pub(super) started: SystemTime,
    pub(super) start: Instant,
    pub(super) hosts: Hosts,
    /// `None` where nothing may be done.
    pub(super) token: Option<Token>,
    /// Set once, by the stack that feeds the page.
    panels: OnceLock<Vec<Box<dyn Panel>>>,
    /// Samples as JSON, one a second, the newest last.
    pub(super) history: Mutex<VecDeque<Box<[u8]>>>,
    pub(super) line: Line,
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
        Self(Arc::new(Hub {
            service,
            started: SystemTime::now(),
            start: Instant::now(),
            hosts,
            token: if read_only { None } else { Token::random() },
            panels: OnceLock::new(),
            history: Mutex::default(),
            line: Line::default(),
            ticker: Ticker::new(Duration::from_secs(1)),
        }))
    }

    /// The page as a `tower::Service`; see the [module](crate::ops) for where it can stand.
    #[must_use]
    pub fn service(&self) -> OpsService {
        ticker::start(&self.0);
        OpsService::new(Arc::clone(&self.0))
    }

    /// Shows the panels of a stack, in this order.
    pub(crate) fn attach(&self, panels: Vec<Box<dyn Panel>>) -> Result<(), ConfigError> {
        let attached = self.0.panels.set(panels);
        attached
            .map_err(|_| ConfigError::without_value("ops", "an `Ops` that no other stack feeds"))?;
        ticker::start(&self.0);
        Ok(())
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

impl Hub {
    /// Whether the page may do more than show.
    pub(super) fn may_act(&self) -> bool {
        self.token.is_some()
    }

    /// Whether a stack feeds the page.
    pub(super) fn is_fed(&self) -> bool {
        self.panels.get().is_some()
    }

    /// None until a stack feeds the page.
    pub(super) fn panels(&self) -> &[Box<dyn Panel>] {
        self.panels.get().map_or(&[], Vec::as_slice)
    }
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
    /// A name under which the page is reached, beside IP addresses and `localhost`: the name in the browser's address
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
    /// A host that is no name of 1 to 253 characters of `a-z0-9-_` between dots.
    pub fn build(self) -> Result<Ops, ConfigError> {
        let mut hosts = Hosts::default();
        for name in &self.hosts {
            hosts.add("ops.hosts", name)?;
        }
        Ok(Ops::with(self.service, hosts, self.read_only))
    }
}
