use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::Standing;
use super::events::CustomerEvents;
use super::registry::{Awaited, Registry, Visit};

pin_project! {
    /// The response of a [`Segmented`](super::Segmented) service.
    pub struct ResponseFuture<S, ReqBody>
    where
        S: Service<Request<ReqBody>>,
    {
        #[pin]
        state: State<S, ReqBody>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, ReqBody>
    where
        S: Service<Request<ReqBody>>,
    {
        /// The store was asked, and the request waits with the service that is ready for it.
        ///
        /// Boxed, so that the future of a request that need not wait stays small: it is moved several times.
        Looking { looking: Option<Box<Looking<S, ReqBody>>> },
        Inner { #[pin] future: S::Future, visited: Option<Visited> },
    }
}

struct Looking<S, ReqBody> {
    pending: Awaited,
    service: S,
    request: Request<ReqBody>,
    visited: Visited,
}

/// A request of an identified customer, whose response is looked at.
pub(super) struct Visited {
    pub(super) visit: Visit,
    pub(super) registry: Arc<Registry>,
}

impl<S, ReqBody> ResponseFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    pub(super) fn inner(future: S::Future, visited: Option<Visited>) -> Self {
        Self {
            state: State::Inner { future, visited },
        }
    }

    pub(super) fn looking(
        pending: Awaited,
        service: S,
        request: Request<ReqBody>,
        visited: Visited,
    ) -> Self {
        let looking = Looking {
            pending,
            service,
            request,
            visited,
        };
        Self {
            state: State::Looking {
                looking: Some(Box::new(looking)),
            },
        }
    }
}

impl<S, ReqBody, ResBody> Future for ResponseFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Output = Result<Response<ResBody>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Inner { future, visited } => {
                    let response = ready!(future.poll(cx))?;
                    if let Some(Visited { visit, registry }) = visited.take() {
                        let events = response.extensions().get::<CustomerEvents>();
                        registry.heed(&visit, response.status(), events);
                    }
                    return Poll::Ready(Ok(response));
                }
                StateProj::Looking { looking } => {
                    let Some(waiting) = looking else {
                        // Polled again after it was done, which no caller may do.
                        return Poll::Pending;
                    };
                    let standing = ready!(waiting.pending.as_mut().poll(cx));
                    let Some(found) = looking.take() else {
                        return Poll::Pending;
                    };
                    found.enter(standing)
                }
            };
            state.set(next);
        }
    }
}

impl<S, ReqBody> Looking<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    fn enter(self, standing: Option<Standing>) -> State<S, ReqBody> {
        let Self {
            mut service,
            mut request,
            mut visited,
            ..
        } = self;
        visited.enter(standing.map(Standing::segment), false, &mut request);
        State::Inner {
            future: service.call(request),
            visited: Some(visited),
        }
    }
}
