use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tower_service::Service;

use super::body::RequestBody;
use super::connection::{Connection, Phase, builder};
use super::link::Link;
use super::places::{Offer, Place, Places};
use super::settings::Server;
use crate::log::Fallback;

/// How long idle connections are left open at the end.
const IDLE_GRACE: Duration = Duration::from_millis(500);
/// Before accepting again after an error such as too many open files: the first time, and at most.
const PAUSES: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// Connections whose answers took longer than the [drain](Server::drain) and were cut.
    pub cut: usize,
}

pub(super) async fn serve<S, B>(
    server: Server,
    listener: TcpListener,
    service: S,
    stop: impl Future<Output = ()>,
) -> Drained
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let clock = Instant::now();
    let places = Places::new(
        server.connections,
        server.each(),
        server.exempt.clone(),
        server.limits.clone(),
        Arc::clone(&server.counts),
    );
    let (phase, _) = watch::channel(Phase::Serving);
    let builder = Arc::new(builder(server.protocol));
    let mut connections = JoinSet::new();
    let spawn = |connections: &mut JoinSet<()>, (stream, peer, link, place): Accepted| {
        let connection = Connection {
            peer,
            link,
            limits: server.limits.clone(),
            counts: Arc::clone(&server.counts),
            phase: phase.subscribe(),
        };
        connections.spawn(connection.serve(Arc::clone(&builder), stream, place, service.clone()));
        // Ended ones are forgotten, so that the set stays as small as the number of places.
        while connections.try_join_next().is_some() {}
    };

    let mut stop = pin!(stop);
    let listening = Listening {
        clock,
        places: &places,
        errors: Fallback::default(),
    };
    loop {
        tokio::select! {
            () = &mut stop => break,
            accepted = listening.accept(&listener) => spawn(&mut connections, accepted),
        }
    }
    // Clients whose connection the kernel has already completed count as accepted; dropping the listener would reset them.
    for (stream, peer) in completed(listener) {
        let link = Link::new(clock);
        if let Offer::Place(place) = places.offer(peer.ip(), &link) {
            spawn(&mut connections, (stream, peer, link, place));
        }
    }

    let stopped = Link::new(clock).now();
    phase.send_replace(Phase::LastResponses(stopped));
    let deadline = Instant::now() + server.drain;
    let drained = async {
        if !server.protocol.one_request {
            let ended = async { while connections.join_next().await.is_some() {} };
            let _ = tokio::time::timeout(IDLE_GRACE, ended).await;
        }
        phase.send_replace(Phase::Closing(stopped));
        while connections.join_next().await.is_some() {}
    };
    let _ = tokio::time::timeout_at(deadline, drained).await;
    Drained {
        cut: connections.len(),
    }
}

type Accepted = (TcpStream, SocketAddr, Arc<Link>, Place);

struct Listening<'a> {
    clock: Instant,
    places: &'a Arc<Places>,
    errors: Fallback,
}

impl Listening<'_> {
    /// The next client, with a place.
    async fn accept(&self, listener: &TcpListener) -> Accepted {
        let [mut pause, longest] = PAUSES;
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) if is_the_clients(&error) => continue,
                Err(error) => {
                    self.fail(&error);
                    // Most likely out of file descriptors: to accept again at once would only burn a core.
                    self.places.make_room(Link::new(self.clock).now());
                    tokio::time::sleep(pause).await;
                    pause = longest.min(pause * 2);
                    continue;
                }
            };
            if self.errors.works() {
                tracing::info!(
                    target: "palisade::server",
                    event = "accept_restored",
                    "the listener accepts connections again"
                );
            }
            let link = Link::new(self.clock);
            loop {
                match self.places.offer(peer.ip(), &link) {
                    Offer::Place(place) => return (stream, peer, link, place),
                    Offer::Refused => break,
                    Offer::Full => self.places.change().await,
                }
            }
        }
    }

    fn fail(&self, error: &io::Error) {
        if self.errors.fails() {
            tracing::error!(
                target: "palisade::server",
                event = "accept_failed",
                %error,
                "the listener cannot accept connections"
            );
        }
    }
}

/// The connections that wait in the kernel's queue.
fn completed(listener: TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    let Ok(listener) = listener.into_std() else {
        return Vec::new();
    };
    let next = || {
        let (stream, peer) = listener.accept().ok()?;
        stream.set_nonblocking(true).ok()?;
        Some((TcpStream::from_std(stream).ok()?, peer))
    };
    std::iter::from_fn(next).collect()
}

fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}
