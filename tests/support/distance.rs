//! A Redis server at some distance: a proxy that holds questions back on their way to it.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::unix::OwnedReadHalf;
use tokio::net::{TcpStream, UnixListener};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::SOON;
use crate::redis::RedisServer;
use crate::time::{TURNS, standing_still};

/// Half of the longest deadline. Time stands still as long as the answers may come, so only a test that fails waits for it.
const ANSWER: Duration = Duration::from_secs(5);
/// No question is held.
const NEVER: u64 = u64::MAX;

/// A server that gets no questions while a test says so.
pub struct Distance {
    url: String,
    /// Holds the proxy's socket. Unlike TCP, that has a question at its other end as soon as it is written.
    _directory: TempDir,
    /// What clients have sent so far, over all connections.
    asked: Arc<Mutex<Vec<u8>>>,
    holds: AtomicU64,
    /// A question that came in a period waits for the next one.
    period: watch::Sender<u64>,
}

impl Distance {
    /// A proxy before a server, which lets every question through until [`hold`](Self::hold).
    pub async fn before(server: &RedisServer) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("redis");
        let listener = UnixListener::bind(&path).unwrap();
        let port = server.port();
        let asked = Arc::<Mutex<Vec<u8>>>::default();
        let (period, periods) = watch::channel(NEVER);
        let counted = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                server.set_nodelay(true).unwrap();
                let (from_client, mut to_client) = client.into_split();
                let (mut from_server, to_server) = server.into_split();
                let (come, coming) = mpsc::unbounded_channel();
                let counted = Arc::clone(&counted);
                tokio::spawn(take_questions(from_client, come, counted, periods.clone()));
                tokio::spawn(pass_questions(coming, to_server, periods.clone()));
                tokio::spawn(async move {
                    let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
                });
            }
        });
        Self {
            url: format!("unix://{}", path.display()),
            _directory: directory,
            asked,
            holds: AtomicU64::new(0),
            period,
        }
    }

    /// `unix:///<path>`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The bytes that clients have sent so far.
    pub fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// Waits until a client has sent `text`, in one piece, after the first `already` bytes of what clients sent.
    pub async fn asked_for(&self, text: &str, already: usize) {
        let is_asked = || {
            let asked = self.asked.lock().unwrap();
            let mut pieces = asked[already..].windows(text.len());
            pieces.any(|piece| piece == text.as_bytes())
        };
        let asked = async {
            while !is_asked() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let asked = timeout(SOON, asked).await;
        asked.unwrap_or_else(|_| panic!("nobody asked for {text:?}"));
    }

    /// Holds back the questions that come from now on, and lets those through that were held before.
    pub fn hold(&self) {
        let period = self.holds.fetch_add(1, Ordering::Relaxed);
        self.period.send_replace(period);
    }

    /// Lets every question through.
    pub fn let_through(&self) {
        self.period.send_replace(NEVER);
    }

    /// Runs what asks the server, all of it at once.
    ///
    /// # Panics
    /// It asks nothing, or something more once it was answered.
    pub async fn in_one_round_trip<T>(&self, asking: impl Future<Output = T>) -> T {
        let flavor = Handle::current().runtime_flavor();
        assert_eq!(
            flavor,
            RuntimeFlavor::CurrentThread,
            "other threads have turns of their own"
        );
        standing_still(self.once_answered(asking)).await
    }

    async fn once_answered<T>(&self, asking: impl Future<Output = T>) -> T {
        self.hold();
        let before = self.asked();
        let mut asking = pin!(asking);
        let (mut seen, mut quiet) = (before, 0);
        // A question takes a few turns, from its future to the client's task, through the socket and to the proxy.
        while quiet < TURNS {
            let polled = std::future::poll_fn(|cx| Poll::Ready(asking.as_mut().poll(cx))).await;
            assert!(polled.is_pending(), "it ended without an answer");
            // Until every task has run, and the sockets were looked at.
            tokio::task::yield_now().await;
            let asked = self.asked();
            quiet = if asked == seen { quiet + 1 } else { 0 };
            seen = asked;
        }
        assert!(seen > before, "it asks nothing");
        self.hold();
        let answered = timeout(ANSWER, asking).await;
        let answered = answered.expect("it waits for another answer");
        self.let_through();
        answered
    }
}

/// Takes questions, each with the period in which it came.
async fn take_questions(
    mut from: OwnedReadHalf,
    come: mpsc::UnboundedSender<(u64, Vec<u8>)>,
    asked: Arc<Mutex<Vec<u8>>>,
    periods: watch::Receiver<u64>,
) {
    let mut bytes = vec![0; 65_536];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        asked.lock().unwrap().extend_from_slice(&bytes[..read]);
        let period = *periods.borrow();
        if come.send((period, bytes[..read].to_vec())).is_err() {
            return;
        }
    }
}

async fn pass_questions(
    mut coming: mpsc::UnboundedReceiver<(u64, Vec<u8>)>,
    mut to: OwnedWriteHalf,
    mut periods: watch::Receiver<u64>,
) {
    while let Some((came, bytes)) = coming.recv().await {
        let is_let_through = |period: &u64| came == NEVER || *period == NEVER || *period > came;
        if periods.wait_for(is_let_through).await.is_err() || to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}
