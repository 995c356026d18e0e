//! The port of the funnel: how far visitors came, over all processes.

use std::sync::Arc;
use std::time::Duration;

use redis::Value;

use super::RedisStore;
use super::answer::{Answer, MalformedReply};
use super::call::{Call, Script, refused};
use super::keys::{Keys, Prefix};
use crate::funnel::store::{Journeys, Progress, Reach, Reply, VisitStore};
use crate::model::Operation;
use crate::store::Analytics;

static REACH_STAGE: Script = Script::new(concat!(
    include_str!("lua/refused.lua"),
    include_str!("lua/value.lua"),
    include_str!("lua/ledger.lua"),
    include_str!("lua/kept.lua"),
    include_str!("lua/reach_stage.lua")
));

/// The most reaches that one call may carry, so that it holds the server for less than 20 ms whatever the journeys.
const MOST_REACHES: usize = 160;
/// In the place of the stages that were counted: there was no room for the visitor.
const REFUSED: u64 = 255;

impl VisitStore for RedisStore {
    fn reach(&self, journeys: Journeys, reaches: &[Reach]) -> Reply<Vec<Progress>> {
        let count = reaches.len();
        if count == 0 {
            return Reply::Ready(Ok(Vec::new()));
        }
        if count > MOST_REACHES {
            let why = "more than 160 reached stages in one call";
            return Reply::Ready(Err(refused(why)));
        }
        let core = Arc::clone(&self.0);
        let read = move |reply| {
            let answer = progress(reply, count)?;
            let refused = answer.answer.iter().filter(|it| it.refused).count();
            core.over_budget(Analytics::Visitors, refused as u64);
            Ok(answer)
        };
        let call = || {
            let budget = self.0.budget(Analytics::Visitors);
            call(&self.0.prefix, journeys, reaches, budget)
        };
        self.0.request(Operation::Reach, call, read)
    }
}

/// A call that counts reaches of visitors, whose keys may take so many bytes.
fn call(prefix: &Prefix, journeys: Journeys, reaches: &[Reach], budget: u64) -> Call {
    const PLAN: usize = 6;
    let mut keys = Keys::with_room_for(1 + reaches.len());
    keys.push_text(&prefix.ledger(Analytics::Visitors));
    let prefix = prefix.of_visitors(journeys);
    let mut plan = Vec::with_capacity(reaches.len() * PLAN);
    for reach in reaches {
        keys.push(&prefix, reach.visitor.key());
        plan.push(reach.stage);
        // 30,000,000 at most: the upper bytes are 0.
        let age = reach.age.min(Reach::OLDEST).as_micros() as u64;
        plan.extend_from_slice(&age.to_be_bytes()[3..]);
    }
    let mut call = REACH_STAGE.on(&keys);
    call.arg(journeys.window.as_micros() as u64)
        .arg(plan)
        .arg(budget);
    call
}

/// Reads the progress of this many reaches.
fn progress(reply: Value, reaches: usize) -> Result<Answer<Vec<Progress>>, MalformedReply> {
    Answer::read(reply, |elements| {
        let one = |_| {
            let before = elements.number()?;
            if before == REFUSED {
                return Ok(Progress {
                    refused: true,
                    ..Progress::default()
                });
            }
            let counted = elements.number()?;
            if before > counted || counted > Reach::STAGES as u64 {
                return Err(MalformedReply);
            }
            let mut duration = || elements.number().map(Duration::from_micros);
            let left = duration()?;
            let steps = (before..counted).map(|_| duration());
            Ok(Progress {
                before: before as u8,
                steps: steps.collect::<Result<_, _>>()?,
                left,
                refused: false,
            })
        };
        (0..reaches).map(one).collect()
    })
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::*;
    use crate::funnel::store::Visitor;
    use crate::model::{Network, Secret, UserId};

    fn reply(numbers: &[i64]) -> Value {
        Value::Array(numbers.iter().map(|n| Value::Int(*n)).collect())
    }

    #[test]
    fn reads_the_progress_of_a_batch() {
        let answer = progress(
            reply(&[1, 0, 2, 60_000_000, 0, 7, 3, 3, 5, 255, 0, 0, 0]),
            4,
        );
        let micros = Duration::from_micros;
        let expected = Answer {
            broken: 1,
            answer: vec![
                Progress {
                    before: 0,
                    steps: smallvec![micros(0), micros(7)],
                    left: Duration::from_secs(60),
                    refused: false,
                },
                Progress {
                    before: 3,
                    steps: smallvec![],
                    left: micros(5),
                    refused: false,
                },
                Progress {
                    refused: true,
                    ..Progress::default()
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
            &[0, 254, 255, 0],
            &[0, 255, 0, 0],
            &[0, 0, 17, 0, 0],
            &[0, 0, 0, -1],
            &[-1, 0, 0, 0],
            &[0, 0, 0, 0, 0],
        ] {
            let answer = progress(reply(numbers), 1);
            assert_eq!(answer, Err(MalformedReply), "{numbers:?}");
        }
        for reply in [Value::Nil, Value::Okay, Value::Array(vec![Value::Nil; 4])] {
            assert_eq!(progress(reply, 1), Err(MalformedReply));
        }
    }

    #[test]
    fn writes_the_reaches_as_the_script_reads_them() {
        let secret = Secret::from_bytes(b"s");
        let reach = |visitor, stage, age| Reach {
            visitor,
            stage,
            age: Duration::from_secs(age),
        };
        let ada = Visitor::user(UserId::new("ada", &secret));
        let network = Network::of("192.0.2.1".parse().unwrap(), 64);
        let nobody = Visitor::anonymous(network, &secret);
        let journeys = Journeys::of(["buy"], Duration::from_secs(60));
        let reaches = [reach(ada, 3, 1), reach(nobody.clone(), 0, 99)];
        let packed = call(&Prefix::new("p:").unwrap(), journeys, &reaches, 5_000).packed();
        let head = format!(
            "$1\r\n3\r\n$17\r\np:ledger:visitors\r\n$25\r\np:funnel:60s:a5a00bbe:ada\r\n$55\r\np:funnel:60s:a5a00bbe:{nobody}\r\n$8\r\n60000000\r\n$12\r\n"
        );
        let plan = [
            [3, 0, 0, 0x0f, 0x42, 0x40],    // 1,000,000
            [0, 0, 0x01, 0xc9, 0xc3, 0x80], // 30,000,000
        ];
        let tail = [head.as_bytes(), &plan.concat(), b"\r\n$4\r\n5000\r\n"].concat();
        assert!(packed.ends_with(&tail), "{}", packed.escape_ascii());
        assert!(!nobody.to_string().contains("192"), "{nobody}");
    }
}
