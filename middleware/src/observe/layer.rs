use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use super::service::Observe;
use crate::body::Wrap;
use crate::model::{ObserveExchange, Room};

/// Tells observers how each request ended; see the [module](crate::observe). Clones share the observers.
///
/// It reads the `Client` of each request, so it belongs inside of [`IdentifyLayer`](crate::client::IdentifyLayer). The
/// default has no observers, and costs a branch.
#[derive(Clone, Default)]
pub struct ObserveLayer {
    /// `None` where there are none.
    observers: Option<Observers>,
}

pub(super) type Observers = Arc<[Box<dyn ObserveExchange>]>;

impl ObserveLayer {
    /// A layer with these observers, told in their order.
    #[must_use]
    pub fn new(observers: Vec<Box<dyn ObserveExchange>>) -> Self {
        Self {
            observers: (!observers.is_empty()).then(|| observers.into()),
        }
    }

    /// Around a service whose bodies are wrapped.
    pub(crate) fn around<S>(&self, inner: S) -> Observe<S> {
        Observe::new(inner, self.observers.clone())
    }
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<Wrap<S>>;

    fn layer(&self, inner: S) -> Observe<Wrap<S>> {
        self.around(Wrap::new(inner))
    }
}

impl Room for ObserveLayer {}

impl fmt::Debug for ObserveLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let observers = self.observers.as_ref().map_or(0, |all| all.len());
        f.debug_struct("ObserveLayer")
            .field("observers", &observers)
            .finish()
    }
}
