use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::headers::{Line, Room};
use crate::model::Quota;

/// The decision of the limits about an admitted request; an extension that handlers and inner layers can read.
///
/// It lists the enforced policies that the request met and that were checked: none while the store fails and the
/// failure mode is open.
#[derive(Debug, Clone)]
pub struct Decision {
    names: Arc<[Arc<str>]>,
    states: SmallVec<[State; 2]>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    policy: usize,
    quota: Quota,
    remaining: u32,
    reset: Duration,
}

/// One policy's state after a request was admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PolicyState<'a> {
    /// The policy's name.
    pub name: &'a str,
    /// Its quota for this request.
    pub quota: Quota,
    /// How much cost still fits.
    pub remaining: u32,
    /// Until more than `remaining` fits.
    pub reset: Duration,
}

impl Decision {
    pub(super) fn new(names: &Arc<[Arc<str>]>, lines: &[Line<'_>]) -> Self {
        let states = lines.iter().filter_map(|line| {
            let Room { remaining, reset } = line.room?;
            Some(State {
                policy: line.policy,
                quota: line.quota,
                remaining,
                reset,
            })
        });
        Self {
            names: Arc::clone(names),
            states: states.collect(),
        }
    }

    /// The policies, in their order.
    pub fn policies(&self) -> impl Iterator<Item = PolicyState<'_>> {
        self.states.iter().map(|state| PolicyState {
            name: &self.names[state.policy],
            quota: state.quota,
            remaining: state.remaining,
            reset: state.reset,
        })
    }
}
