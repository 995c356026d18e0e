//! The body of a response that passed a layer: the service's own, or a refusal. A layer takes any inner
//! [`http_body::Body`] whose data is [`Bytes`], with any error: axum's, tonic's, hyper's `Incoming`, a box, a stream. It
//! answers with a [`Body`] around it.
//!
//! ```
//! use std::convert::Infallible;
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Full};
//! use palisade::body::Body;
//! use palisade::stack::Stack;
//! use tower::{Layer, ServiceExt};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let hello = tower::service_fn(async |_: Request<()>| {
//!     Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello")))
//! });
//! let service = Stack::builder().build()?.layer(hello);
//! let response: Response<Body<Full<Bytes>>> = service.oneshot(Request::new(())).await.unwrap();
//! assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
//! # Ok::<(), palisade::ConfigError>(())
//! # }).unwrap();
//! ```
//!
//! - Frames, trailers, errors and the size hint pass unchanged. `Body` is `Send`, `Sync` and `Unpin` where the inner body is.
//! - Some layers may refuse, or need to know how a gRPC call ended, and answer with a `Body`: maintenance,
//!   suspicion, rate limits, the observers, HTTP metrics. The others leave the body as it is.
//! - A [`Stack`](crate::stack::Stack) wraps the service's body once, however many layers it has. Layers that are put
//!   together by hand wrap it once each.
//! - A refusal is a response, never an error. The error type of a layer is that of the service.
//!
//! # gRPC
//! A request is a gRPC call if its method is POST and its content type is `application/grpc` or starts with
//! `application/grpc+` or `application/grpc;`. The status of a call is a number from 0 to 16:
//!
//! | response | status |
//! |---|---|
//! | `grpc-status` in the head (a response of trailers only) or in the trailers | that number; 2 (unknown) if it is not one of 0 to 16 |
//! | an HTTP status other than 200, without `grpc-status` | what the [gRPC rules](https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md) make of it, such as 14 (unavailable) of 503 |
//! | a body that ends without `grpc-status`, that fails or panics | 2 (unknown) |
//! | a body or a call that is dropped before its end | 1 (cancelled) |
//!
//! Suspicion counts the status, and the HTTP metrics and the access log show it. A call ends when its body ends, so all three
//! learn of it then, and once.
//!
//! **gRPC-Web** (`application/grpc-web`, `application/grpc-web-text`) carries its trailers as the last bytes of the body,
//! which no layer reads. Its status is known if the head has it; otherwise the request is treated as one of plain HTTP. Put
//! tonic's `GrpcWebLayer` outside of the layers: they then see the gRPC call that it makes of the request.
//!
//! A refusal is in gRPC's terms for every request whose content type begins with `application/grpc`, gRPC-Web included.

mod observer;
mod wrap;

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::http::grpc;
use observer::Observers;
pub(crate) use observer::{End, ObserveBody};
pub use wrap::{Wrap, WrapFuture};

pin_project! {
    /// The service's body or a refusal; see the [module](self).
    ///
    /// `W` is what the outermost layer measures of it; nothing, unless that is the layer of the HTTP metrics.
    #[derive(Debug)]
    pub struct Body<B, W = Infallible> {
        #[pin]
        content: Content<B>,
        // Of a gRPC call alone, whoever waits for its status.
        calls: Option<Box<Observers>>,
        observer: Option<W>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = ContentProj]
    enum Content<B> {
        Inner { #[pin] body: B },
        // Empty once it was read.
        Refusal { text: Bytes },
    }
}

impl<B> Body<B> {
    pub(crate) fn new(body: B) -> Self {
        Self::of(Content::Inner { body })
    }

    pub(crate) fn refusal(text: Bytes) -> Self {
        Self::of(Content::Refusal { text })
    }

    fn of(content: Content<B>) -> Self {
        Self {
            content,
            calls: None,
            observer: None,
        }
    }

    /// Tells `observer`, which is the outermost, how the body ends; without one, nobody.
    pub(crate) fn observed<W>(self, observer: Option<W>) -> Body<B, W> {
        Body {
            content: self.content,
            calls: self.calls,
            observer,
        }
    }
}

/// Empty; what layers of others further out, such as a timeout, answer with.
impl<B, W> Default for Body<B, W> {
    fn default() -> Self {
        Body::refusal(Bytes::new()).observed(None)
    }
}

impl<B: http_body::Body<Data = Bytes>> Body<B> {
    /// Tells `observer` how the body of a gRPC call ends.
    pub(crate) fn observe_call(&mut self, mut observer: impl ObserveBody + Send + Sync + 'static) {
        if self.content.is_end_stream() {
            // A server drops it unread.
            observer.end(End::Complete(None));
        } else {
            self.calls.get_or_insert_default().push(Box::new(observer));
        }
    }
}

impl<B, W> http_body::Body for Body<B, W>
where
    B: http_body::Body<Data = Bytes>,
    W: ObserveBody,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        if this.calls.is_none() && this.observer.is_none() {
            return this.content.poll_frame(cx);
        }
        this.calls.polling(true);
        this.observer.polling(true);
        let frame = this.content.as_mut().poll_frame(cx);
        this.calls.polling(false);
        this.observer.polling(false);
        let frame = ready!(frame);
        let end = match &frame {
            None => Some(End::Complete(None)),
            Some(Err(_)) => Some(End::Failed),
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    // A server may stop where the announced length does.
                    let is_read = this.observer.read(data.len() as u64);
                    (is_read || this.content.is_end_stream()).then_some(End::Complete(None))
                } else {
                    let trailers = frame.trailers_ref();
                    trailers.map(|trailers| End::Complete(grpc::status(trailers)))
                }
            }
        };
        if let Some(end) = end {
            this.calls.end(end);
            this.observer.end(end);
            (*this.calls, *this.observer) = (None, None);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}

impl<B: http_body::Body<Data = Bytes>> Content<B> {
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project() {
            ContentProj::Inner { body } => body.poll_frame(cx),
            ContentProj::Refusal { text } if text.is_empty() => Poll::Ready(None),
            ContentProj::Refusal { text } => {
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(text)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Inner { body } => body.is_end_stream(),
            Self::Refusal { text } => text.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Inner { body } => body.size_hint(),
            Self::Refusal { text } => SizeHint::with_exact(text.len() as u64),
        }
    }
}
