//! The script that counts visitors, behind a typed wrapper.

use std::time::Duration;

use redis::{Cmd, Script, Value};

use super::keys::Keys;
use super::scripts::{Call, MalformedReply};
use crate::funnel::{Progress, Reach};

/// `lua/reach_stage.lua`: counts a batch of reached stages.
pub(super) struct ReachStage {
    source: &'static str,
    sha: String,
}

impl ReachStage {
    /// The most reaches that one call may carry.
    pub(super) const MAX_REACHES: usize = 1_000;

    pub(super) fn new() -> Self {
        let source = include_str!("lua/reach_stage.lua");
        Self {
            source,
            sha: Script::new(source).get_hash().to_owned(),
        }
    }
}

/// What one call counts.
#[derive(Debug)]
pub(super) struct Reaches {
    keys: Keys,
    window: Duration,
    /// As the script reads them, six bytes for each key.
    plan: Vec<u8>,
}

impl Reaches {
    const PLAN: usize = 6;

    pub(super) fn with_room_for(reaches: usize, window: Duration) -> Self {
        Self {
            keys: Keys::with_room_for(reaches),
            window,
            plan: Vec::with_capacity(reaches * Self::PLAN),
        }
    }

    pub(super) fn push(&mut self, prefix: &str, reach: &Reach) {
        self.keys.push(prefix, reach.visitor.key());
        self.plan.push(reach.stage);
        // 30,000,000 at most: the upper bytes are 0.
        let age = reach.age.min(Reach::OLDEST).as_micros() as u64;
        self.plan.extend_from_slice(&age.to_be_bytes()[3..]);
    }

    pub(super) fn len(&self) -> usize {
        self.plan.len() / Self::PLAN
    }
}

/// The script with what it counts.
pub(super) struct ReachCall<'a> {
    pub(super) script: &'a ReachStage,
    pub(super) reaches: &'a Reaches,
}

impl ReachCall<'_> {
    fn with_arguments(&self, mut command: Cmd, script: &str) -> Cmd {
        command.arg(script).arg(self.reaches.len());
        for key in self.reaches.keys.iter() {
            command.arg(key);
        }
        command
            .arg(self.reaches.window.as_micros() as u64)
            .arg(&self.reaches.plan);
        command
    }
}

impl Call for ReachCall<'_> {
    fn by_hash(&self) -> Cmd {
        self.with_arguments(redis::cmd("EVALSHA"), &self.script.sha)
    }

    fn by_text(&self) -> Cmd {
        self.with_arguments(redis::cmd("EVAL"), self.script.source)
    }
}

/// The script's answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// How many keys held something other than a journey.
    pub(super) broken_journeys: u64,
    pub(super) progress: Vec<Progress>,
}

impl Answer {
    /// Reads a reply to a call of so many reaches.
    ///
    /// # Errors
    /// Anything but what the script's header promises.
    pub(super) fn decode(reply: Value, reaches: usize) -> Result<Self, MalformedReply> {
        let Value::Array(values) = reply else {
            return Err(MalformedReply);
        };
        let mut numbers = values.into_iter().map(|value| match value {
            Value::Int(number) => Ok(u64::try_from(number)?),
            _ => Err(MalformedReply),
        });
        let mut next = || numbers.next().unwrap_or(Err(MalformedReply));
        let broken_journeys = next()?;
        let mut progress = Vec::with_capacity(reaches);
        for _ in 0..reaches {
            let (before, counted) = (next()?, next()?);
            if before > counted || counted > Reach::STAGES as u64 {
                return Err(MalformedReply);
            }
            let left = Duration::from_micros(next()?);
            let steps = (before..counted).map(|_| next().map(Duration::from_micros));
            progress.push(Progress {
                before: before as u8,
                steps: steps.collect::<Result<_, _>>()?,
                left,
            });
        }
        match numbers.next() {
            None => Ok(Self {
                broken_journeys,
                progress,
            }),
            Some(_) => Err(MalformedReply),
        }
    }
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::*;
    use crate::funnel::Visitor;
    use crate::model::{Network, Secret, UserId};

    fn reply(numbers: &[i64]) -> Value {
        Value::Array(numbers.iter().map(|n| Value::Int(*n)).collect())
    }

    #[test]
    fn reads_the_progress_of_a_batch() {
        let answer = Answer::decode(reply(&[1, 0, 2, 60_000_000, 0, 7, 3, 3, 5, 0, 0, 0]), 3);
        let micros = Duration::from_micros;
        let expected = Answer {
            broken_journeys: 1,
            progress: vec![
                Progress {
                    before: 0,
                    steps: smallvec![micros(0), micros(7)],
                    left: Duration::from_secs(60),
                },
                Progress {
                    before: 3,
                    steps: smallvec![],
                    left: micros(5),
                },
                Progress::default(),
            ],
        };
        assert_eq!(answer, Ok(expected));
    }

    #[test]
    fn refuses_what_the_script_never_answers() {
        for numbers in [
            &[][..],
            &[0],
            &[0, 0, 0],
            &[0, 0, 1, 0],
            &[0, 1, 0, 0],
            &[0, 0, 17, 0, 0],
            &[0, 0, 0, -1],
            &[-1, 0, 0, 0],
            &[0, 0, 0, 0, 0],
        ] {
            let answer = Answer::decode(reply(numbers), 1);
            assert_eq!(answer, Err(MalformedReply), "{numbers:?}");
        }
        for reply in [Value::Nil, Value::Okay, Value::Array(vec![Value::Nil; 4])] {
            assert_eq!(Answer::decode(reply, 1), Err(MalformedReply));
        }
    }

    #[test]
    fn writes_the_reaches_as_the_script_reads_them() {
        let secret = Secret::from_bytes(b"s");
        let mut reaches = Reaches::with_room_for(2, Duration::from_secs(60));
        let reach = |visitor, stage, age| Reach {
            visitor,
            stage,
            age: Duration::from_secs(age),
        };
        let ada = Visitor::user(UserId::new("ada", &secret));
        reaches.push("p:funnel:", &reach(ada, 3, 1));
        let network = Network::of("192.0.2.1".parse().unwrap(), 64);
        let nobody = Visitor::anonymous(network, &secret);
        reaches.push("p:funnel:", &reach(nobody.clone(), 0, 99));
        let call = ReachCall {
            script: &ReachStage::new(),
            reaches: &reaches,
        };
        let packed = call.by_hash().get_packed_command();
        let head = format!(
            "$1\r\n2\r\n$12\r\np:funnel:ada\r\n$42\r\np:funnel:{nobody}\r\n$8\r\n60000000\r\n$12\r\n"
        );
        let plan = [
            [3, 0, 0, 0x0f, 0x42, 0x40],    // 1,000,000
            [0, 0, 0x01, 0xc9, 0xc3, 0x80], // 30,000,000
        ];
        let tail = [head.as_bytes(), &plan.concat(), b"\r\n"].concat();
        assert!(packed.ends_with(&tail), "{}", packed.escape_ascii());
        assert!(!nobody.to_string().contains("192"), "{nobody}");
    }
}
