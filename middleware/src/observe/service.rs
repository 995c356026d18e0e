use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Once;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use tower_service::Service;

use super::future::ResponseFuture;
use super::layer::Observers;
use super::open::Open;
use crate::body::Body;
use crate::http::grpc::Call;
use crate::model::{Client, Notes};

/// A service whose exchanges are observed; see [`ObserveLayer`](super::ObserveLayer).
#[derive(Clone)]
pub struct Observe<S> {
    inner: S,
    observers: Option<Observers>,
}

impl<S> Observe<S> {
    pub(super) fn new(inner: S, observers: Option<Observers>) -> Self {
        Self { inner, observers }
    }
}

impl<S, ReqBody, B> Service<Request<ReqBody>> for Observe<S>
where
    S: Service<Request<ReqBody>, Response = Response<Body<B>>>,
    B: http_body::Body<Data = Bytes>,
{
    type Response = Response<Body<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let Some(observers) = &self.observers else {
            return ResponseFuture::new(self.inner.call(request), None);
        };
        let client = request.extensions().get::<Client>().cloned();
        let client = client.unwrap_or_else(unidentified);
        let notes = Notes::default();
        request.extensions_mut().insert(notes.clone());
        let call = Call::of(&request);
        let mut open = Open::begin(observers, request.method().clone(), client, notes, call);
        let inner = &mut self.inner;
        let future = open.run(|| inner.call(request));
        ResponseFuture::new(future, Some(open))
    }
}

/// Without a client layer observers receive the exchange all the same, with an unknown client.
#[cold]
fn unidentified() -> Client {
    static WARNED: Once = Once::new();
    WARNED.call_once(|| {
        tracing::warn!(
            target: "palisade::observe",
            event = "observer_without_client",
            "observers cannot be told whose requests they are without a `Client` in the request's extensions; add \
             `IdentifyLayer` outside of `ObserveLayer`"
        );
    });
    Client::new(Ipv4Addr::UNSPECIFIED.into(), 64)
}

impl<S: fmt::Debug> fmt::Debug for Observe<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observe")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
