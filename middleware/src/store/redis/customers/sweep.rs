//! The upkeep of the customers' indices, on a connection of its own.
//!
//! A step takes some 500 entries of one index in turn, and up to 500 of each index that were last active longer ago than
//! the retention, where expired records are found, and checks them in calls of 250: measured with 20,000 customers on
//! Redis 7.0, 5 ms of the server's time for a step, about 1 ms for a call. While most of its entries are stale (many records
//! expired at once, the criteria were changed) it goes on, up to 16 times. So the cost of a step does not depend on how
//! many customers there are; a walk over all of them takes a step for each 500. Nothing but this walk finds who is
//! filed wrongly after the criteria were changed.
//!
//! A step ends with the budget: customers beyond it are forgotten, up to 4,000 in a step.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::Value;

use super::{Rules, millis};
use crate::segment::store::Sweep;
use crate::segment::{Keeping, Population, Timestamp};
use crate::store::Analytics;
use crate::store::redis::Core;
use crate::store::redis::answer::{Answer, Elements, MalformedReply};
use crate::store::redis::call::{Call, Script};
use crate::store::redis::error::Failure;
use crate::store::redis::keys::Prefix;

static BEGIN_SWEEP: Script = Script::new(concat!(
    include_str!("../lua/refused.lua"),
    include_str!("../lua/value.lua"),
    include_str!("../lua/customer.lua"),
    include_str!("../lua/begin_sweep.lua")
));
static CHECK_CUSTOMERS: Script = Script::new(concat!(
    include_str!("../lua/refused.lua"),
    include_str!("../lua/value.lua"),
    include_str!("../lua/customer.lua"),
    include_str!("../lua/check_customers.lua")
));
static FORGET_CUSTOMERS: Script = Script::new(concat!(
    include_str!("../lua/refused.lua"),
    include_str!("../lua/value.lua"),
    include_str!("../lua/customer.lua"),
    include_str!("../lua/forget_customers.lua")
));
static END_SWEEP: Script = Script::new(include_str!("../lua/end_sweep.lua"));

/// About this many entries of the walk are one step, and at most this many quiet ones of each index.
const STEP: usize = 500;
/// Most entries checked in a call.
const BATCH: usize = 250;
/// How often a step goes on while most of its entries are stale.
const ROUNDS: usize = 16;
/// What a customer takes, in bytes: the hash of one with three orders, the entry of the index, and the expiry.
const CUSTOMER: u64 = 400;
/// How many customers a step forgets at most, for want of memory.
const MOST_FORGOTTEN: u64 = 4_000;
/// How long one call may take. No request waits for it.
const DEADLINE: Duration = Duration::from_secs(1);

/// Where the sweep of one process stands.
#[derive(Debug, Clone)]
pub(super) struct Walk {
    /// The holder of the lease.
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

    /// A call that takes the next entries of the walk, and those that were last active before this moment.
    fn begin(&self, prefix: &Prefix, lease_millis: u64, quiet_before: i64) -> Call {
        let mut call = BEGIN_SWEEP.call(3);
        call.arg(&prefix.customer_indices()).arg(prefix.sweep());
        call.arg(&self.holder).arg(lease_millis);
        call.arg(self.index + 1).arg(&self.cursor);
        call.arg(STEP).arg(quiet_before).arg(&self.passed);
        call
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
        self: &Arc<Self>,
        rules: Rules,
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
            // After a later failure the walk goes on from here.
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
        let mut call = END_SWEEP.call(1);
        call.arg(self.prefix.sweep()).arg(&at.holder);
        self.ask_apart(&call, DEADLINE, |_| Ok(().into())).await
    }

    async fn sweep_once(
        self: &Arc<Self>,
        rules: Rules,
        keeping: &Keeping,
        walk: &mut Walk,
        now: Timestamp,
    ) -> Result<Option<Sweep>, Failure> {
        let ago = |since: Duration| {
            let since = i64::try_from(millis(since)).unwrap_or(i64::MAX);
            // At most 2^53 - 1.
            (now.as_millis() as i64).saturating_sub(since)
        };
        let lease = millis(keeping.sweep_every)
            .saturating_mul(3)
            .clamp(1, Rules::LONGEST);
        let begin = walk.begin(&self.prefix, lease, ago(keeping.retention));
        let Some(Begun {
            cursor,
            walked,
            quiet,
        }) = self.ask_apart(&begin, DEADLINE, begun).await?
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
        if self.keep_to_budget(sweep.population).await? > 0 {
            sweep.population = self.check(rules, &[], edges).await?.population;
        }
        Ok(Some(sweep))
    }

