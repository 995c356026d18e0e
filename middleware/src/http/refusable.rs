//! The future of a layer that refuses at once or not at all.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

pin_project! {
    /// The response of a service that a request may not reach: the service's own, or a refusal.
    #[project = Projected]
    #[must_use = "futures do nothing unless polled"]
    pub enum Refusable<F, R> {
        #[doc(hidden)]
        Inner { #[pin] future: F },
        #[doc(hidden)]
        Refused { response: Option<R> },
    }
}

impl<F, R, E> Future for Refusable<F, R>
where
    F: Future<Output = Result<R, E>>,
{
    type Output = Result<R, E>;

    /// A caller must not poll it again after a refusal; it then stays pending.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Projected::Inner { future } => future.poll(cx),
            Projected::Refused { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(response)),
                None => Poll::Pending,
            },
        }
    }
}
