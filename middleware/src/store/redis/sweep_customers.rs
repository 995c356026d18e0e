//! The upkeep of the customers' indices, on a connection of its own.
//!
//! A step takes some 500 entries of one index in turn, and up to 500 of each index that were last active longer ago than
//! the retention, where expired records are found, and checks them in calls of 250: measured with 20,000 customers on
//! Redis 7.0, 5 ms of the server's time for a step, about 1 ms for a call. While most of what it finds is stale (many records
//! expired at once, the criteria were changed) it goes on, up to 16 times. So the cost of a step does not depend on how
//! many customers there are; a walk over all of them takes a step for each 500. Nothing but this walk finds who is
//! filed wrongly after the criteria were changed.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Core;
use super::customer_replies::{Begun, Checked, Member};
use super::customer_scripts::{Begin, Rules, millis};
use super::failure::Failure;
use crate::segment::{Keeping, Sweep, Timestamp};

/// About so many entries a step takes of the walk, and at most so many quiet ones of each index.
const STEP: usize = 500;
/// Most entries checked in a call.
const BATCH: usize = 250;
/// How often a step goes on while most of what it finds is stale.
const ROUNDS: usize = 16;
/// How long one call may take. No request waits for it.
const DEADLINE: Duration = Duration::from_secs(1);

/// Where the sweep of one process stands.
#[derive(Debug, Clone)]
pub(super) struct Walk {
    /// Whose lease it is.
    holder: String,
    /// The index that is walked, and the cursor.
    index: usize,
    cursor: String,
    /// How many of each index's quiet entries were checked in this round over them.
    passed: [u64; 2],
}

impl Walk {
    /// At the start, with an id that no other process draws: 128 bits from the operating system's seed.
    pub(super) fn new() -> Self {
        let random = || RandomState::new().build_hasher().finish();
        Self {
            holder: format!("{:016x}{:016x}", random(), random()),
            index: 0,
            cursor: "0".to_owned(),
            passed: [0; 2],
        }
    }

    fn advance(&mut self, cursor: String) {
        if cursor == "0" {
            self.index = 1 - self.index;
        }
        self.cursor = cursor;
    }
}

impl Core {
    pub(super) async fn sweep(
        &self,
        rules: &Rules,
        keeping: &Keeping,
        walk: &Mutex<Walk>,
        now: Timestamp,
    ) -> Result<Option<Sweep>, Failure> {
        let lock = || walk.lock().unwrap_or_else(PoisonError::into_inner);
        let mut at = lock().clone();
        let mut sweep = Sweep {
            population: Default::default(),
            checked: 0,
            mended: 0,
        };
        for _ in 0..ROUNDS {
            let Some(round) = self.sweep_once(rules, keeping, &mut at, now).await? else {
                return Ok(None);
            };
            // What a failure later on interrupts is not walked again.
            *lock() = at.clone();
            sweep.population = round.population;
            sweep.checked += round.checked;
            sweep.mended += round.mended;
            if round.mended * 2 <= round.checked || round.checked == 0 {
                break;
            }
        }
        Ok(Some(sweep))
    }

    pub(super) async fn end_sweep(&self, walk: &Mutex<Walk>) -> Result<(), Failure> {
        let at = walk.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let call = self.customers.end(&at.holder);
        self.connections.call_exclusively(&call, DEADLINE).await?;
        Ok(())
    }

    async fn sweep_once(
        &self,
        rules: &Rules,
        keeping: &Keeping,
        walk: &mut Walk,
        now: Timestamp,
    ) -> Result<Option<Sweep>, Failure> {
        let ago = |since: Duration| {
            let since = i64::try_from(millis(since)).unwrap_or(i64::MAX);
            // At most 2^53 - 1.
            (now.as_millis() as i64).saturating_sub(since)
        };
        let begin = Begin {
            holder: &walk.holder,
            lease_millis: millis(keeping.sweep_every)
                .saturating_mul(3)
                .clamp(1, Rules::LONGEST),
            walked: walk.index,
            cursor: &walk.cursor,
            count: STEP,
            quiet_before: ago(keeping.retention),
            passed: walk.passed,
        };
        let reply = self
            .connections
            .call_exclusively(&self.customers.begin(&begin), DEADLINE)
            .await?;
        let Some(Begun {
            cursor,
            walked,
            quiet,
        }) = Begun::decode(reply)?
        else {
            return Ok(None);
        };
        walk.advance(cursor);
        let criteria = &keeping.criteria;
        let edges = [ago(criteria.churned_after), ago(criteria.at_risk_after)];
        let mut mended = [0; 2];
        let mut sweep = Sweep {
            population: Default::default(),
            checked: (walked.len() + quiet[0].len() + quiet[1].len()) as u64,
            mended: 0,
        };
        for (index, members) in quiet.iter().enumerate() {
            for members in members.chunks(BATCH) {
                let checked = self.check(rules, members, edges).await?;
                mended[index] += checked.mended;
            }
            let stay = (members.len() as u64).saturating_sub(mended[index]);
            walk.passed[index] = if members.len() < STEP {
                0
            } else {
                walk.passed[index] + stay
            };
        }
        sweep.mended = mended.iter().sum();
        for members in walked.chunks(BATCH) {
            sweep.mended += self.check(rules, members, edges).await?.mended;
        }
        // Counted after the last entry was mended.
        sweep.population = self.check(rules, &[], edges).await?.population;
        Ok(Some(sweep))
    }

    async fn check(
        &self,
        rules: &Rules,
        members: &[Member],
        [churned, at_risk]: [i64; 2],
    ) -> Result<Checked, Failure> {
        let call = self.customers.check(rules, members, churned, at_risk);
        let reply = self.connections.call_exclusively(&call, DEADLINE).await?;
        let checked = Checked::decode(reply)?;
        self.health.count_broken_logs(checked.broken);
        Ok(checked)
    }
}
