//! A request that waits for the store keeps the service that was ready for it.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use super::*;

/// Counts how often it was polled ready and called, each clone for itself.
struct Ticketed {
    ready: bool,
    called: Arc<Mutex<u32>>,
}

impl Clone for Ticketed {
    fn clone(&self) -> Self {
        Self {
            ready: false,
            called: Arc::clone(&self.called),
        }
    }
}

impl Service<Request<()>> for Ticketed {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Full<Bytes>>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        assert!(
            std::mem::take(&mut self.ready),
            "called before it was ready"
        );
        *self.called.lock().unwrap() += 1;
        answer(request)
    }
}

#[tokio::test]
async fn a_request_that_waits_goes_to_the_service_that_was_ready_for_it() {
    let (store, _, layer) = shared();
    let called = Arc::new(Mutex::new(0));
    let mut service = layer.layer(Ticketed {
        ready: false,
        called: Arc::clone(&called),
    });
    store.state().hangs = true;
    let mut waiting = Box::pin(service.ready().await.unwrap().call(request(1, 200)));
    let mut context = Context::from_waker(Waker::noop());
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    store.state().hangs = false;
    for (octet, calls) in [(2, 1), (3, 2)] {
        let response = service.ready().await.unwrap().call(request(octet, 200));
        assert_eq!(response.await.unwrap().status(), 200);
        assert_eq!(*called.lock().unwrap(), calls);
    }
    store.state().bans.insert(network(4).into(), MINUTE);
    for _ in 0..2 {
        let refused = service.ready().await.unwrap().call(request(4, 200)).await;
        assert_eq!(refused.unwrap().status(), 429);
    }
    assert_eq!(*called.lock().unwrap(), 2);
    drop(waiting);
}
