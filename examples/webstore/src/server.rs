//! A listener that serves a router over HTTP/1.1, bounded and drained.
//!
//! `axum::serve` cannot bound connections, heads and their time, and closes idle connections the moment that it
//! is told to stop, when a request may already be on its way.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower_service::Service;

/// Connections at a time; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 4096;
/// The largest head of a request, in bytes; a larger one is answered 431.
const MAX_HEAD: usize = 64 * 1024;
/// How long a connection may take to send a head, the wait for its next request included.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a draining server leaves idle connections open, for requests that were sent before the client can have
/// heard of the drain.
const IDLE_GRACE: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Serving,
    /// Each connection closes with its next response, which says so.
    LastResponses,
    /// Connections without a request close.
    Closing,
}

/// Serves until `stop` completes, then drains: accepts no more, answers the requests in flight, and returns once the
/// last connection is closed.
///
/// Each request carries its peer as axum's `ConnectInfo<SocketAddr>`. Drop the future to give a drain up.
///
/// # Errors
/// When the listener's socket cannot be handed over for the drain.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let (phase, _) = watch::channel(Phase::Serving);
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let spawn = |(stream, peer), permit| {
        let connection = Connection {
            peer,
            router: router.clone(),
            phase: phase.subscribe(),
            permit,
        };
        tokio::spawn(connection.serve(stream));
    };

    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            (accepted, permit) = accept(&listener, &connections) => spawn(accepted, permit),
        }
    }
    // Clients whose connection the kernel has already completed count as accepted; dropping the listener would reset
    // them.
    let listener = listener.into_std()?;
    while let Ok((stream, peer)) = listener.accept()
        && let Ok(permit) = Arc::clone(&connections).try_acquire_owned()
    {
        stream.set_nonblocking(true)?;
        spawn((TcpStream::from_std(stream)?, peer), permit);
    }
    drop(listener);

    phase.send_replace(Phase::LastResponses);
    // Each connection holds a receiver to its end.
    if tokio::time::timeout(IDLE_GRACE, phase.closed())
        .await
        .is_err()
    {
        phase.send_replace(Phase::Closing);
        phase.closed().await;
    }
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> ((TcpStream, SocketAddr), OwnedSemaphorePermit) {
    loop {
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(connections).acquire_owned().await else {
            std::future::pending().await
        };
        match listener.accept().await {
            Ok(accepted) => return (accepted, permit),
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                // Most likely out of file descriptors: accepting again at once would only burn a core.
                tracing::error!(
                    target: "webstore",
                    event = "accept_failed",
                    %error,
                    "cannot accept connections"
                );
                drop(permit);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

struct Connection {
    peer: SocketAddr,
    router: Router,
    phase: watch::Receiver<Phase>,
    permit: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve(self, stream: TcpStream) {
        let Self {
            peer,
            router,
            mut phase,
            permit,
        } = self;
        // Without it a response would wait for the acknowledgement of the one before (Nagle's algorithm).
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
        let answering = &phase.clone();
        let service = service_fn(move |request| {
            let response = respond(router.clone(), peer, request);
            async move {
                let mut response = response.await?;
                if *answering.borrow() != Phase::Serving {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(header::CONNECTION, close);
                }
                Ok::<_, Infallible>(response)
            }
        });
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .max_buf_size(MAX_HEAD)
                .serve_connection(TokioIo::new(stream), service)
        );
        let closing = async {
            phase
                .wait_for(|phase| *phase == Phase::Closing)
                .await
                .is_ok()
        };
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            _ = closing => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            // A client that broke off or talked nonsense: its doing, not the operator's concern.
            tracing::debug!(%error, "connection ended early");
        }
        drop(permit);
    }
}

async fn respond(
    mut router: Router,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    poll_fn(|cx| Service::<Request<Body>>::poll_ready(&mut router, cx)).await?;
    router.call(request).await
}
