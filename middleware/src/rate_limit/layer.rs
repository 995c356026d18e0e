use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use bytes::Bytes;
use http::Response;
use tower_layer::Layer;

use super::changes::Changes;
use super::decide::{Bound, Decider};
use super::deny_cache::DenyCache;
use super::headers::{Headers, Renderer};
use super::policy::Policy;
use super::reject::{RejectWith, Rejecter, Rejection};
use super::service::RateLimit;
use super::store::{LocalStore, Logs, Store};
use super::tally::PolicyTally;
use crate::ConfigError;
use crate::body::Wrap;
use crate::model::{Ask, Exemptions, PartitionKey, Room, StoreError};

/// Applies rate limits to a service. Clones share the limits.
#[derive(Clone)]
pub struct RateLimitLayer {
    pub(super) decider: Arc<Decider>,
}

impl RateLimitLayer {
    /// A layer whose limits live in this process alone.
    pub fn embedded(store: impl LocalStore) -> RateLimitLayerBuilder {
        RateLimitLayerBuilder::new(Stores::Embedded(Box::new(store)))
    }

    /// A layer whose limits are shared through a store that may fail.
    ///
    /// While it fails, policies in mode [`OnStoreFailure::Local`](super::OnStoreFailure::Local) are kept by
    /// `local`, a log of this process.
    pub fn shared(store: impl Store, local: impl LocalStore) -> RateLimitLayerBuilder {
        RateLimitLayerBuilder::new(Stores::Shared(Box::new(store), Box::new(local)))
    }

    /// The decisions of the layer's policies so far.
    #[must_use]
    pub fn tally(&self) -> Arc<PolicyTally> {
        Arc::clone(&self.decider.tally)
    }

    /// Forgets what the limits hold against a key under every policy: its logs in the store and in this process, and the
    /// denials that this process remembers; whether there was any. Other processes ask the store again within a second. What
    /// they count by themselves while the store fails stays there for its window.
    ///
    /// # Errors
    /// The store's failure: the logs of this process are forgotten all the same.
    pub async fn forget(&self, key: &PartitionKey) -> Result<bool, StoreError> {
        self.decider.forget(key).await
    }

    /// Around a service whose bodies are wrapped.
    pub(crate) fn around<S>(&self, inner: S) -> RateLimit<S> {
        RateLimit::new(inner, Arc::clone(&self.decider))
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<Wrap<S>>;

    fn layer(&self, inner: S) -> RateLimit<Wrap<S>> {
        self.around(Wrap::new(inner))
    }
}

impl Room for RateLimitLayer {
    fn ask(&self) -> Option<Box<dyn Ask>> {
        Some(Box::new(self.clone()))
    }

    #[cfg(feature = "otel")]
    fn measure(&self, meters: &impl crate::model::metrics::Meters) {
        meters.watch(&self.tally());
    }

    #[cfg(feature = "ops")]
    fn panel(&self) -> Option<Box<dyn crate::model::panel::Panel>> {
        Some(Box::new(super::panel::RateLimitPanel::new(self)))
    }
}

impl fmt::Debug for RateLimitLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayer")
            .field("policies", &self.decider.policies)
            .finish_non_exhaustive()
    }
}

enum Stores {
    Embedded(Box<dyn LocalStore>),
    Shared(Box<dyn Store>, Box<dyn LocalStore>),
}

/// Settings of a [`RateLimitLayer`].
#[must_use]
pub struct RateLimitLayerBuilder {
    stores: Stores,
    policies: Vec<Policy>,
    exempt: Exemptions,
    headers: Headers,
    reject: Option<RejectWith>,
    deny_cache: usize,
}

impl RateLimitLayerBuilder {
    /// More policies than this on one request would be a mistake.
    const MOST_POLICIES: usize = 32;
    /// About a megabyte when full.
    const DENY_CACHE: usize = 16_384;
    const MOST_DENY_CACHE: usize = 16_777_216;

