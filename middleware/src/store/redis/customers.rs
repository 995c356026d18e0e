//! The port of the customer segments: the records of customers, over all processes.

mod load;
mod record;
mod sweep;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::Value;

use self::record::{applied, export, record};
use self::sweep::Walk;
use super::answer::{Answer, MalformedReply};
use super::call::{Call, Script};
use super::error::{Cause, Failure};
use super::keys::Prefix;
use super::{Core, RedisStore};
use crate::model::{Operation, UserId};
use crate::segment::store::{Applied, CustomerStore, KeepCustomers, Reply, Sweep};
use crate::segment::{Change, Export, Keeping, Record, Timestamp};
use crate::store::{ERASED_FOR, Effect, MOST_COUNTED};

pub use load::CustomerLoader;

static APPLY_CHANGE: Script = Script::new(concat!(
    include_str!("lua/refused.lua"),
    include_str!("lua/value.lua"),
    include_str!("lua/customer.lua"),
    include_str!("lua/apply_change.lua")
));
static READ_CUSTOMER: Script = Script::new(concat!(
    include_str!("lua/refused.lua"),
    include_str!("lua/value.lua"),
    include_str!("lua/read_customer.lua")
));
static ERASE_CUSTOMER: Script = Script::new(concat!(
    include_str!("lua/refused.lua"),
    include_str!("lua/value.lua"),
    include_str!("lua/customer.lua"),
    include_str!("lua/erase_customer.lua")
));

/// Most changes in a call: a server applies them in about a millisecond, during which it serves nobody else.
const BATCH: usize = 100;

/// The fields of a customer's hash, and the most bytes of each; a record consists of the first four.
const FIELDS: [(&str, usize); 5] = [
    ("last_activity", 16),
    ("first_activity", 16),
    ("spend", 20),
    ("orders", 16),
    ("counted", 12 * MOST_COUNTED),
];

impl CustomerStore for RedisStore {
    fn keep_customers(&self, keeping: &Keeping) -> Arc<dyn KeepCustomers> {
        Arc::new(BoundCustomers {
            core: Arc::clone(&self.0),
            rules: Rules::of(keeping),
            walk: Arc::new(Mutex::new(Walk::new())),
            keeping: keeping.clone(),
        })
    }
}

/// The store for the settings of one layer.
struct BoundCustomers {
    core: Arc<Core>,
    rules: Rules,
    keeping: Keeping,
    /// Where the sweep of this process stands.
    walk: Arc<Mutex<Walk>>,
}

impl KeepCustomers for BoundCustomers {
    fn fetch(&self, customer: &UserId) -> Reply<Option<Record>> {
        // First, so that an open breaker costs a request no more than this.
        if let Some(rejected) = self.core.reject(Operation::Fetch) {
            return Reply::Ready(Err(rejected));
        }
        let core = Arc::clone(&self.core);
        let call = read(&core.prefix, customer, &FIELDS[..4]);
        Reply::pending(async move {
            let asking = core.ask_hash(&call, record);
            core.attempt(Operation::Fetch, asking).await
        })
    }

    fn apply(&self, changes: &[Change]) -> Reply<Vec<Applied>> {
        if let Some(rejected) = self.core.reject(Operation::Record) {
            return Reply::Ready(Err(rejected));
        }
        let (core, rules) = (Arc::clone(&self.core), self.rules);
        let changes = changes.to_vec();
        Reply::pending(async move {
            let mut all = Vec::with_capacity(changes.len());
            for changes in changes.chunks(BATCH) {
                let call = rules.apply(&core.prefix, changes);
                let asking = core.ask(&call, |reply| applied(reply, changes.len()));
                all.append(&mut core.attempt(Operation::Record, asking).await?);
            }
            Ok(all)
        })
    }

    fn erase(&self, customer: &UserId, at: Timestamp) -> Reply<bool> {
        let call = || erase(&self.core.prefix, customer, at);
        let read = |reply| match reply {
            Value::Int(0) => Ok(false.into()),
            Value::Int(1) => Ok(true.into()),
            _ => Err(MalformedReply),
        };
        self.core.request(Operation::Record, call, read)
    }

