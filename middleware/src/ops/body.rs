use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::hub::Hub;
use super::line::Ticket;

/// The body of the live page's answers: a text, or the stream of events.
pub struct OpsBody(Inner);

enum Inner {
    Text(Bytes),
    Stream(Box<Stream>),
}

/// One reader of the events.
struct Stream {
    hub: Arc<Hub>,
    ticket: Ticket,
    hello: Option<Bytes>,
    /// Of the service that answered.
    closed: Arc<AtomicBool>,
}

impl OpsBody {
    pub(super) fn text(text: Bytes) -> Self {
        Self(Inner::Text(text))
    }

    /// The events from now on, if there is room for one more reader.
    pub(super) fn events(hub: &Arc<Hub>, closed: &Arc<AtomicBool>) -> Option<Self> {
        let mut stream = Stream {
            ticket: hub.line.join()?,
            hub: Arc::clone(hub),
            hello: None,
            closed: Arc::clone(closed),
        };
        // From here on the place is left on every path.
        stream.hello = Some(hub.hello());
        hub.panels().iter().for_each(|panel| panel.refresh());
        Some(Self(Inner::Stream(Box::new(stream))))
    }

    /// Whether it lasts as long as its client reads it.
    #[cfg_attr(not(feature = "otel"), allow(dead_code))]
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self.0, Inner::Stream(_))
    }
}

impl Body for OpsBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = match &mut self.0 {
            Inner::Text(text) if text.is_empty() => None,
            Inner::Text(text) => Some(std::mem::take(text)),
            Inner::Stream(stream) => {
                stream.hub.line.attend(&stream.ticket, cx);
                // Looked at after the waker was left, so that no end is missed.
                if stream.closed.load(Ordering::Acquire) {
                    return Poll::Ready(None);
                }
                match stream.hello.take() {
                    Some(hello) => Some(hello),
                    None => std::task::ready!(stream.hub.line.poll(&mut stream.ticket)),
                }
            }
        };
        Poll::Ready(data.map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, Inner::Text(text) if text.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Text(text) => SizeHint::with_exact(text.len() as u64),
            Inner::Stream(_) => SizeHint::default(),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.hub.line.leave(&self.ticket);
    }
}

impl fmt::Debug for OpsBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Inner::Text(_) => "OpsBody(text)",
            Inner::Stream(_) => "OpsBody(events)",
        })
    }
}
