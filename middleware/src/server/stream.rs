use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::link::Link;
use super::places::Place;

/// What the kernel takes of an answer before it has been sent: then it takes more only as the peer does.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT: u32 = 32 * 1024;

/// A connection's socket. It tells the link when the peer takes nothing, and holds the place to its end, which an upgrade puts
/// off.
#[derive(Debug)]
pub(super) struct Stream {
    tcp: TcpStream,
    link: Arc<Link>,
    /// Whether the peer's window is closed, as far as the kernel told.
    is_blocked: bool,
    /// Runs while an upgraded connection is blocked.
    late: Option<Pin<Box<Sleep>>>,
    stall: Duration,
    _place: Place,
}

impl Stream {
    pub(super) fn new(tcp: TcpStream, link: Arc<Link>, stall: Duration, place: Place) -> Self {
        // Without it a response would wait for the acknowledgement of the one before (Nagle's algorithm).
        if let Err(error) = tcp.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Err(error) = socket2::SockRef::from(&tcp).set_tcp_notsent_lowat(UNSENT) {
            tracing::debug!(%error, "no TCP_NOTSENT_LOWAT");
        }
        Self {
            tcp,
            link,
            is_blocked: false,
            late: None,
            stall,
            _place: place,
        }
    }

    /// Heeds what became of a write.
    fn wrote(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(_) if self.is_blocked => {
                self.is_blocked = false;
                self.late = None;
                self.link.taken();
            }
            Poll::Pending if !self.is_blocked => {
                self.is_blocked = true;
                self.link.socket.begin(self.link.now());
            }
            _ => {}
        }
        if written.is_pending() && self.link.is_upgraded() {
            let stall = self.stall;
            let late = self
                .late
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(stall)));
            if late.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        written
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write(cx, bytes);
        self.wrote(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write_vectored(cx, bytes);
        self.wrote(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