    fn export(&self, customer: &UserId) -> Reply<Option<Export>> {
        if let Some(rejected) = self.core.reject(Operation::Fetch) {
            return Reply::Ready(Err(rejected));
        }
        let core = Arc::clone(&self.core);
        let call = read(&core.prefix, customer, &FIELDS);
        Reply::pending(async move {
            let asking = core.ask_hash(&call, export);
            core.attempt(Operation::Fetch, asking).await
        })
    }

    fn sweep(&self, now: Timestamp) -> Reply<Option<Sweep>> {
        if let Some(rejected) = self.core.reject(Operation::Sweep) {
            return Reply::Ready(Err(rejected));
        }
        let (core, rules) = (Arc::clone(&self.core), self.rules);
        let (walk, keeping) = (Arc::clone(&self.walk), self.keeping.clone());
        Reply::pending(async move {
            let sweeping = core.sweep(rules, &keeping, &walk, now);
            Ok(core.apart(Operation::Sweep, sweeping).await?)
        })
    }

    fn end_sweep(&self) -> Reply<()> {
        if let Some(rejected) = self.core.reject(Operation::Sweep) {
            return Reply::Ready(Err(rejected));
        }
        let (core, walk) = (Arc::clone(&self.core), Arc::clone(&self.walk));
        Reply::pending(async move {
            let ending = core.end_sweep(&walk);
            Ok(core.apart(Operation::Sweep, ending).await?)
        })
    }
}

impl Core {
    /// Reads fields of a customer's hash; nothing from a key that holds something else.
    async fn ask_hash<T>(
        &self,
        call: &Call,
        read: impl FnOnce(Value) -> Result<Answer<Option<T>>, MalformedReply>,
    ) -> Result<Option<T>, Failure> {
        match self.ask(call, read).await {
            Err(Failure::Refused(refusal)) if refusal.cause == Cause::WrongType => {
                self.health.count_broken_logs(1);
                Ok(None)
            }
            result => result,
        }
    }
}

/// The settings of a layer, as the scripts read them.
#[derive(Clone, Copy)]
struct Rules {
    retention: u64,
    vip_spend: i64,
    vip_orders: u64,
}

impl Rules {
    /// 2^53 - 1, up to which Lua's numbers are exact.
    const MOST: u64 = (1 << 53) - 1;
    /// Some 317 years: the server adds it to its own time, in 64 bits.
    const LONGEST: u64 = 10_000_000_000_000;

    fn of(keeping: &Keeping) -> Self {
        Self {
            retention: millis(keeping.retention).clamp(1, Self::LONGEST),
            vip_spend: keeping.criteria.vip_spend,
            vip_orders: keeping.criteria.vip_orders.min(Self::MOST),
        }
    }

    fn write(self, call: &mut Call) {
        call.arg(self.retention)
            .arg(self.vip_spend)
            .arg(self.vip_orders);
    }

    /// A call that applies changes in their order.
    fn apply(self, prefix: &Prefix, changes: &[Change]) -> Call {
        let mut call = APPLY_CHANGE.call(2 + 2 * changes.len());
        call.arg(&prefix.customer_indices());
        for change in changes {
            call.arg(prefix.customer(&change.customer));
            call.arg(prefix.erased(&change.customer));
        }
        self.write(&mut call);
        for change in changes {
            call.arg(change.customer.as_str());
            call.arg(change.at.as_millis());
            let (what, amount, key) = match Effect::of(&change.event) {
                Effect::Seen => ("a", 0, None),
                Effect::Ordered(key, amount) => ("o", amount, Some(key)),
                Effect::Refunded(key, amount) => ("r", amount, Some(key)),
            };
            let key = key.as_ref().map_or(&[][..], |key| key.as_bytes());
            call.arg(what).arg(amount).arg(key);
        }
        call
    }
}

fn erase(prefix: &Prefix, customer: &UserId, at: Timestamp) -> Call {
    let mut call = ERASE_CUSTOMER.call(4);
    call.arg(&prefix.customer_indices());
    call.arg(prefix.customer(customer));
    call.arg(prefix.erased(customer));
    call.arg(customer.as_str()).arg(at.as_millis());
    call.arg(millis(ERASED_FOR));
    call
}

fn read(prefix: &Prefix, customer: &UserId, fields: &[(&str, usize)]) -> Call {
    let mut call = READ_CUSTOMER.call(1);
    call.arg(prefix.customer(customer)).arg(fields);
    call
}

/// Rounded up: the stamps are whole milliseconds, so one lies at least this long ago if it lies at least `duration` ago.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
