//! What is counted by distinct items, over all processes: the things of failures, and the kinds of logins.

use std::time::Duration;

use redis::Value;

use super::answer::{Answer, Elements, MalformedReply};
use super::call::{Call, Script};
use super::failures::{Counted, Room};
use super::keys::{Keys, Prefix};
use crate::model::{PartitionKey, Route};
use crate::suspicion::store::{Counts, FailedRequest, Incident, Rule};
use crate::suspicion::{AccountHash, AccountState, IncidentKind, LoginAttempt};

static COUNT_DISTINCT: Script = Script::new(concat!(
    include_str!("lua/refused.lua"),
    include_str!("lua/value.lua"),
    include_str!("lua/ledger.lua"),
    include_str!("lua/kept.lua"),
    include_str!("lua/count_distinct.lua")
));

/// A kind, and the prefix of its keys.
type Watched = (Rule, Box<str>);

/// The request and the kind that a step is of, and the request's route.
pub(super) type Origin = (usize, Rule, Route);

/// Kinds that count distinct items.
pub(super) struct Logins {
    rules: Vec<Watched>,
    /// The kinds whose episodes make a network suspicious by its failures.
    failures: Vec<Watched>,
}

impl Logins {
    const OF_CREDENTIALS: [IncidentKind; 2] = [
        IncidentKind::CredentialStuffing,
        IncidentKind::CredentialStuffingSlow,
    ];

    pub(super) fn of(prefix: &Prefix, rules: &[Rule]) -> Self {
        let of = |kinds: &dyn Fn(&Rule) -> bool| {
            let rules = rules.iter().filter(|rule| kinds(rule));
            rules.map(|rule| (*rule, prefix.of_rule(rule))).collect()
        };
        Self {
            rules: of(&|rule| rule.distinct),
            failures: of(&|rule| {
                let of_credentials = Self::OF_CREDENTIALS.contains(&rule.kind);
                of_credentials && !rule.distinct
            }),
        }
    }

    fn get(&self, kind: IncidentKind) -> Option<&Watched> {
        self.rules.iter().find(|(rule, _)| rule.kind == kind)
    }

    /// The call that counts the things and the logins of the requests; `None` if no kind counts any of them.
    pub(super) fn counting(
        &self,
        requests: &[FailedRequest],
        room: &Room,
    ) -> Option<Counted<Origin>> {
        if self.rules.is_empty() {
            return None;
        }
        let mut steps = Steps::with_room_for(requests.len() * 2);
        let mut origins = Vec::with_capacity(requests.len() * 2);
        for (place, request) in requests.iter().enumerate() {
            let mut push = |what, watched: &Watched, key: &_, item| {
                steps.push(what, watched, key, item);
                origins.push((place, watched.0, request.route.clone()));
            };
            for watched in &self.rules {
                if request.counts(watched.0.kind) {
                    push(What::Count, watched, &request.client.into(), request.thing);
                }
            }
            if let Some(login) = request.login {
                self.push(request, login, push);
            }
        }
        let call = (!origins.is_empty()).then(|| steps.call(room))?;
        Some(Counted { call, origins })
    }

    fn push(
        &self,
        request: &FailedRequest,
        login: LoginAttempt,
        mut push: impl FnMut(What, &Watched, &PartitionKey, u64),
    ) {
        let network = &PartitionKey::from(request.client);
        let account = &PartitionKey::of_ours(login.account.to_string());
        let spraying = self.get(IncidentKind::PasswordSpraying);
        let stuffing = self.get(IncidentKind::DistributedStuffing);
        if !login.succeeded {
            if let Some(watched) = spraying {
                push(What::Count, watched, network, login.account.item());
            }
            if let Some(watched) = stuffing {
                push(What::Count, watched, account, login.network);
            }
        } else if let Some(success) = self.get(IncidentKind::SuccessAfterFailures) {
            if let Some(watched) = stuffing {
                push(What::IsDistinct, watched, account, 0);
            }
            if let Some(watched) = spraying {
                push(What::IsDistinct, watched, network, 0);
            }
            for watched in &self.failures {
                push(What::IsFailing, watched, network, 0);
            }
            for watched in Self::OF_CREDENTIALS
                .map(|kind| self.get(kind))
                .into_iter()
                .flatten()
            {
                push(What::IsDistinct, watched, network, 0);
            }
            push(What::CountIfSuspicious, success, account, login.network);
        }
    }

