//! The script that counts distinct items, behind a typed wrapper.

use std::time::Duration;

use redis::{Cmd, Script, Value};

use super::count_failures::number;
use super::keys::Keys;
use super::scripts::{Call, MalformedReply};
use crate::model::PartitionKey;
use crate::suspicion::Threshold;

/// `lua/count_distinct.lua`: counts a batch of logins.
pub(super) struct CountDistinct {
    source: &'static str,
    sha: String,
}

impl CountDistinct {
    pub(super) fn new() -> Self {
        let source = include_str!("lua/count_distinct.lua");
        Self {
            source,
            sha: Script::new(source).get_hash().to_owned(),
        }
    }
}

/// What a step does, by its number in the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Count = 1,
    IsFailing = 2,
    IsDistinct = 3,
    CountIfSuspicious = 4,
    State = 5,
}

/// What one call does.
#[derive(Debug)]
pub(super) struct Steps {
    keys: Keys,
    /// As the script reads them, sixteen bytes for each step.
    plan: Vec<u8>,
    named: usize,
}

impl Steps {
    const STEP: usize = 16;

    pub(super) fn with_room_for(steps: usize) -> Self {
        Self {
            keys: Keys::with_room_for(steps * 2),
            plan: Vec::with_capacity(steps * Self::STEP),
            named: 0,
        }
    }

    pub(super) fn push(
        &mut self,
        what: What,
        kind_prefix: &str,
        key: &PartitionKey,
        threshold: Threshold,
        item: u64,
    ) {
        self.keys.push(kind_prefix, key);
        self.named += 1;
        if !matches!(what, What::IsFailing | What::IsDistinct) {
            self.keys.push_sketch(kind_prefix, key);
            self.named += 1;
        }
        self.plan.push(what as u8);
        // At most 1,000 and 86,400,000,000: the upper bytes are 0.
        self.plan
            .extend_from_slice(&threshold.count().to_be_bytes()[2..]);
        self.plan
            .extend_from_slice(&threshold.window_micros().to_be_bytes()[3..]);
        self.plan.extend_from_slice(&item.to_be_bytes());
    }

    pub(super) fn len(&self) -> usize {
        self.plan.len() / Self::STEP
    }
}

/// The script with its steps.
pub(super) struct DistinctCall<'a> {
    pub(super) script: &'a CountDistinct,
    pub(super) steps: &'a Steps,
}

impl DistinctCall<'_> {
    fn with_arguments(&self, mut command: Cmd, script: &str) -> Cmd {
        command.arg(script).arg(self.steps.named);
        for key in self.steps.keys.iter() {
            command.arg(key);
        }
        command.arg(&self.steps.plan);
        command
    }
}

impl Call for DistinctCall<'_> {
    fn by_hash(&self) -> Cmd {
        self.with_arguments(redis::cmd("EVALSHA"), &self.script.sha)
    }

    fn by_text(&self) -> Cmd {
        self.with_arguments(redis::cmd("EVAL"), self.script.source)
    }
}

/// The script's answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// How many keys held something other than a trail.
    pub(super) broken_trails: u64,
    pub(super) findings: Vec<Finding>,
}

/// An incident, or the state of a trail.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// Its place among the steps of the call.
    pub(super) step: usize,
    pub(super) count: u64,
    pub(super) span: Duration,
    pub(super) estimated: bool,
    pub(super) in_episode: bool,
}

impl Findings {
    /// Reads a reply to a call of so many steps.
    ///
    /// # Errors
    /// Anything but what the script's header promises.
    pub(super) fn decode(reply: Value, steps: usize) -> Result<Self, MalformedReply> {
        let Value::Array(values) = reply else {
            return Err(MalformedReply);
        };
        let mut values = values.into_iter();
        let broken_trails = number(values.next())?;
        let mut findings = Vec::new();
        while let Some(step) = values.next() {
            let step = usize::try_from(number(Some(step))?)?;
            let (count, span) = (number(values.next())?, number(values.next())?);
            let flags = number(values.next())?;
            if step >= steps || flags > 3 {
                return Err(MalformedReply);
            }
            findings.push(Finding {
                step,
                count,
                span: Duration::from_micros(span),
                estimated: flags & 1 != 0,
                in_episode: flags & 2 != 0,
            });
        }
        Ok(Self {
            broken_trails,
            findings,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Network;

    fn ints(numbers: &[i64]) -> Value {
        Value::Array(numbers.iter().map(|n| Value::Int(*n)).collect())
    }

    #[test]
    fn reads_incidents_and_states() {
        let reply = ints(&[1, 0, 5, 60_000_000, 2, 3, 70, 0, 3, 4, 2, 0, 0]);
        let finding = |step, count, seconds, estimated, in_episode| Finding {
            step,
            count,
            span: Duration::from_secs(seconds),
            estimated,
            in_episode,
        };
        let expected = Findings {
            broken_trails: 1,
            findings: vec![
                finding(0, 5, 60, false, true),
                finding(3, 70, 0, true, true),
                finding(4, 2, 0, false, false),
            ],
        };
        assert_eq!(Findings::decode(reply, 5), Ok(expected));
    }

    #[test]
    fn refuses_what_the_script_never_answers() {
        for numbers in [
            &[][..],
            &[-1],
            &[0, 0],
            &[0, 0, 5, 1],
            &[0, 3, 5, 1, 2],
            &[0, 0, 5, 1, 4],
            &[0, 0, -5, 1, 2],
        ] {
            let decoded = Findings::decode(ints(numbers), 3);
            assert_eq!(decoded, Err(MalformedReply), "{numbers:?}");
        }
        for reply in [Value::Nil, Value::Okay, Value::Int(0)] {
            assert_eq!(Findings::decode(reply, 3), Err(MalformedReply));
        }
    }

    #[test]
    fn writes_the_steps_as_the_script_reads_them() {
        let client = Network::of("192.0.2.1".parse().unwrap(), 64).into();
        let account = PartitionKey::of_ours("~ab".into());
        let mut steps = Steps::with_room_for(2);
        let of = |text: &str| text.parse().unwrap();
        steps.push(What::IsFailing, "p:401:", &client, of("1000/1s"), 0);
        steps.push(
            What::CountIfSuspicious,
            "p:a:",
            &account,
            of("4/24h"),
            1 << 63 | 7,
        );
        let call = DistinctCall {
            script: &CountDistinct::new(),
            steps: &steps,
        };
        let packed = call.by_hash().get_packed_command();
        let keys = "$1\r\n3\r\n$15\r\np:401:192.0.2.1\r\n$7\r\np:a:~ab\r\n$14\r\np:a:~ab:sketch\r\n$32\r\n";
        let plan = [
            [2, 3, 0xe8, 0, 0, 0x0f, 0x42, 0x40, 0, 0, 0, 0, 0, 0, 0, 0],
            [
                4, 0, 4, 0x14, 0x1d, 0xd7, 0x60, 0, 0x80, 0, 0, 0, 0, 0, 0, 7,
            ],
        ];
        let tail = [keys.as_bytes(), &plan.concat(), b"\r\n"].concat();
        assert!(packed.ends_with(&tail), "{}", packed.escape_ascii());
    }
}
