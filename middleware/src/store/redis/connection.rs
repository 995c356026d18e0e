//! The connections: one multiplexed for the requests, a small pool for probes, sweeps and loads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool_redis::{Manager, Pool, Runtime};
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::io::tcp::socket2::TcpKeepalive;
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, ErrorKind, IntoConnectionInfo, ProtocolVersion,
    PushInfo, PushKind, RedisError, ServerErrorKind, Value,
};
#[cfg(feature = "redis-tls")]
use {redis::ConnectionAddr, rustls::crypto::CryptoProvider};

use super::call::Call;
use super::error::Failure;
use crate::ConfigError;

/// A connection that stays idle is asked this often whether its peer is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// A connection may take longer to make than a call may take to answer (name lookup, other regions); it is made in
/// a task of its own, so a call that gives up does not undo it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A probe, a readiness check, a sweep of the customers and the load of a history at the same time.
const EXCLUSIVE: usize = 4;

pub(super) struct Connections {
    client: Client,
    /// The connection of the requests; made by the first call that finds none, so nothing connects before it is needed.
    ///
    /// redis-rs's `ConnectionManager` would keep a connection whose calls time out (a black hole, a hung server),
    /// and one whose server was demoted to a replica; here any such failure drops it.
    shared: Mutex<Option<Shared>>,
    /// Held by whoever makes the shared connection.
    turn: tokio::sync::Mutex<()>,
    /// Connections of their own for probes, sweeps and loads: probes prove that a new one can be made, and neither wait
    /// behind requests nor hold them up. The pool pings at each checkout, one more round trip, which would cost the requests
    /// half their throughput and costs a probe nothing.
    exclusive: Pool,
}

#[derive(Clone)]
struct Shared {
    connection: MultiplexedConnection,
    /// Set when the server hung up, so that the next call starts on a new connection instead of failing.
    closed: Arc<AtomicBool>,
}

impl Connections {
    /// Reads the URL; connects to nothing yet.
    pub(super) fn new(url: &str) -> Result<Arc<Self>, ConfigError> {
        let refused = |allowed: &str| ConfigError::new("redis_url", without_secrets(url), allowed);
        if url.starts_with("rediss:") && cfg!(not(feature = "redis-tls")) {
            return Err(refused(
                "a `rediss://` URL only with the feature `redis-tls`",
            ));
        }
        let allowed = "redis://[<user>[:<password>]@]<host>[:<port>][/<database>], rediss://… or unix://<path>";
        // The parser's own message could repeat the password.
        let info = url.into_connection_info().map_err(|_| refused(allowed))?;
        let info = with_settings(info);
        let client = Client::open(info.clone()).map_err(|_| refused(allowed))?;
        let manager =
            Manager::new_with_config(info, connection_config()).map_err(|_| refused(allowed))?;
        let exclusive = Pool::builder(manager)
            .max_size(EXCLUSIVE)
            .wait_timeout(Some(CONNECT_TIMEOUT))
            .create_timeout(Some(CONNECT_TIMEOUT))
            .recycle_timeout(Some(CONNECT_TIMEOUT))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|_| refused(allowed))?;
        Ok(Arc::new(Self {
            client,
            shared: Mutex::new(None),
            turn: tokio::sync::Mutex::default(),
            exclusive,
        }))
    }

    /// Runs a script on the shared connection; the caller sets the deadline.
    pub(super) async fn call(self: &Arc<Self>, call: &Call) -> Result<Value, Failure> {
        let connection = match self.live() {
            Some(connection) => connection,
            None => {
                // One call connects, and the calls that wait for it find its connection.
                let _turn = self.turn.lock().await;
                match self.live() {
                    Some(connection) => connection,
                    None => self.connect().await?,
                }
            }
        };
        let result = call.run(connection).await;
        if result.as_ref().is_err_and(ends_connection) {
            self.forget();
        }
        Ok(result?)
    }

    /// Runs a script on a connection of its own.
    pub(super) async fn call_exclusively(
        &self,
        call: &Call,
        deadline: Duration,
    ) -> Result<Value, Failure> {
        self.choose_tls();
        let mut connection = self.exclusive.get().await?;
        let answer = tokio::time::timeout(deadline, call.run(connection.as_mut().clone())).await;
        if !matches!(answer, Ok(Ok(_))) {
            // Not back into the pool: the next probe starts from nothing.
            drop(deadpool_redis::Connection::take(connection));
        }
        Ok(answer.map_err(|_| Failure::Timeout)??)
    }

    /// Makes the shared connection unless there is one.
    pub(super) async fn ensure(self: &Arc<Self>) -> Result<(), Failure> {
        if self.live().is_none() {
            self.connect().await?;
        }
        Ok(())
    }

    /// Drops the shared connection; the next call makes another.
    pub(super) fn forget(&self) {
        *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn live(&self) -> Option<MultiplexedConnection> {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = shared.as_ref()?;
        (!shared.closed.load(Ordering::Acquire)).then(|| shared.connection.clone())
    }

    async fn connect(self: &Arc<Self>) -> Result<MultiplexedConnection, Failure> {
        self.choose_tls();
        let this = Arc::clone(self);
        let connecting = tokio::spawn(async move {
            let closed = Arc::new(AtomicBool::new(false));
            let config = connection_config().set_push_sender(notice_end(Arc::clone(&closed)));
            let connection = this
                .client
                .get_multiplexed_async_connection_with_config(&config)
                .await?;
            *this.shared.lock().unwrap_or_else(PoisonError::into_inner) = Some(Shared {
                connection: connection.clone(),
                closed,
            });
            Ok::<_, RedisError>(connection)
        });
        Ok(connecting.await.map_err(|_| Failure::Abandoned)??)
    }

    /// Has rustls use ring unless the process chose a provider. With none, redis-rs would panic where two are compiled
    /// in: ours, and the aws-lc-rs of an HTTP client.
    fn choose_tls(&self) {
        #[cfg(feature = "redis-tls")]
        if matches!(
            self.client.get_connection_info().addr(),
            ConnectionAddr::TcpTls { .. }
        ) && CryptoProvider::get_default().is_none()
        {
            // It fails where another thread has just chosen.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
    }
}

/// Whether another connection could do better: this one is gone, or leads to a server that is now a replica.
fn ends_connection(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Server(kind) => kind == ServerErrorKind::ReadOnly,
        ErrorKind::Extension => false,
        _ => true,
    }
}