    fn new(stores: Stores) -> Self {
        Self {
            stores,
            policies: Vec::new(),
            exempt: Exemptions::default(),
            headers: Headers::default(),
            reject: None,
            deny_cache: Self::DENY_CACHE,
        }
    }

    /// Adds a policy; without any, the layer has [`Policy::ip`] and [`Policy::user`].
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policies.push(policy);
        self
    }

    /// Clients, users and routes that meet no policy.
    pub fn exempt(mut self, exempt: Exemptions) -> Self {
        self.exempt = exempt;
        self
    }

    /// Which headers responses carry.
    pub fn headers(mut self, headers: Headers) -> Self {
        self.headers = headers;
        self
    }

    /// How many denials are remembered so that a flood reaches a shared store once a second for each key at most, 16,384
    /// unless set (about 1 MB); 0 asks the store every time.
    pub fn deny_cache(mut self, entries: usize) -> Self {
        self.deny_cache = entries;
        self
    }

    /// Answers refusals with responses of your own, gRPC included.
    ///
    /// The layer adds the rate-limit headers, and `Retry-After` where yours has none.
    pub fn reject_with(
        mut self,
        respond: impl Fn(&Rejection<'_>) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        self.reject = Some(Arc::new(respond));
        self
    }

    /// The layer.
    ///
    /// # Errors
    /// A policy whose name, cost or number cannot be used, or two policies of one name.
    pub fn build(self) -> Result<RateLimitLayer, ConfigError> {
        let mut policies = self.policies;
        if policies.is_empty() {
            policies = vec![Policy::ip(), Policy::user()];
        }
        if policies.len() > Self::MOST_POLICIES {
            return Err(ConfigError::new(
                "policies",
                policies.len(),
                "at most 32 policies",
            ));
        }
        if self.deny_cache > Self::MOST_DENY_CACHE {
            return Err(ConfigError::new(
                "deny_cache",
                self.deny_cache,
                "0 to 16777216 entries",
            ));
        }
        for (index, policy) in policies.iter().enumerate() {
            policy.validate()?;
            if policies[..index]
                .iter()
                .any(|earlier| earlier.name == policy.name)
            {
                return Err(ConfigError::new(
                    "name",
                    &policy.name,
                    "a name of its own for each policy",
                ));
            }
        }
        let logs: Vec<_> = policies
            .iter()
            .map(|policy| Logs::of(Arc::clone(&policy.name), policy.quota.window()))
            .collect();
        let names: Vec<_> = policies
            .iter()
            .map(|policy| Arc::clone(&policy.name))
            .collect();
        let store = match self.stores {
            Stores::Embedded(store) => Bound::Embedded(store.bind_local(&logs)),
            Stores::Shared(store, local) => Bound::Shared {
                store: store.bind(&logs),
                local: local.bind_local(&logs),
                deny_cache: DenyCache::new(self.deny_cache),
                start: Instant::now(),
                failed: AtomicBool::new(false),
            },
        };
        let shared = match &store {
            Bound::Embedded(_) => None,
            Bound::Shared { store, .. } => Some(Arc::clone(store)),
        };
        let tally = Arc::new(PolicyTally::new(names.iter().cloned()));
        let decider = Decider {
            changes: Arc::new(Changes::new(&policies, &tally, shared)),
            tally,
            renderer: Renderer::new(self.headers, policies.iter().map(|policy| policy.quota)),
            rejecter: Rejecter::new(&policies, self.reject),
            names: names.into(),
            by_segment: policies.iter().any(|policy| !policy.by_segment.is_empty()),
            policies: policies.into(),
            exempt: self.exempt,
            store,
        };
        Ok(RateLimitLayer {
            decider: Arc::new(decider),
        })
    }
}

impl fmt::Debug for RateLimitLayerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayerBuilder")
            .field("policies", &self.policies)
            .finish_non_exhaustive()
    }
}
