//! The port of the limits: which requests pass, over all processes.

use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use smallvec::SmallVec;

use super::answer::{Answer, MalformedReply};
use super::call::{Call, Script, refused};
use super::claims::Claim;
use super::keys::{Keys, LogPrefixes};
use super::{Core, RedisStore};
use crate::model::{Operation, PartitionKey, StoreError};
use crate::rate_limit::store::{
    Admit, Barred, Charge, Gate, Logs, Reply, SessionGate, Shown, Store, Tier, Verdict, Way,
};

static ADMIT_REQUEST: Script = Script::new(concat!(
    include_str!("lua/refused.lua"),
    include_str!("lua/admit_request.lua")
));

/// Removes keys, whatever somebody else may have left at them, and frees nothing long before it ends.
pub(super) static REMOVE: Script = Script::new(concat!(
    include_str!("lua/refused.lua"),
    include_str!("lua/value.lua"),
    include_str!("lua/remove.lua")
));

/// The most charges that one call may carry; the script refuses more.
pub(super) const MOST_CHARGES: usize = 1_000;

impl Store for RedisStore {
    fn bind(&self, policies: &[Logs]) -> Arc<dyn Admit> {
        let prefixes = policies.iter().map(|logs| self.0.prefix.of_policy(logs));
        Arc::new(Bound {
            core: Arc::clone(&self.0),
            prefixes: prefixes.collect(),
            ban_prefix: self.0.prefix.of_bans(),
        })
    }
}

/// The store for the policies of one layer.
struct Bound {
    core: Arc<Core>,
    /// The prefixes of each policy's keys.
    prefixes: Box<[LogPrefixes]>,
    ban_prefix: Box<str>,
}

impl Bound {
    fn ask(&self, way: Way<'_>) -> Reply<Verdict> {
        // First, so that an open breaker costs a request an atomic load and no allocation.
        if let Some(rejected) = self.core.reject(Operation::Admit) {
            return Reply::Ready(Err(rejected));
        }
        match self.ask_of(way) {
            Ok(ask) => self.core.decide(ask),
            Err(error) => Reply::Ready(Err(error)),
        }
    }

    /// The arguments of a request that goes this way.
    fn ask_of(&self, Way { gate, charges }: Way<'_>) -> Result<Ask, StoreError> {
        let gates = gate.map_or(0, |gate| 1 + usize::from(gate.user.is_some()));
        let keys = charges.len() + gates;
        if keys > MOST_CHARGES {
            return Err(refused("a request under more than 1000 policies"));
        }
        let mut ask = Ask::with_room_for(keys);
        if let Some(gate) = gate {
            ask.push_gate(gate, &self.ban_prefix);
        }
        for charge in charges {
            let Some(prefix) = self.prefixes.get(charge.policy) else {
                return Err(refused("a policy that was not bound"));
            };
            ask.push(charge, prefix);
        }
        Ok(ask)
    }
}

impl Admit for Bound {
    fn is_failing(&self) -> bool {
        self.core.health.breaker.is_open()
    }

