use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use super::service::Preflight;
use crate::rate_limit::RateLimitLayer;
use crate::segment::SegmentLayer;
use crate::suspicion::SuspicionLayer;

/// Asks the store once for the layers inside of it; part of a [`Stack`](crate::stack::Stack). Clones share everything.
#[derive(Clone)]
pub struct PreflightLayer {
    /// `None` where no two of the layers wait for a store.
    asker: Option<Arc<Asker>>,
}

/// The layers whose questions are asked together.
pub(super) struct Asker {
    pub(super) suspicion: SuspicionLayer,
    /// `None` where they decide without a wait, and need not be asked.
    pub(super) rate_limit: Option<RateLimitLayer>,
    pub(super) segment: SegmentLayer,
    /// Whether the limits ask for the segment.
    pub(super) by_segment: bool,
}

impl PreflightLayer {
    /// A layer that asks nothing.
    pub(crate) fn off() -> Self {
        Self { asker: None }
    }

    /// For layers that share a store: all of their questions.
    #[cfg(feature = "redis")]
    pub(crate) fn shared(
        suspicion: &SuspicionLayer,
        rate_limit: &RateLimitLayer,
        segment: &SegmentLayer,
    ) -> Self {
        if !suspicion.asks() && segment.is_off() {
            return Self::off();
        }
        let rate_limit = Some(rate_limit.clone());
        Self::of(suspicion, rate_limit, segment)
    }

    /// For layers in the memory of this process, which never wait: the segment alone, if the limits depend on it.
    pub(crate) fn embedded(
        suspicion: &SuspicionLayer,
        rate_limit: &RateLimitLayer,
        segment: &SegmentLayer,
    ) -> Self {
        if segment.is_off() || !rate_limit.is_by_segment() {
            return Self::off();
        }
        Self::of(suspicion, None, segment)
    }

    fn of(
        suspicion: &SuspicionLayer,
        rate_limit: Option<RateLimitLayer>,
        segment: &SegmentLayer,
    ) -> Self {
        Self {
            asker: Some(Arc::new(Asker {
                suspicion: suspicion.clone(),
                by_segment: rate_limit
                    .as_ref()
                    .is_none_or(RateLimitLayer::is_by_segment),
                rate_limit,
                segment: segment.clone(),
            })),
        }
    }
}

impl<S> Layer<S> for PreflightLayer {
    type Service = Preflight<S>;

    fn layer(&self, inner: S) -> Preflight<S> {
        Preflight::new(inner, self.asker.clone())
    }
}

impl fmt::Debug for PreflightLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreflightLayer")
            .field("is_on", &self.asker.is_some())
            .finish_non_exhaustive()
    }
}