fn notice_end(closed: Arc<AtomicBool>) -> impl Fn(PushInfo) -> Result<(), ()> {
    move |push| {
        if push.kind == PushKind::Disconnection {
            closed.store(true, Ordering::Release);
        }
        Ok(())
    }
}

fn connection_config() -> AsyncConnectionConfig {
    // Every call has its own deadline; a second timer each would only cost.
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(None)
}

fn with_settings(info: ConnectionInfo) -> ConnectionInfo {
    // RESP3, because the client reports the end of an idle connection only there.
    let redis = info
        .redis_settings()
        .clone()
        .set_protocol(ProtocolVersion::RESP3)
        .set_skip_set_lib_name();
    let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(
        TcpKeepalive::new()
            .with_time(KEEPALIVE)
            .with_interval(KEEPALIVE),
    );
    info.set_redis_settings(redis).set_tcp_settings(tcp)
}

/// The URL without its credentials: user, password and query. A refused URL may be malformed, so only the text that stands
/// behind the last `@` is shown, or the scheme alone.
fn without_secrets(url: &str) -> String {
    let (scheme, rest) = url
        .split_once("://")
        .map_or(("", url), |(scheme, rest)| (scheme, rest));
    let scheme = match scheme {
        "" => String::new(),
        // An unknown scheme could be part of a password.
        "redis" | "rediss" | "unix" | "http" | "https" => format!("{scheme}://"),
        _ => "…://".to_owned(),
    };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}…@{}", host.split('?').next().unwrap_or_default()),
        None => format!("{scheme}…"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str) -> String {
        match Connections::new(url) {
            Ok(_) => panic!("{url} was accepted"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn connects_to_nothing_when_built() {
        for url in [
            "redis://127.0.0.1:1",
            "redis://u:p@host/3",
            "unix:///run/redis.sock",
        ] {
            assert!(Connections::new(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn names_the_url_without_its_password() {
        for url in [
            "http://ada:hunter2@host",
            "redis://ada:hunter2@host:port",
            "redis://ada:hunter2@host/not-a-number",
            "ada:hunter2@host",
            "redis://ada:hun@ter2@host:port",
            "unix:?pass=hunter2",
            "redis://ada:hun?ter2@host:6379",
            "redis://:hunter2",
            "redis://ada:hunter2:host:6379",
        ] {
            let text = refusal(url);
            assert!(text.contains("redis_url"), "{text}");
            assert!(!text.contains("hun") && !text.contains("ter2"), "{text}");
        }
    }

    #[cfg(not(feature = "redis-tls"))]
    #[test]
    fn names_the_feature_that_tls_needs() {
        assert!(refusal("rediss://host").contains("redis-tls"));
    }
}
