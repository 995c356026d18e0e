//! One lookup for all requests of a customer that come at the same time (single flight).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::cache::{Found, Unknown};
use super::registry::Registry;
use super::{Record, Standing};
use crate::model::{Pending, StoreError, UserId};

/// The lookup that asks the store. However it ends, its followers learn of it.
pub(super) struct Leading {
    registry: Arc<Registry>,
    user: UserId,
    id: u64,
    tell: watch::Sender<Option<Found>>,
    landed: bool,
}

impl Leading {
    pub(super) fn new(
        registry: &Arc<Registry>,
        user: &UserId,
        id: u64,
        tell: watch::Sender<Option<Found>>,
    ) -> Self {
        Self {
            registry: Arc::clone(registry),
            user: user.clone(),
            id,
            tell,
            landed: false,
        }
    }

    /// Takes the store's answer; returns the customer's view.
    pub(super) fn land(mut self, fetched: Result<Option<Record>, StoreError>) -> Found {
        self.deliver(fetched.map_err(|_| Unknown))
    }

    fn deliver(&mut self, fetched: Found) -> Found {
        self.landed = true;
        let now = self.registry.now();
        let found = self.registry.cache.land(&self.user, self.id, fetched, now);
        self.tell.send_replace(Some(found));
        found
    }

    /// Waits for the store's answer. Dropped before that, it leaves the wait to a task of its own, since others follow.
    pub(super) fn wait(self, fetch: Pending<Option<Record>>) -> Wait {
        Wait {
            under_way: Some((self, fetch)),
        }
    }
}

impl Drop for Leading {
    fn drop(&mut self) {
        if !self.landed {
            let _ = self.deliver(Err(Unknown));
        }
    }
}

pub(super) struct Wait {
    under_way: Option<(Leading, Pending<Option<Record>>)>,
}

impl Future for Wait {
    type Output = Option<Standing>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Standing>> {
        // Taken out while it is polled: after a panic nobody polls it again.
        let Some((leading, mut fetch)) = self.under_way.take() else {
            return Poll::Pending;
        };
        let Poll::Ready(result) = fetch.as_mut().poll(cx) else {
            self.under_way = Some((leading, fetch));
            return Poll::Pending;
        };
        let registry = Arc::clone(&leading.registry);
        let found = leading.land(result);
        Poll::Ready(registry.standing(found, registry.now()))
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some((leading, fetch)) = self.under_way.take()
            && leading.tell.receiver_count() > 1
            && let Ok(runtime) = Handle::try_current()
        {
            // Dropped with its runtime, the task drops `leading`, and the followers know that it failed.
            runtime.spawn(async move {
                let _ = leading.land(fetch.await);
            });
        }
    }
}

/// Waits for the answer to another's lookup.
pub(super) async fn follow(
    registry: Arc<Registry>,
    user: UserId,
    mut landed: watch::Receiver<Option<Found>>,
) -> Option<Standing> {
    let sent = landed.wait_for(Option::is_some).await;
    let sent = sent.ok().and_then(|sent| *sent).unwrap_or(Err(Unknown));
    let now = registry.now();
    // Later changes are in the cache.
    registry.standing(registry.cache.view(&user, now).or(sent), now)
}
