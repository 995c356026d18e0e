use std::net::SocketAddr;

/// The connected peer of a request: an extension that a plain hyper server inserts for each connection.
///
/// It beats axum's `ConnectInfo`, so that a listener that knows better (the PROXY protocol, a Unix socket
/// behind a local proxy) can say who its peer is.
///
/// ```
/// use palisade::client::Peer;
///
/// # fn handle(stream: &std::net::TcpStream, request: &mut http::Request<()>) -> std::io::Result<()> {
/// request.extensions_mut().insert(Peer(stream.peer_addr()?));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer(pub SocketAddr);
