use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project_lite::pin_project;

use super::recorder::{Recorder, Sender};
use crate::rate_limit::Rejected;

pin_project! {
    /// The response of a [`Suspicion`](super::Suspicion) service.
    pub struct ResponseFuture<F> {
        #[pin]
        future: F,
        watched: Option<Watched>,
    }
}

/// A request whose response is looked at.
pub(super) struct Watched {
    pub(super) sender: Sender,
    pub(super) recorder: Arc<Recorder>,
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(future: F, watched: Option<Watched>) -> Self {
        Self { future, watched }
    }
}

impl<F, ResBody, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.future.poll(cx))?;
        let status = response.status();
        let extensions = response.extensions();
        let login = this
            .watched
            .as_ref()
            .and_then(|watched| watched.recorder.logins.as_ref()?.told(extensions));
        if (status.is_client_error() || login.is_some())
            && extensions.get::<Rejected>().is_none()
            && let Some(Watched { sender, recorder }) = this.watched.take()
        {
            recorder.note(status, login, sender);
        }
        Poll::Ready(Ok(response))
    }
}