    /// The call that reads the state of an account; `None` if no kind counts accounts.
    pub(super) fn looking_up(&self, account: AccountHash, room: &Room) -> Option<Call> {
        let watched = self.get(IncidentKind::DistributedStuffing)?;
        let account = PartitionKey::of_ours(account.to_string());
        let mut steps = Steps::with_room_for(1);
        steps.push(What::State, watched, &account, 0);
        Some(steps.call(room))
    }
}

/// A step, by its number in the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Count = 1,
    IsFailing = 2,
    IsDistinct = 3,
    CountIfSuspicious = 4,
    State = 5,
}

/// The steps of one call.
struct Steps {
    keys: Keys,
    /// As the script reads them, sixteen bytes for each step.
    plan: Vec<u8>,
}

impl Steps {
    fn with_room_for(steps: usize) -> Self {
        Self {
            keys: Keys::with_room_for(steps * 2),
            plan: Vec::with_capacity(steps * 16),
        }
    }

    fn push(&mut self, what: What, (rule, prefix): &Watched, key: &PartitionKey, item: u64) {
        self.keys.push(prefix, key);
        if !matches!(what, What::IsFailing | What::IsDistinct) {
            self.keys.push_sketch(prefix, key);
        }
        self.plan.push(what as u8);
        // At most 1,000 and 86,400,000,000: the upper bytes are 0.
        self.plan
            .extend_from_slice(&rule.threshold.count().to_be_bytes()[2..]);
        self.plan
            .extend_from_slice(&rule.threshold.window_micros().to_be_bytes()[3..]);
        self.plan.extend_from_slice(&item.to_be_bytes());
    }

    fn call(self, room: &Room) -> Call {
        let mut call = COUNT_DISTINCT.call(1 + self.keys.len());
        call.arg(&*room.ledger);
        call.keys(&self.keys);
        call.arg(self.plan).arg(room.budget);
        call
    }
}

/// An incident, or the state of a trail.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    /// Its place among the steps of the call.
    step: usize,
    count: u64,
    span: Duration,
    estimated: bool,
    in_episode: bool,
}

impl Finding {
    fn read(elements: &mut Elements) -> Result<Self, MalformedReply> {
        let step = usize::try_from(elements.number()?)?;
        let (count, span, flags) = (elements.number()?, elements.number()?, elements.number()?);
        if flags > 3 {
            return Err(MalformedReply);
        }
        Ok(Self {
            step,
            count,
            span: Duration::from_micros(span),
            estimated: flags & 1 != 0,
            in_episode: flags & 2 != 0,
        })
    }
}

/// Reads the incidents among steps of these origins.
pub(super) fn incidents(
    reply: Value,
    origins: &[Origin],
) -> Result<Answer<Counts>, MalformedReply> {
    Answer::read(reply, |elements| {
        let mut counts = Counts::default();
        while !elements.is_empty() {
            let found = Finding::read(elements)?;
            let (request, rule, route) = origins.get(found.step).ok_or(MalformedReply)?;
            counts.add(Incident {
                request: *request,
                rule: *rule,
                count: found.count,
                estimated: found.estimated,
                span: found.span,
                routes: vec![route.clone()],
            });
        }
        Ok(counts)
    })
}

