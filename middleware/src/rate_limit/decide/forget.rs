//! What the limits hold against a key is forgotten: in the store, in this process, and among the remembered denials.

use std::ops::Range;

use super::{Bound, Decider};
use crate::model::{PartitionKey, StoreError};
use crate::rate_limit::store::AdmitNow;

impl Decider {
    /// Forgets the logs of a key under every policy: the store's, this process's own, and what is remembered of denials.
    /// Whether there was any.
    pub(in crate::rate_limit) async fn forget(
        &self,
        key: &PartitionKey,
    ) -> Result<bool, StoreError> {
        let policies = 0..self.policies.len();
        match &self.store {
            Bound::Embedded(store) => Ok(forget_now(&**store, policies, key)),
            Bound::Shared {
                store,
                local,
                deny_cache,
                ..
            } => {
                let remembered = || {
                    deny_cache.iter().for_each(|cache| {
                        let policies = policies.clone();
                        policies.for_each(|policy| cache.remove(policy, key));
                    });
                };
                let here = forget_now(&**local, policies.clone(), key);
                remembered();
                let kept = store.forget(key).await?;
                // What answers to earlier calls brought back meanwhile.
                remembered();
                Ok(here || kept)
            }
        }
    }
}

fn forget_now(store: &dyn AdmitNow, policies: Range<usize>, key: &PartitionKey) -> bool {
    let forgotten = policies.filter(|policy| store.forget_now(*policy, key));
    forgotten.count() > 0
}