    fn admit(&self, charges: &[Charge<'_>]) -> Reply<Verdict> {
        if charges.is_empty() {
            return Reply::Ready(Ok(Verdict {
                admitted: true,
                banned: Barred::default(),
                tiers: SmallVec::new(),
            }));
        }
        let gate = None;
        self.ask(Way { gate, charges })
    }

    fn admit_through(&self, gate: Gate, charges: &[Charge<'_>]) -> Reply<Verdict> {
        let gate = Some(&gate);
        self.ask(Way { gate, charges })
    }

    fn admit_either_way(
        &self,
        session: &SessionGate,
        proved: Way<'_>,
        otherwise: Way<'_>,
    ) -> Reply<Shown> {
        if let Some(rejected) = self.core.reject(Operation::Admit) {
            return Reply::Ready(Err(rejected));
        }
        let ways = (self.ask_of(proved), self.ask_of(otherwise));
        match ways {
            (Ok(proved), Ok(otherwise)) => self.core.decide_either_way(session, proved, otherwise),
            (Err(error), _) | (_, Err(error)) => Reply::Ready(Err(error)),
        }
    }

    fn sessions_in(&self) -> Option<&str> {
        Some(&self.core.place)
    }

    fn place(&self) -> &str {
        &self.core.place
    }

    fn forget(&self, key: &PartitionKey) -> Reply<bool> {
        let mut keys = Keys::with_room_for(2 * self.prefixes.len());
        for prefix in &self.prefixes {
            keys.push_log(prefix, key);
            keys.push_older(prefix, key);
        }
        self.core.request(
            Operation::Ban,
            || REMOVE.on(&keys),
            |reply| match reply {
                Value::Int(forgotten) => Ok((forgotten > 0).into()),
                _ => Err(MalformedReply),
            },
        )
    }
}

/// The arguments of one request.
#[derive(Debug)]
pub(super) struct Ask {
    keys: Keys,
    /// The charges as the script reads them.
    plan: SmallVec<[u8; 4 * Ask::CHARGE]>,
    /// The cost of all charges that can fit.
    stamps: u32,
    /// How many of the first charges are gates.
    gates: usize,
    /// The session that the request claims. This is then how it is decided if that is not proved.
    claim: Option<Box<Claim>>,
}

/// The parts of the answer to one request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// The gates included.
    charges: usize,
    gates: usize,
}

impl Shape {
    pub(super) fn charges(self) -> usize {
        self.charges
    }
}

impl Ask {
    const CHARGE: usize = 14;
    const OPENS: u8 = 1;
    const ENFORCED: u8 = 2;
    const GATE: u8 = 8;

    pub(super) fn with_room_for(charges: usize) -> Self {
        Self {
            keys: Keys::with_room_for(charges),
            plan: SmallVec::new(),
            stamps: 0,
            gates: 0,
            claim: None,
        }
    }

    /// The same request, with a session that it claims.
    pub(super) fn claiming(mut self, claim: Claim) -> Self {
        self.claim = Some(Box::new(claim));
        self
    }

