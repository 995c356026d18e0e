use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;

use super::link::{Link, UnderWay};

/// The most that is handed to HTTP/2 at a time, so that each handing over shows that the peer took the one before.
const PIECE: usize = 16 * 1024;

/// What has to come of a body of HTTP/1.1 within a stall.
const LEAST: usize = 1024;

/// The body of a request, as it arrives.
///
/// A peer that sends less than 1 KiB of it (of HTTP/2: nothing) while the service waits loses its connection after the
/// [stall](super::Server::stall).
pub struct RequestBody {
    inner: Incoming,
    link: Arc<Link>,
    /// Since when the service waits for more.
    began: Option<u64>,
    /// How long it has waited since a piece had come, and how much has come since.
    waited: u64,
    came: usize,
    piece: usize,
}

impl RequestBody {
    pub(super) fn new(inner: Incoming, http2: bool, link: Arc<Link>) -> Self {
        // A stream of HTTP/2 may live long on small messages.
        let piece = if http2 { 1 } else { LEAST };
        Self {
            inner,
            link,
            began: None,
            waited: 0,
            came: 0,
            piece,
        }
    }

    fn stop_waiting(&mut self) {
        if let Some(began) = self.began.take() {
            let now = self.link.now();
            self.waited += now.saturating_sub(began);
            self.link.bodies.end(now);
        }
    }

    /// So much came: whoever sends a byte at a time is waited for as one who sends nothing.
    fn take(&mut self, bytes: usize) {
        self.came += bytes;
        if self.came >= self.piece {
            (self.came, self.waited) = (0, 0);
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        match &polled {
            Poll::Pending if self.began.is_none() => {
                let now = self.link.now();
                self.began = Some(now);
                self.link.bodies.begin(now.saturating_sub(self.waited));
            }
            Poll::Pending => {}
            Poll::Ready(frame) => {
                self.stop_waiting();
                if let Some(Ok(frame)) = frame {
                    self.take(frame.data_ref().map_or(0, Bytes::len));
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.stop_waiting();
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RequestBody").field(&self.inner).finish()
    }
}

pin_project! {
    /// The body of an answer on its way.
    pub(super) struct ResponseBody<B> {
        #[pin]
        inner: Option<B>,
        // What was not handed over yet of a frame, or the whole of a text.
        rest: Bytes,
        // HTTP/2 alone: its windows are not the socket's.
        windows: Option<Windows>,
        under_way: Option<UnderWay>,
    }
}

impl<B> ResponseBody<B> {
    pub(super) fn new(inner: B, http2: bool, under_way: UnderWay) -> Self {
        let link = under_way.link();
        Self {
            inner: Some(inner),
            rest: Bytes::new(),
            windows: http2.then(|| Windows {
                link: Arc::clone(link),
                waits: false,
            }),
            under_way: Some(under_way),
        }
    }

    pub(super) fn text(text: &'static str, under_way: UnderWay) -> Self {
        Self {
            inner: None,
            rest: Bytes::from_static(text.as_bytes()),
            windows: None,
            under_way: Some(under_way),
        }
    }
}

/// Whether something of an answer was handed over and nothing more was asked for: its window is closed.
struct Windows {
    link: Arc<Link>,
    waits: bool,
}

impl Windows {
    fn wait(&mut self, waits: bool) {
        if waits != std::mem::replace(&mut self.waits, waits) {
            let now = self.link.now();
            if waits {
                self.link.answers.begin(now);
            } else {
                self.link.answers.end(now);
            }
        }
    }
}

impl Drop for Windows {
    fn drop(&mut self) {
        self.wait(false);
    }
}

impl<B: Body<Data = Bytes>> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        if let Some(windows) = this.windows {
            windows.wait(false);
        }
        if this.rest.is_empty() {
            let frame = match this.inner.as_mut().as_pin_mut() {
                Some(inner) => ready!(inner.poll_frame(cx)),
                None => None,
            };
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => *this.rest = data,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    *this.under_way = None;
                    return Poll::Ready(None);
                }
            }
        }
        let Some(windows) = this.windows else {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(this.rest)))));
        };
        let piece = this.rest.split_to(this.rest.len().min(PIECE));
        windows.wait(true);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let inner = self
            .inner
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(rest));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

impl<B> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").finish_non_exhaustive()
    }
}
