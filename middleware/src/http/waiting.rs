//! The future of a layer whose request may have to wait for a store before the service inside is called.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

pin_project! {
    #[project = WaitingProj]
    pub(crate) enum Waiting<Q, F, A, R> {
        /// A store was asked, and the request waits with the service that is ready for it.
        ///
        /// Boxed, so that the future of a request that need not wait stays small: it is moved several times.
        Asked { question: Option<Box<Q>> },
        Inner { #[pin] future: F, after: Option<A> },
        Refused { response: Option<R> },
    }
}

/// A waiting request: the answers that it waits for, the request itself and its service.
pub(crate) trait Ask {
    type Answer;
    /// The future of the service inside.
    type Future;
    type After;
    type Response;

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Self::Answer>;

    /// Calls the service inside, or refuses.
    fn resume(self, answer: Self::Answer) -> Resumed<Self::Future, Self::After, Self::Response>;
}

/// What a request does after its answer.
pub(crate) enum Resumed<F, A, R> {
    Pass(F, Option<A>),
    Refuse(R),
}

/// A layer's work on the response of the service inside.
pub(crate) trait After<R> {
    fn heed(self, response: &mut R);
}

impl<R> After<R> for () {
    fn heed(self, _: &mut R) {}
}

impl<Q, F, A, R> Waiting<Q, F, A, R> {
    pub(crate) fn asked(question: Q) -> Self {
        Self::Asked {
            question: Some(Box::new(question)),
        }
    }

    pub(crate) fn inner(future: F, after: Option<A>) -> Self {
        Self::Inner { future, after }
    }

    pub(crate) fn refused(response: R) -> Self {
        Self::Refused {
            response: Some(response),
        }
    }
}

/// The response of the service inside, worked on where it lies: it is large, and passes every layer.
fn heeded<F, A, R, E>(
    future: Pin<&mut F>,
    after: &mut Option<A>,
    cx: &mut Context<'_>,
) -> Poll<F::Output>
where
    F: Future<Output = Result<R, E>>,
    A: After<R>,
{
    let mut polled = future.poll(cx);
    if let Poll::Ready(Ok(response)) = &mut polled
        && let Some(after) = after.take()
    {
        after.heed(response);
    }
    polled
}

impl<Q, F, A, R, E> Future for Waiting<Q, F, A, R>
where
    Q: Ask<Future = F, After = A, Response = R>,
    F: Future<Output = Result<R, E>>,
    A: After<R>,
{
    type Output = F::Output;

    /// A caller must not poll it again after it was done; it then stays pending.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        loop {
            let resumed = match self.as_mut().project() {
                WaitingProj::Inner { future, after } => {
                    return heeded(future, after, cx);
                }
                WaitingProj::Refused { response } => {
                    return match response.take() {
                        Some(response) => Poll::Ready(Ok(response)),
                        None => Poll::Pending,
                    };
                }
                WaitingProj::Asked { question } => {
                    let Some(waiting) = question else {
                        return Poll::Pending;
                    };
                    let answer = ready!(waiting.poll_answer(cx));
                    let Some(answered) = question.take() else {
                        return Poll::Pending;
                    };
                    answered.resume(answer)
                }
            };
            self.set(match resumed {
                Resumed::Pass(future, after) => Self::inner(future, after),
                Resumed::Refuse(response) => Self::refused(response),
            });
        }
    }
}