/// Reads the state of the one account that was asked for.
pub(super) fn state(reply: Value) -> Result<Answer<AccountState>, MalformedReply> {
    Answer::read(reply, |elements| {
        let found = Finding::read(elements)?;
        if found.step != 0 {
            return Err(MalformedReply);
        }
        Ok(AccountState::new(
            found.in_episode,
            found.count,
            found.estimated,
            found.span,
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Network;

    fn ints(numbers: &[i64]) -> Value {
        Value::Array(numbers.iter().map(|n| Value::Int(*n)).collect())
    }

    fn origins() -> [Origin; 3] {
        let kind = IncidentKind::PasswordSpraying;
        let threshold = kind.default_threshold();
        [5, 6, 7].map(|place| (place, Rule::new(kind, threshold), Route::from("/login")))
    }

    #[test]
    fn reads_incidents_and_states() {
        let incident = |place, count, seconds, estimated| Incident {
            request: place,
            rule: origins()[0].1,
            count,
            estimated,
            span: Duration::from_secs(seconds),
            routes: vec![Route::from("/login")],
        };
        let expected = Answer {
            broken: 1,
            answer: Counts {
                incidents: vec![incident(5, 5, 60, false), incident(7, 70, 0, true)],
                refused: vec![(6, IncidentKind::PasswordSpraying)],
            },
        };
        let reply = ints(&[1, 0, 5, 60_000_000, 2, 1, 0, 0, 0, 2, 70, 0, 3]);
        assert_eq!(incidents(reply, &origins()), Ok(expected));

        let micros = Duration::from_micros;
        for (flags, state_of) in [
            (0, AccountState::new(false, 2, false, micros(9))),
            (2, AccountState::new(true, 2, false, micros(9))),
            (3, AccountState::new(true, 2, true, micros(9))),
        ] {
            let found = state(ints(&[1, 0, 2, 9, flags]));
            let expected = Answer {
                broken: 1,
                answer: state_of,
            };
            assert_eq!(found, Ok(expected));
        }
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
            let found = incidents(ints(numbers), &origins());
            assert_eq!(found, Err(MalformedReply), "{numbers:?}");
            assert_eq!(state(ints(numbers)), Err(MalformedReply), "{numbers:?}");
        }
        for numbers in [&[0][..], &[0, 0, 5, 1, 2, 0, 5, 1, 2], &[0, 1, 5, 1, 2]] {
            assert_eq!(state(ints(numbers)), Err(MalformedReply), "{numbers:?}");
        }
        for reply in [Value::Nil, Value::Okay, Value::Int(0)] {
            let found = incidents(reply.clone(), &origins());
            assert_eq!(found, Err(MalformedReply));
            assert_eq!(state(reply), Err(MalformedReply));
        }
    }

    #[test]
    fn writes_the_steps_as_the_script_reads_them() {
        let client = Network::of("192.0.2.1".parse().unwrap(), 64).into();
        let account = PartitionKey::of_ours("~ab".into());
        let mut steps = Steps::with_room_for(2);
        let watched = |kind, threshold: &str, prefix: &str| {
            let threshold = threshold.parse().unwrap();
            (Rule::new(kind, threshold), Box::from(prefix))
        };
        let failing = watched(IncidentKind::CredentialStuffing, "1000/1s", "p:401:");
        let successes = watched(IncidentKind::SuccessAfterFailures, "4/24h", "p:a:");
        steps.push(What::IsFailing, &failing, &client, 0);
        steps.push(What::CountIfSuspicious, &successes, &account, 1 << 63 | 7);
        let room = Room {
            ledger: "p:l".to_owned(),
            budget: 5_000,
        };
        let packed = steps.call(&room).packed();
        let keys = "$1\r\n4\r\n$3\r\np:l\r\n$15\r\np:401:192.0.2.1\r\n$7\r\np:a:~ab\r\n$14\r\np:a:~ab:sketch\r\n$32\r\n";
        let plan = [
            [2, 3, 0xe8, 0, 0, 0x0f, 0x42, 0x40, 0, 0, 0, 0, 0, 0, 0, 0],
            [
                4, 0, 4, 0x14, 0x1d, 0xd7, 0x60, 0, 0x80, 0, 0, 0, 0, 0, 0, 7,
            ],
        ];
        let tail = [keys.as_bytes(), &plan.concat(), b"\r\n$4\r\n5000\r\n"].concat();
        assert!(packed.ends_with(&tail), "{}", packed.escape_ascii());
    }
}
