use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::net::TcpListener;
use tower_service::Service;

use super::body::RequestBody;
use super::counts::ServerCounts;
use super::link::Limits;
use super::listen::{self, Drained};
use crate::ConfigError;
use crate::model::Cidrs;

/// The most connections, where the process may have as many open files.
const CONNECTIONS: usize = 4096;
/// Open files for everything else: the store's connections, the admin listener, logs.
const RESERVE: usize = 64;

/// A server's settings, of which each has a default; the [module](crate::server) has them all, and an example.
///
/// Clones have their [counts](Self::counts) in common.
#[derive(Debug, Clone)]
#[must_use = "nothing is served until `serve` is awaited"]
pub struct Server {
    pub(super) connections: usize,
    pub(super) per_address: Option<usize>,
    pub(super) exempt: Cidrs,
    pub(super) limits: Limits,
    pub(super) protocol: Protocol,
    pub(super) drain: Duration,
    pub(super) counts: Arc<ServerCounts>,
}

/// What is spoken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Protocol {
    pub(super) max_head: usize,
    pub(super) max_headers: usize,
    /// HTTP/1.1 alone, a request a connection, whose client waits for no other answer when the server ends.
    pub(super) one_request: bool,
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

impl Server {
    /// A server with the defaults.
    pub fn new() -> Self {
        Self {
            connections: open_files().map_or(CONNECTIONS, connections_within),
            per_address: None,
            exempt: Cidrs::default(),
            limits: Limits {
                head: Duration::from_secs(15),
                stall: Duration::from_secs(30),
                lifetime: None,
            },
            protocol: Protocol {
                max_head: 64 * 1024,
                max_headers: 100,
                one_request: false,
            },
            drain: Duration::from_secs(30),
            counts: Arc::default(),
        }
    }

    /// For operators and their programs: small and short requests, one a connection, each of them `lifetime` at most unless its
    /// answer is [`Lasting`](super::Lasting).
    #[cfg_attr(not(feature = "otel"), allow(dead_code))]
    pub(crate) fn for_operators(connections: usize, head: Duration, lifetime: Duration) -> Self {
        let mut server = Self::new()
            .connections(connections)
            .connections_per_address(connections)
            .head_time(head);
        server.limits.lifetime = Some(lifetime);
        server.protocol = Protocol {
            max_head: 16 * 1024,
            max_headers: 64,
            one_request: true,
        };
        server
    }

    /// Connections at a time, at least 1.
    pub fn connections(mut self, most: usize) -> Self {
        self.connections = most.max(1);
        self
    }

    /// Connections at a time of one address, at least 1.
    ///
    /// An address may stand for a whole office or a whole carrier, so it should not be small.
    pub fn connections_per_address(mut self, most: usize) -> Self {
        self.per_address = Some(most.max(1));
        self
    }

    /// Networks that stand for many clients and may have all connections: the trusted proxies of the configuration.
    ///
    /// # Errors
    /// A text that is no network.
    pub fn exempt<T: AsRef<str>>(
        mut self,
        networks: impl IntoIterator<Item = T>,
    ) -> Result<Self, ConfigError> {
        let networks: Vec<_> = networks.into_iter().collect();
        self.exempt = Cidrs::parse("exempt", networks.iter().map(AsRef::as_ref))?;
        Ok(self)
    }

    /// How long a connection may be without a request under way: the time for a head, and between requests.
    pub fn head_time(mut self, longest: Duration) -> Self {
        self.limits.head = longest;
        self
    }

    /// How long a client may take nothing of an answer, or send nothing of a body that the service waits for.
    pub fn stall(mut self, longest: Duration) -> Self {
        self.limits.stall = longest;
        self
    }

    /// How long answers under way may still take when the server is told to end; then they are cut.
    pub fn drain(mut self, longest: Duration) -> Self {
        self.drain = longest;
        self
    }

    /// What is counted, for `Telemetry::watch` (feature `otel`).
    #[must_use]
    pub fn counts(&self) -> Arc<ServerCounts> {
        Arc::clone(&self.counts)
    }

    /// Serves until `stop` completes. Then it accepts no more, answers what is under way, and returns once the last connection
    /// is closed or the drain is over.
    ///
    /// A response says that it is the last (`connection: close`, of HTTP/2 GOAWAY), and connections without a request are left
    /// open for half a second, for requests that were sent before the client can have heard of the end. Dropping the future
    /// closes everything at once. Streams that never end are the service's to end.
    pub async fn serve<S, B>(
        self,
        listener: TcpListener,
        service: S,
        stop: impl Future<Output = ()>,
    ) -> Drained
    where
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        listen::serve(self, listener, service, stop).await
    }

    pub(super) fn each(&self) -> usize {
        self.per_address
            .unwrap_or_else(|| (self.connections / 4).max(1))
    }
}

/// Connections of a process that may have so many open files.
fn connections_within(open_files: usize) -> usize {
    let reserve = RESERVE.min(open_files / 2);
    (open_files - reserve).clamp(1, CONNECTIONS)
}

/// How many files this process may have open, where the system says so in a file.
fn open_files() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_everything_else() {
        for (open_files, connections) in [
            (1_048_576, 4096),
            (4160, 4096),
            (1024, 960),
            (128, 64),
            (16, 8),
            (1, 1),
            (0, 1),
        ] {
            assert_eq!(connections_within(open_files), connections, "{open_files}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_says_how_many_files_may_be_open() {
        assert!(open_files().is_some_and(|it| it > 8));
    }
}