    /// Forgets customers who are more than there is memory for: those who are no VIPs first, and of them who was last active
    /// longest ago. How many.
    async fn keep_to_budget(self: &Arc<Self>, population: Population) -> Result<u64, Failure> {
        let Population {
            returning,
            at_risk,
            churned,
            vip,
        } = population;
        let room = self.budget(Analytics::Customers) / CUSTOMER;
        let all = returning + at_risk + churned + vip;
        let excess = all.saturating_sub(room).min(MOST_FORGOTTEN);
        let mut forgotten = 0;
        let [vips, others] = self.prefix.customer_indices();
        for (place, index) in [(2, others), (1, vips)] {
            while forgotten < excess {
                let mut first = Call::command("ZRANGE");
                let most = (excess - forgotten).min(BATCH as u64);
                first.arg(&*index).arg(0).arg(most - 1);
                let read = |reply| Ok(members(&mut Elements::one(reply))?.into());
                let members: Vec<Member> = self.ask_apart(&first, DEADLINE, read).await?;
                if members.is_empty() {
                    break;
                }
                let mut call = FORGET_CUSTOMERS.call(2 + members.len());
                call.arg(&self.prefix.customer_indices());
                for member in &members {
                    call.arg(self.prefix.customer_of(member));
                }
                call.arg(place).arg(&members);
                let read = |reply| Answer::read(reply, Elements::number);
                let gone = self.ask_apart(&call, DEADLINE, read).await?;
                self.over_budget(Analytics::Customers, gone);
                forgotten += gone;
                if gone == 0 {
                    break;
                }
            }
        }
        Ok(forgotten)
    }

    async fn check(
        &self,
        rules: Rules,
        members: &[Member],
        [churned, at_risk]: [i64; 2],
    ) -> Result<Checked, Failure> {
        let call = rules.check(&self.prefix, members, churned, at_risk);
        self.ask_apart(&call, DEADLINE, checked).await
    }
}

impl Rules {
    /// A call that checks these members of the indices. A customer last active at `churned` or before has churned, and at
    /// `at_risk` or before is at risk at least; nobody was at a moment below zero.
    fn check(self, prefix: &Prefix, members: &[Member], churned: i64, at_risk: i64) -> Call {
        let mut call = CHECK_CUSTOMERS.call(2 + members.len());
        call.arg(&prefix.customer_indices());
        for member in members {
            call.arg(prefix.customer_of(member));
        }
        self.write(&mut call);
        call.arg(churned).arg(at_risk).arg(members);
        call
    }
}

/// A member of an index: a customer's id, unless another program wrote there.
type Member = Vec<u8>;

/// The reply of `begin_sweep`, for the next step.
#[derive(Debug, PartialEq, Eq)]
struct Begun {
    cursor: String,
    walked: Vec<Member>,
    quiet: [Vec<Member>; 2],
}

/// Reads the reply of `begin_sweep`; `None` while another holds the lease.
fn begun(reply: Value) -> Result<Answer<Option<Begun>>, MalformedReply> {
    if reply == Value::Nil {
        return Ok(None.into());
    }
    let mut elements = Elements::of(reply)?;
    let begun = Begun {
        cursor: elements.text()?,
        walked: members(&mut elements)?,
        quiet: [members(&mut elements)?, members(&mut elements)?],
    };
    if !elements.is_empty() {
        return Err(MalformedReply);
    }
    Ok(Some(begun).into())
}

fn members(elements: &mut Elements) -> Result<Vec<Member>, MalformedReply> {
    let mut elements = Elements::of(elements.next()?)?;
    let mut members = Vec::new();
    while !elements.is_empty() {
        members.push(elements.bytes()?);
    }
    Ok(members)
}

/// The reply of `check_customers`.
#[derive(Debug, PartialEq, Eq)]
struct Checked {
    mended: u64,
    population: Population,
}

/// Reads the reply of `check_customers`.
fn checked(reply: Value) -> Result<Answer<Checked>, MalformedReply> {
    Answer::read(reply, |elements| {
        let mut number = || elements.number();
        let (mended, vip, others) = (number()?, number()?, number()?);
        let (churned, quiet) = (number()?, number()?);
        // A churned customer is not at risk any more, whichever threshold comes first.
        let quiet = quiet.max(churned);
        Ok(Checked {
            mended,
            population: Population {
                returning: others.saturating_sub(quiet),
                at_risk: quiet - churned,
                churned,
                vip,
            },
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::never_answered;
    use super::*;

    #[test]
    fn who_has_churned_is_not_at_risk_whichever_threshold_comes_first() {
        for (counts, at_risk, returning) in [([3, 5], 2, 5), ([5, 3], 0, 5), ([0, 0], 0, 10)] {
            let numbers = [0, 4, 1, 10, counts[0], counts[1]].map(Value::Int);
            let found = checked(Value::Array(numbers.to_vec())).unwrap().answer;
            let expected = Population {
                returning,
                at_risk,
                churned: counts[0] as u64,
                vip: 1,
            };
            assert_eq!((found.mended, found.population), (4, expected));
        }
    }

    #[test]
    fn refuses_what_the_scripts_never_answer() {
        for reply in never_answered() {
            assert_eq!(checked(reply.clone()), Err(MalformedReply), "{reply:?}");
            assert_eq!(begun(reply.clone()), Err(MalformedReply), "{reply:?}");
        }
        assert_eq!(checked(Value::Nil), Err(MalformedReply));
        assert_eq!(begun(Value::Nil), Ok(None.into()));
    }
}
