//! A Redis server at some distance: a proxy whose answers are late, or held back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use crate::redis::RedisServer;

/// Forwards to a server, each direction late by `delay`.
pub async fn distant(server: &RedisServer, delay: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let port = server.port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::spawn(carry(from_client, to_server, delay));
            tokio::spawn(carry(from_server, to_client, delay));
        }
    });
    url
}

/// Forwards to a server, and holds its answers back while it is told to.
pub struct Held {
    url: String,
    asked: Arc<AtomicUsize>,
    holds: watch::Sender<bool>,
}

impl Held {
    /// A proxy before a server, which lets every answer through until [`hold`](Self::hold).
    pub async fn before(server: &RedisServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let port = server.port();
        let asked = Arc::<AtomicUsize>::default();
        let (holds, held) = watch::channel(false);
        let counted = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                let (counted, mut held) = (Arc::clone(&counted), held.clone());
                tokio::spawn(async move {
                    let mut bytes = vec![0; 65_536];
                    while let Ok(read @ 1..) = from_client.read(&mut bytes).await {
                        counted.fetch_add(read, Ordering::Relaxed);
                        if to_server.write_all(&bytes[..read]).await.is_err() {
                            return;
                        }
                    }
                });
                tokio::spawn(async move {
                    let mut bytes = vec![0; 65_536];
                    while let Ok(read @ 1..) = from_server.read(&mut bytes).await {
                        let let_through = held.wait_for(|holds| !holds).await.is_ok();
                        if !let_through || to_client.write_all(&bytes[..read]).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { url, asked, holds }
    }

    /// `redis://127.0.0.1:<port>`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The bytes that clients have sent so far.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// Holds answers back from now on.
    pub fn hold(&self) {
        self.holds.send_replace(true);
    }

    /// Lets the answers through again, also those that were held back.
    pub fn let_through(&self) {
        self.holds.send_replace(false);
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) {
    let (queue, mut late) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    tokio::spawn(async move {
        while let Some((at, bytes)) = late.recv().await {
            tokio::time::sleep_until((at + delay).into()).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    let mut bytes = vec![0; 65_536];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        let _ = queue.send((Instant::now(), bytes[..read].to_vec()));
    }
}
