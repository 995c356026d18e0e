//! What a request meets: the policies that apply to it, each with the charge for its key.

use http::request::Parts;
use smallvec::SmallVec;

use super::Decider;
use crate::model::{Client, PartitionKey, Quota, Segment};
use crate::rate_limit::store::Charge;

/// One policy that a request meets, with its charge.
#[derive(Debug, Clone)]
pub(in crate::rate_limit) struct Met {
    pub(super) policy: usize,
    pub(super) key: PartitionKey,
    pub(super) quota: Quota,
    pub(super) cost: u32,
    pub(super) enforced: bool,
    /// Whether the denial that is remembered of it is asked about again.
    pub(super) due: bool,
}

/// A policy that stands in a request's way, with the quota that it has for this request.
#[derive(Debug, Clone, Copy)]
pub(in crate::rate_limit) struct Violated {
    pub(in crate::rate_limit) policy: usize,
    pub(in crate::rate_limit) quota: Quota,
}

/// The policies that a request meets, in the layer's order. Two, address and user, need no heap; more would make
/// every future larger that is moved on the way.
pub(in crate::rate_limit) type AllMet = SmallVec<[Met; 2]>;

impl Decider {
    /// The policies that apply, and their charges; none for an exempt request.
    #[inline]
    pub(in crate::rate_limit) fn met(&self, request: &Parts, client: &Client) -> AllMet {
        if self.exempt.covers(&request.method, &request.uri, client) {
            return AllMet::new();
        }
        let segment = if self.by_segment {
            request.extensions.get::<Segment>().copied()
        } else {
            None
        };
        let applying = self
            .policies
            .iter()
            .enumerate()
            .filter(|(_, policy)| policy.applies(request, client));
        applying
            .filter_map(|(index, policy)| {
                let cost = Some(policy.cost_of(request)).filter(|cost| *cost > 0)?;
                let key = policy.partition(request, client)?;
                Some(Met {
                    policy: index,
                    key,
                    quota: policy.quota_for(segment),
                    cost,
                    enforced: policy.enforced,
                    due: false,
                })
            })
            .collect()
    }
}

impl Met {
    pub(super) fn violated(&self) -> Violated {
        Violated {
            policy: self.policy,
            quota: self.quota,
        }
    }
}

pub(super) fn charges(met: &AllMet) -> SmallVec<[Charge<'_>; 2]> {
    met.iter()
        .map(
            |Met {
                 policy,
                 key,
                 quota,
                 cost,
                 enforced,
                 ..
             }| Charge {
                policy: *policy,
                key,
                quota: *quota,
                cost: *cost,
                enforced: *enforced,
            },
        )
        .collect()
}
