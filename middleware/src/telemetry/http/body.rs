use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::measure::{End, Measure};

pin_project! {
    /// A response's body that ends the request's measure when it ends, fails or is dropped.
    ///
    /// Frames, trailers and the size hint pass through unchanged.
    #[derive(Debug)]
    pub struct MeasuredBody<B> {
        #[pin]
        inner: B,
        measure: Option<Measure>,
        // Bytes until the length that the response announced: a server stops reading there.
        remaining: Option<u64>,
    }
}

impl<B: Body> MeasuredBody<B> {
    pub(super) fn new(inner: B, headers: &HeaderMap, measure: Measure) -> Self {
        let remaining = announced_length(headers).or_else(|| inner.size_hint().exact());
        let mut body = Self {
            inner,
            measure: Some(measure),
            remaining,
        };
        if body.remaining == Some(0) || body.inner.is_end_stream() {
            finish(&mut body.measure, End::Complete);
        }
        body
    }

    /// A body whose measure has ended: the server will drop it unread.
    pub(super) fn unread(inner: B) -> Self {
        Self {
            inner,
            measure: None,
            remaining: None,
        }
    }
}

fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn finish(measure: &mut Option<Measure>, end: End) {
    if let Some(measure) = measure.take() {
        measure.finish(end);
    }
}

impl<B: Body> Body for MeasuredBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let Some(measure) = this.measure else {
            return this.inner.poll_frame(cx);
        };
        let frame = ready!(measure.run(|| this.inner.as_mut().poll_frame(cx)));
        let end = match &frame {
            None => Some(End::Complete),
            Some(Err(_)) => Some(End::BodyError),
            // Servers drop a body without asking again once it says that it ended, has given the announced
            // length, or has given its trailers.
            Some(Ok(frame)) => {
                let read = frame.data_ref().map_or(0, Buf::remaining) as u64;
                *this.remaining = this.remaining.map(|bytes| bytes.saturating_sub(read));
                let ended = frame.is_trailers()
                    || *this.remaining == Some(0)
                    || this.inner.as_ref().is_end_stream();
                ended.then_some(End::Complete)
            }
        };
        if let Some(end) = end {
            finish(this.measure, end);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
