//! The connections: one multiplexed for the requests, a small pool for probes, sweeps and loads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool_redis::{Manager, Pool, PoolError, Runtime};
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, PushInfo, PushKind, RedisError, ServerErrorKind,
    Value,
};
#[cfg(feature = "redis-tls")]
use rustls::crypto::CryptoProvider;

use super::address;
use super::call::Call;
use super::error::Failure;
use super::secrets::Secrets;
use super::server::Server;
use super::words::{self, During};
use crate::ConfigError;

/// A connection that stays idle is asked this often whether its peer is still there.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(15);
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
    secrets: Secrets,
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
        let (info, secrets) = address::read(url)?;
        let refused = || ConfigError::without_value("redis_url", "a URL that a connection can use");
        let client = Client::open(info.clone()).map_err(|_| refused())?;
        let manager = Manager::new_with_config(info, connection_config()).map_err(|_| refused())?;
        let exclusive = Pool::builder(manager)
            .max_size(EXCLUSIVE)
            .wait_timeout(Some(CONNECT_TIMEOUT))
            .create_timeout(Some(CONNECT_TIMEOUT))
            .recycle_timeout(Some(CONNECT_TIMEOUT))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|_| refused())?;
        Ok(Arc::new(Self {
            client,
            shared: Mutex::new(None),
            turn: tokio::sync::Mutex::default(),
            exclusive,
            secrets,
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
        call.run(connection).await.map_err(|error| {
            if ends_connection(&error) {
                self.forget();
            }
            self.failure(&error, call)
        })
    }

    /// Runs a script on a connection of its own to a server that can decide.
    pub(super) async fn call_exclusively(
        &self,
        call: &Call,
        deadline: Duration,
    ) -> Result<Value, Failure> {
        let ask = async |connection: &mut MultiplexedConnection| {
            self.greet(connection).await?.fit()?;
            let answer = call.run(connection.clone()).await;
            answer.map_err(|error| self.failure(&error, call))
        };
        self.exclusively(deadline, ask).await
    }

    /// Asks on a connection of its own, which goes back to the others only after an answer in time.
    pub(super) async fn exclusively<T>(
        &self,
        deadline: Duration,
        ask: impl AsyncFnOnce(&mut MultiplexedConnection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.choose_tls();
        let connection = self.exclusive.get().await;
        let mut connection = connection.map_err(|error| self.no_connection(error))?;
        let answer = tokio::time::timeout(deadline, ask(connection.as_mut())).await;
        if !matches!(answer, Ok(Ok(_))) {
            // Not back into the pool: the next probe starts from nothing.
            drop(deadpool_redis::Connection::take(connection));
        }
        answer.map_err(|_| Failure::Timeout)?
    }

    /// What the server says of itself; nothing where it does not answer that, as behind some proxies.
    ///
    /// # Errors
    /// A connection that failed.
    pub(super) async fn greet(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> Result<Server, Failure> {
        match Server::greet(connection).await {
            Err(error) if ends_connection(&error) => {
                Err(words::failure(&error, During::Call(None), &self.secrets))
            }
            greeted => Ok(greeted.unwrap_or_default()),
        }
    }

    pub(super) fn address(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }

    pub(super) fn database(&self) -> i64 {
        self.client.get_connection_info().redis_settings().db()
    }

    pub(super) fn is_tls(&self) -> bool {
        address::is_tls(self.client.get_connection_info())
    }

    pub(super) fn failure(&self, error: &RedisError, call: &Call) -> Failure {
        words::failure(error, During::Call(call.text()), &self.secrets)
    }

    fn no_connection(&self, error: PoolError) -> Failure {
        match error {
            PoolError::Backend(error) => words::failure(&error, During::Connecting, &self.secrets),
            PoolError::Timeout(_) => Failure::Timeout,
            _ => Failure::Abandoned,
        }
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
            let mut connection = this
                .client
                .get_multiplexed_async_connection_with_config(&config)
                .await
                .map_err(|error| words::failure(&error, During::Connecting, &this.secrets))?;
            this.greet(&mut connection).await?.usable()?;
            *this.shared.lock().unwrap_or_else(PoisonError::into_inner) = Some(Shared {
                connection: connection.clone(),
                closed,
            });
            Ok(connection)
        });
        connecting.await.map_err(|_| Failure::Abandoned)?
    }

    /// Has rustls use ring unless the process chose a provider. With none, redis-rs would panic where two are compiled
    /// in: ours, and the aws-lc-rs of an HTTP client.
    fn choose_tls(&self) {
        #[cfg(feature = "redis-tls")]
        if self.is_tls() && CryptoProvider::get_default().is_none() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connects_to_nothing_when_built() {
        for url in ["redis://127.0.0.1:1", "unix:///run/redis.sock"] {
            assert!(Connections::new(url).is_ok(), "{url}");
        }
    }
}
