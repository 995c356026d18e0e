use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::events::{Next, Watch};

/// The body of an answer of [`SessionsApi`](super::SessionsApi): a text, or the stream of events.
pub struct SessionsBody(Inner);

enum Inner {
    /// Empty once it was read.
    Text(Bytes),
    /// What it holds (a place, the store's answer under way) goes with it.
    Stream(Next),
    Done,
}

impl SessionsBody {
    pub(super) fn text(text: Bytes) -> Self {
        Self(Inner::Text(text))
    }

    pub(super) fn events(watch: Watch) -> Self {
        Self(Inner::Stream(Box::pin(watch.next())))
    }
}

impl Body for SessionsBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = match &mut self.0 {
            Inner::Done => None,
            Inner::Text(text) if text.is_empty() => None,
            Inner::Text(text) => Some(std::mem::take(text)),
            Inner::Stream(next) => match ready!(next.as_mut().poll(cx)) {
                Some((data, watch)) => {
                    self.0 = match watch {
                        Some(watch) => Inner::Stream(Box::pin(watch.next())),
                        None => Inner::Done,
                    };
                    Some(data)
                }
                None => {
                    self.0 = Inner::Done;
                    None
                }
            },
        };
        Poll::Ready(data.map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Text(text) => text.is_empty(),
            Inner::Stream(_) => false,
            Inner::Done => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Text(text) => SizeHint::with_exact(text.len() as u64),
            Inner::Stream(_) => SizeHint::default(),
            Inner::Done => SizeHint::with_exact(0),
        }
    }
}

impl fmt::Debug for SessionsBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Inner::Text(_) => "SessionsBody(text)",
            Inner::Stream(_) => "SessionsBody(events)",
            Inner::Done => "SessionsBody(done)",
        })
    }
}
