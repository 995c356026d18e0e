//! A Redis server at some distance: a proxy that holds its answers back.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::redis::RedisServer;

/// While no question comes for so long, all that are asked together have come.
const QUIET: Duration = Duration::from_millis(500);
/// Long against what a busy machine takes for an answer, and half of the longest deadline.
const ANSWER: Duration = Duration::from_secs(5);
/// No answer is held.
const NEVER: u64 = u64::MAX;

/// A server whose answers are held back while a test says so.
pub struct Distance {
    url: String,
    asked: Arc<AtomicUsize>,
    holds: AtomicU64,
    /// An answer that came in a period waits for the next one.
    period: watch::Sender<u64>,
}

impl Distance {
    /// A proxy before a server, which lets every answer through until [`hold`](Self::hold).
    pub async fn before(server: &RedisServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let port = server.port();
        let asked = Arc::<AtomicUsize>::default();
        let (period, periods) = watch::channel(NEVER);
        let counted = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(carry_questions(
                    from_client,
                    to_server,
                    Arc::clone(&counted),
                ));
                tokio::spawn(carry_answers(from_server, to_client, periods.clone()));
            }
        });
        Self {
            url,
            asked,
            holds: AtomicU64::new(0),
            period,
        }
    }

    /// `redis://127.0.0.1:<port>`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The bytes that clients have sent so far.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// Holds back the answers that come from now on, and lets those through that were held before.
    pub fn hold(&self) {
        let period = self.holds.fetch_add(1, Ordering::Relaxed);
        self.period.send_replace(period);
    }

    /// Lets every answer through.
    pub fn let_through(&self) {
        self.period.send_replace(NEVER);
    }

    /// Runs what asks the server, all of it at once.
    ///
    /// # Panics
    /// It asks nothing, or something more once it was answered.
    pub async fn in_one_round_trip<T>(&self, asking: impl Future<Output = T>) -> T {
        self.hold();
        let before = self.asked();
        let mut asking = pin!(asking);
        let mut seen = before;
        loop {
            assert!(
                timeout(QUIET, &mut asking).await.is_err(),
                "it ended without an answer"
            );
            let asked = self.asked();
            if asked > before && asked == seen {
                break;
            }
            seen = asked;
        }
        self.hold();
        let answered = timeout(ANSWER, asking).await;
        let answered = answered.expect("it waits for another answer");
        self.let_through();
        answered
    }
}

async fn carry_questions(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, asked: Arc<AtomicUsize>) {
    let mut bytes = vec![0; 65_536];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        asked.fetch_add(read, Ordering::Relaxed);
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}

async fn carry_answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut periods: watch::Receiver<u64>,
) {
    let mut bytes = vec![0; 65_536];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        let came = *periods.borrow();
        let is_let_through = |period: &u64| came == NEVER || *period == NEVER || *period > came;
        if periods.wait_for(is_let_through).await.is_err()
            || to.write_all(&bytes[..read]).await.is_err()
        {
            return;
        }
    }
}
