//! The scripts, each behind one typed wrapper.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use redis::{Cmd, Script, Value};
use smallvec::SmallVec;

use super::keys::Keys;
use crate::rate_limit::{Charge, Tier, Verdict};

/// `lua/admit_request.lua`: decides a batch of requests.
pub(super) struct AdmitRequest {
    source: &'static str,
    sha: String,
}

/// What one request asks of the script.
#[derive(Debug)]
pub(super) struct Ask {
    keys: Keys,
    /// The charges as the script reads them.
    plan: SmallVec<[u8; 4 * Ask::CHARGE]>,
    /// Whether a log may be too long to be read whole.
    long: bool,
}

impl Ask {
    const CHARGE: usize = 14;
    const OPENS: u8 = 1;
    const ENFORCED: u8 = 2;
    const LONG: u8 = 4;
    /// Logs of higher limits exceed the 4 kB that the script reads and writes whole.
    const WHOLE_LIMIT: u32 = 819;

    pub(super) fn with_room_for(charges: usize) -> Self {
        Self {
            keys: Keys::with_room_for(charges),
            plan: SmallVec::new(),
            long: false,
        }
    }

    /// Adds a charge to the log that `key` writes the name of.
    pub(super) fn push(&mut self, charge: &Charge<'_>, policy_prefix: &str) {
        self.keys.push(policy_prefix, charge.key);
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
        let limit = charge.quota.limit();
        self.long |= limit > Self::WHOLE_LIMIT;
        self.plan.push(flags);
        self.plan.extend_from_slice(&limit.to_be_bytes());
        // A window is at most 86,400,000,000 µs, so the upper three bytes are 0.
        self.plan
            .extend_from_slice(&charge.quota.window_micros().to_be_bytes()[3..]);
        self.plan
            .extend_from_slice(&charge.cost.max(1).to_be_bytes());
    }

    pub(super) fn charges(&self) -> usize {
        self.plan.len() / Self::CHARGE
    }
}

impl AdmitRequest {
    /// The most charges that one call may carry; the script refuses more.
    pub(super) const MAX_CHARGES: usize = 1000;

    pub(super) fn new() -> Self {
        let source = include_str!("lua/admit_request.lua");
        Self {
            source,
            sha: Script::new(source).get_hash().to_owned(),
        }
    }

    /// The call by the script's hash: one round trip, as long as the server knows the script.
    pub(super) fn evalsha<'a>(&self, asks: impl Iterator<Item = &'a Ask> + Clone) -> Cmd {
        Self::with_arguments(redis::cmd("EVALSHA"), &self.sha, asks)
    }

    /// The same call with the script's text, after which the server knows it.
    pub(super) fn eval<'a>(&self, asks: impl Iterator<Item = &'a Ask> + Clone) -> Cmd {
        Self::with_arguments(redis::cmd("EVAL"), self.source, asks)
    }

    fn with_arguments<'a>(
        mut command: Cmd,
        script: &str,
        asks: impl Iterator<Item = &'a Ask> + Clone,
    ) -> Cmd {
        let charges: usize = asks.clone().map(Ask::charges).sum();
        command.arg(script).arg(charges);
        let mut plan = Vec::with_capacity(charges * Ask::CHARGE);
        let mut long = false;
        for ask in asks {
            for key in ask.keys.iter() {
                command.arg(key);
            }
            plan.extend_from_slice(&ask.plan);
            long |= ask.long;
        }
        if long && let Some(flags) = plan.first_mut() {
            *flags |= Ask::LONG;
        }
        command.arg(plan);
        command
    }
}

/// The script's answers to a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answers {
    /// How many keys held something other than a log.
    pub(super) broken_logs: u64,
    /// One for each request, in their order.
    pub(super) verdicts: Vec<Verdict>,
}

impl Answers {
    /// Reads a reply to requests of so many charges each.
    ///
    /// # Errors
    /// Anything but the integers that the script's header promises.
    pub(super) fn decode(
        reply: Value,
        charges: impl ExactSizeIterator<Item = usize>,
    ) -> Result<Self, MalformedReply> {
        let Value::Array(values) = reply else {
            return Err(MalformedReply);
        };
        let mut values = values.into_iter();
        let mut next = || match values.next() {
            Some(Value::Int(value)) => Ok(value),
            _ => Err(MalformedReply),
        };
        let broken_logs = u64::try_from(next()?)?;
        let mut verdicts = Vec::with_capacity(charges.len());
        for charges in charges {
            let admitted = match next()? {
                0 => false,
                1 => true,
                _ => return Err(MalformedReply),
            };
            let mut tiers = SmallVec::with_capacity(charges);
            for _ in 0..charges {
                tiers.push(Tier {
                    remaining: u32::try_from(next()?)?,
                    reset: Duration::from_micros(u64::try_from(next()?)?),
                    retry: match next()? {
                        0 => None,
                        -1 => Some(Duration::MAX),
                        micros => Some(Duration::from_micros(u64::try_from(micros)?)),
                    },
                });
            }
            verdicts.push(Verdict { admitted, tiers });
        }
        if next().is_ok() {
            return Err(MalformedReply);
        }
        Ok(Self {
            broken_logs,
            verdicts,
        })
    }
}

/// The server answered something that the script never answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MalformedReply;

impl fmt::Display for MalformedReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the script's reply is malformed")
    }
}

impl Error for MalformedReply {}

impl From<std::num::TryFromIntError> for MalformedReply {
    fn from(_: std::num::TryFromIntError) -> Self {
        Self
    }
}