    pub(super) fn claim(&self) -> Option<&Claim> {
        self.claim.as_deref()
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(super) fn plan(&self) -> &[u8] {
        &self.plan
    }

    /// Begins the request with the bans of its client and of its user, whose names start with the prefix.
    pub(super) fn push_gate(&mut self, gate: &Gate, ban_prefix: &str) {
        self.keys.push(ban_prefix, &gate.client.into());
        self.plan_gate(gate.enforced);
        if let Some(user) = &gate.user {
            self.keys.push_user(ban_prefix, user);
            self.plan_gate(gate.enforced);
        }
    }

    /// Begins the request with a gate of ours, which nobody closes.
    pub(super) fn push_gate_named(&mut self, key: &str) {
        self.keys.push_text(key);
        self.plan_gate(false);
    }

    fn plan_gate(&mut self, enforced: bool) {
        self.gates += 1;
        let opens = if self.plan.is_empty() { Self::OPENS } else { 0 };
        let enforced = if enforced { Self::ENFORCED } else { 0 };
        self.plan.push(opens | Self::GATE | enforced);
        self.plan.resize(self.gates * Self::CHARGE, 0);
    }

    /// Adds a charge to the log that `key` writes the name of.
    pub(super) fn push(&mut self, charge: &Charge<'_>, policy: &LogPrefixes) {
        self.keys.push_log(policy, charge.key);
        self.plan_charge(charge);
    }

    /// Adds a charge to a log of ours, whatever the charge's own key.
    pub(super) fn push_named(&mut self, charge: &Charge<'_>, key: &str) {
        self.keys.push_text(key);
        self.plan_charge(charge);
    }

    fn plan_charge(&mut self, charge: &Charge<'_>) {
        let mut flags = 0;
        if self.plan.is_empty() {
            flags |= Self::OPENS;
        }
        if charge.enforced {
            flags |= Self::ENFORCED;
        }
        self.plan.push(flags);
        self.plan
            .extend_from_slice(&charge.quota.limit().to_be_bytes());
        // A window is at most 86,400,000,000 µs, so the upper three bytes are 0.
        self.plan
            .extend_from_slice(&charge.quota.window_micros().to_be_bytes()[3..]);
        // For the script alone a cost above the limit never fits.
        let cost = if charge.cost > charge.quota.highest_cost() {
            u32::MAX
        } else {
            self.stamps += charge.cost;
            charge.cost.max(1)
        };
        self.plan.extend_from_slice(&cost.to_be_bytes());
    }

    /// How much a call that decides it may write, in stamps.
    pub(super) fn stamps(&self) -> u32 {
        let proved = self.claim().map_or(0, |claim| claim.proved().stamps);
        self.stamps.max(proved)
    }

    /// How many keys a call of it has.
    pub(super) fn weight(&self) -> usize {
        self.charges() + self.claim().map_or(0, Claim::weight)
    }

    /// How many there are, the gates included.
    pub(super) fn charges(&self) -> usize {
        self.plan.len() / Self::CHARGE
    }

    pub(super) fn shape(&self) -> Shape {
        Shape {
            charges: self.charges(),
            gates: self.gates,
        }
    }
}

/// A call that decides these requests, of which none claims a session.
pub(super) fn call<'a>(asks: impl Iterator<Item = &'a Ask> + Clone) -> Call {
    let charges = asks.clone().map(Ask::charges).sum();
    let mut call = ADMIT_REQUEST.call(charges);
    let mut plan = Vec::with_capacity(charges * Ask::CHARGE);
    for ask in asks {
        call.keys(&ask.keys);
        plan.extend_from_slice(&ask.plan);
    }
    call.arg(plan);
    call
}

/// Bytes of each number in a reply.
const NUMBER: usize = 5;
/// A reply's value for a cost that never fits.
const NEVER: u64 = (1 << 40) - 1;

/// Reads the verdicts on requests of these shapes, in their order.
///
/// # Errors
/// Anything but the numbers that the script's header promises.
pub(super) fn verdicts(
    reply: Value,
    requests: impl ExactSizeIterator<Item = Shape>,
) -> Result<Answer<Vec<Verdict>>, MalformedReply> {
    let Value::BulkString(bytes) = reply else {
        return Err(MalformedReply);
    };
    let mut numbers = bytes.chunks_exact(NUMBER);
    if !numbers.remainder().is_empty() {
        return Err(MalformedReply);
    }
    let mut next = || {
        let mut wide = [0; 8];
        wide[8 - NUMBER..].copy_from_slice(numbers.next().ok_or(MalformedReply)?);
        Ok::<u64, MalformedReply>(u64::from_be_bytes(wide))
    };
    let broken = next()?;
    let mut verdicts = Vec::with_capacity(requests.len());
    for Shape { charges, gates } in requests {
        let admitted = match next()? {
            0 => false,
            1 => true,
            _ => return Err(MalformedReply),
        };
        let mut banned = Barred::default();
        for left in [&mut banned.client, &mut banned.user]
            .into_iter()
            .take(gates)
        {
            let (_, _, micros) = (next()?, next()?, next()?);
            *left = (micros > 0).then(|| Duration::from_micros(micros));
        }
        let mut tiers = SmallVec::with_capacity(charges - gates);
        for _ in gates..charges {
            tiers.push(Tier {
                remaining: u32::try_from(next()?)?,
                reset: Duration::from_micros(next()?),
                retry: match next()? {
                    0 => None,
                    NEVER => Some(Duration::MAX),
                    micros => Some(Duration::from_micros(micros)),
                },
            });
        }
        verdicts.push(Verdict {
            admitted,
            banned,
            tiers,
        });
    }
    if next().is_ok() {
        return Err(MalformedReply);
    }
    Ok(Answer {
        broken,
        answer: verdicts,
    })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::model::{PartitionKey, Quota};
    use crate::store::redis::keys::Prefix;

    fn reply(numbers: &[u64]) -> Value {
        let bytes = |number: &u64| number.to_be_bytes()[8 - NUMBER..].to_vec();
        Value::BulkString(numbers.iter().flat_map(bytes).collect())
    }

    fn decode(reply: Value, charges: &[usize]) -> Result<Answer<Vec<Verdict>>, MalformedReply> {
        let shapes = charges.iter().map(|&charges| Shape { charges, gates: 0 });
        verdicts(reply, shapes)
    }

    #[test]
    fn reads_the_verdicts_of_a_batch() {
        let reply = reply(&[1, 1, 9, 60_000_000, 0, 0, 0, 7, 5, 3, 8, NEVER]);
        let answers = decode(reply, &[1, 2]).unwrap();
        assert_eq!(answers.broken, 1);
        let [first, second] = &answers.answer[..] else {
            panic!("two requests")
        };
        assert!(first.admitted && !second.admitted);
        assert_eq!(
            first.tiers[0],
            Tier {
                remaining: 9,
                reset: Duration::from_secs(60),
                retry: None
            }
        );
        let retries: Vec<_> = second.tiers.iter().map(|tier| tier.retry).collect();
        assert_eq!(
            retries,
            [Some(Duration::from_micros(5)), Some(Duration::MAX)]
        );
    }

    #[test]
    fn reads_a_gate_apart_from_the_policies() {
        let of = |charges, gates| [Shape { charges, gates }].into_iter();
        let gated = |charges| of(charges, 1);
        let closed = verdicts(reply(&[0, 0, 0, 0, 7, 5, 3, 0]), gated(2)).unwrap();
        let [verdict] = &closed.answer[..] else {
            panic!("one request")
        };
        assert_eq!(verdict.banned.client, Some(Duration::from_micros(7)));
        assert_eq!((verdict.admitted, verdict.tiers.len()), (false, 1));
        let open = verdicts(reply(&[0, 1, 0, 0, 0]), gated(1)).unwrap();
        assert_eq!(open.answer[0].banned, Barred::default());
        assert!(open.answer[0].admitted && open.answer[0].tiers.is_empty());
        let numbers = [0, 0, 0, 0, 0, 0, 0, 9, 5, 3, 0];
        let of_user = &verdicts(reply(&numbers), of(3, 2)).unwrap().answer[0];
        let nine = Some(Duration::from_micros(9));
        assert_eq!((of_user.banned.client, of_user.banned.user), (None, nine));
        assert_eq!(of_user.tiers.len(), 1);
    }

    #[test]
    fn refuses_what_the_script_never_answers() {
        for reply in [
            Value::Nil,
            Value::Okay,
            Value::Int(1),
            Value::BulkString(b"0 1 1 1 0".to_vec()),
            Value::BulkString(vec![0; 5 * 5 + 1]),
            Value::BulkString(vec![0; 5 * 5 - 1]),
            reply(&[]),
            reply(&[0]),
            reply(&[0, 1]),
            reply(&[0, 1, 1, 1]),
            reply(&[0, 1, 1, 1, 0, 0]),
            reply(&[0, 2, 1, 1, 0]),
            reply(&[0, 1, 1 << 32, 1, 0]),
            Value::Array(vec![
                Value::Int(0),
                Value::Int(1),
                Value::Int(1),
                Value::Int(1),
                Value::Int(0),
            ]),
            Value::Array(vec![Value::Int(0), Value::Nil]),
        ] {
            assert_eq!(
                decode(reply.clone(), &[1]),
                Err(MalformedReply),
                "{reply:?}"
            );
        }
    }

    #[test]
    fn writes_the_charges_as_the_script_reads_them() {
        let key = PartitionKey::text("ada", &crate::model::Secret::from_bytes(b"s"));
        let charge = |limit, enforced| Charge {
            policy: 0,
            key: &key,
            quota: Quota::per_minute(NonZeroU32::new(limit).unwrap()),
            cost: 3,
            enforced,
        };
        let mut ask = Ask::with_room_for(2);
        let prefix = Prefix::new("p:").unwrap();
        let minute = |policy| prefix.of_policy(&Logs::of(policy, Duration::from_secs(60)));
        ask.push(&charge(200, true), &minute("ip"));
        ask.push(&charge(820, false), &minute("user"));
        let packed = call([&ask, &ask].into_iter()).packed();
        let of = |flags: u8, limit: u32| {
            let mut bytes = vec![flags];
            bytes.extend(limit.to_be_bytes());
            bytes.extend([0, 0x03, 0x93, 0x87, 0x00]); // 60,000,000
            bytes.extend([0, 0, 0, 3]);
            bytes
        };
        let plan = [of(1 | 2, 200), of(0, 820), of(1 | 2, 200), of(0, 820)].concat();
        let tail = [&b"$56\r\n"[..], &plan, b"\r\n"].concat();
        assert!(packed.ends_with(&tail), "{}", packed.escape_ascii());
        let ip = "$24\r\np:rate:ip:60s:text:{ada}";
        let keys = format!("$1\r\n4\r\n{ip}\r\n$26\r\np:rate:user:60s:text:{{ada}}\r\n{ip}");
        assert!(
            packed
                .windows(keys.len())
                .any(|part| part == keys.as_bytes())
        );
    }
}
