//! The port of suspicion: clients' failures, counted over all processes.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use redis::Value;

use super::answer::{Answer, Elements, MalformedReply};
use super::call::{Call, Script, refused};
use super::error::Failure;
use super::keys::Keys;
use super::logins::{self, Logins};
use super::{Core, RedisStore};
use crate::model::{Operation, Route};
use crate::store::Analytics;
use crate::suspicion::store::{Counts, FailedRequest, FailureStore, Incident, Reply, Rule};
use crate::suspicion::{AccountHash, AccountState};
use crate::task::queue::BATCH;

static COUNT_FAILURES: Script = Script::new(concat!(
    include_str!("lua/refused.lua"),
    include_str!("lua/value.lua"),
    include_str!("lua/ledger.lua"),
    include_str!("lua/kept.lua"),
    include_str!("lua/count_failures.lua")
));

/// The most failed requests that one call may carry, so that it holds the server for less than 20 ms whatever their trails.
const MOST_REQUESTS: usize = BATCH;

impl FailureStore for RedisStore {
    fn count(&self, rules: &[Rule], requests: &[FailedRequest]) -> Reply<Counts> {
        if requests.len() > MOST_REQUESTS {
            let why = "more than 32 failed requests in one call";
            return Reply::Ready(Err(refused(why)));
        }
        let watched = |rule: &Rule| (*rule, self.0.prefix.of_rule(rule));
        let of_failures = rules.iter().filter(|rule| !rule.distinct);
        let room = Room {
            ledger: self.0.prefix.ledger(Analytics::Failures),
            budget: self.0.budget(Analytics::Failures),
        };
        let of_failures = of_failures.map(watched).collect::<Vec<_>>();
        let failures = failures(&of_failures, requests, &room);
        let logins = Logins::of(&self.0.prefix, rules).counting(requests, &room);
        if failures.is_none() && logins.is_none() {
            return Reply::Ready(Ok(Counts::default()));
        }
        if let Some(rejected) = self.0.reject(Operation::Count) {
            return Reply::Ready(Err(rejected));
        }
        let core = Arc::clone(&self.0);
        Reply::pending(async move {
            let counting = core.count(failures, logins);
            core.attempt(Operation::Count, counting).await
        })
    }

    fn account(&self, rules: &[Rule], account: AccountHash) -> Reply<AccountState> {
        let room = Room {
            ledger: self.0.prefix.ledger(Analytics::Failures),
            // It makes no key.
            budget: 0,
        };
        match Logins::of(&self.0.prefix, rules).looking_up(account, &room) {
            Some(call) => self.0.request(Operation::Account, || call, logins::state),
            None => Reply::Ready(Ok(AccountState::default())),
        }
    }
}

/// What the ledger of the failures is called, and how many bytes it may hold.
pub(super) struct Room {
    pub(super) ledger: String,
    pub(super) budget: u64,
}

/// A call, and where each thing that it counts comes from.
pub(super) struct Counted<O> {
    pub(super) call: Call,
    pub(super) origins: Vec<O>,
}

impl Core {
    /// Counts failures and logins in one round trip: both calls leave before either is answered, failures first.
    async fn count(
        self: &Arc<Self>,
        failures: Option<Counted<(usize, Rule)>>,
        logins: Option<Counted<logins::Origin>>,
    ) -> Result<Counts, Failure> {
        if failures.is_some() && logins.is_some() {
            // Else each would make a connection of its own, and the order would be lost.
            self.connections.ensure().await?;
        }
        let failures = async {
            match &failures {
                Some(Counted { call, origins }) => {
                    self.ask(call, |reply| incidents(reply, origins)).await
                }
                None => Ok(Counts::default()),
            }
        };
        let logins = async {
            match &logins {
                Some(Counted { call, origins }) => {
                    self.ask(call, |reply| logins::incidents(reply, origins))
                        .await
                }
                None => Ok(Counts::default()),
            }
        };
        let (failures, logins) = tokio::join!(biased; failures, logins);
        let (mut counts, mut logins) = (failures?, logins?);
        counts.incidents.append(&mut logins.incidents);
        counts.refused.append(&mut logins.refused);
        self.over_budget(Analytics::Failures, counts.refused.len() as u64);
        Ok(counts)
    }
}

/// The call that counts the failures among the requests; `None` if no kind counts any of them.
fn failures(
    rules: &[(Rule, Box<str>)],
    requests: &[FailedRequest],
    room: &Room,
) -> Option<Counted<(usize, Rule)>> {
    const PLAN: usize = 8;
    let most = requests.len() * rules.len();
    let mut keys = Keys::with_room_for(1 + most);
    keys.push_text(&room.ledger);
    let mut plan = Vec::with_capacity(most * PLAN);
    let mut origins = Vec::with_capacity(most);
    for (place, request) in requests.iter().enumerate() {
        for (rule, prefix) in rules {
            if !request.counts(rule.kind) {
                continue;
            }
            keys.push(prefix, &request.client.into());
            // At most 1,000, 86,400,000,000 and 31: the upper bytes are 0.
            plan.extend_from_slice(&rule.threshold.count().to_be_bytes()[2..]);
            plan.extend_from_slice(&rule.threshold.window_micros().to_be_bytes()[3..]);
            plan.push(place as u8);
            origins.push((place, *rule));
        }
    }
    if origins.is_empty() {
        return None;
    }
    let mut call = COUNT_FAILURES.on(&keys);
    call.arg(plan).arg(room.budget);
    for request in requests {
        call.arg(request.route.shown());
    }
    Some(Counted { call, origins })
}

/// Reads the incidents among failures of these requests and kinds.
fn incidents(reply: Value, origins: &[(usize, Rule)]) -> Result<Answer<Counts>, MalformedReply> {
    Answer::read(reply, |elements| {
        let mut counts = Counts::default();
        while !elements.is_empty() {
            let key = usize::try_from(elements.number()?)?;
            let (request, rule) = *origins.get(key).ok_or(MalformedReply)?;
            let incident = Incident {
                request,
                rule,
                count: elements.number()?,
                estimated: false,
                span: Duration::from_micros(elements.number()?),
                routes: (0..elements.number()?)
                    .map(|_| route(elements))
                    .collect::<Result<_, _>>()?,
            };
            counts.add(incident);
        }
        Ok(counts)
    })
}

fn route(elements: &mut Elements) -> Result<Route, MalformedReply> {
    Ok(Cow::<'static, str>::Owned(elements.text()?).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Network;
    use crate::suspicion::IncidentKind;

    fn origins(keys: usize) -> Vec<(usize, Rule)> {
        let rule = Rule::new(IncidentKind::Abuse, IncidentKind::Abuse.default_threshold());
        (0..keys).map(|key| (key * 10, rule)).collect()
    }

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn reads_the_incidents_of_a_batch() {
        let reply = Value::Array(vec![
            Value::Int(1),
            Value::Int(0),
            Value::Int(5),
            Value::Int(60_000_000),
            Value::Int(1),
            text("/login"),
            Value::Int(1),
            Value::Int(0),
            Value::Int(0),
            Value::Int(0),
            Value::Int(2),
            Value::Int(20),
            Value::Int(0),
            Value::Int(0),
        ]);
        let incident = |key: usize, count, seconds, routes| Incident {
            request: key * 10,
            rule: origins(1)[0].1,
            count,
            estimated: false,
            span: Duration::from_secs(seconds),
            routes,
        };
        let expected = Answer {
            broken: 1,
            answer: Counts {
                incidents: vec![
                    incident(0, 5, 60, vec![Route::from("/login")]),
                    incident(2, 20, 0, vec![]),
                ],
                refused: vec![(10, IncidentKind::Abuse)],
            },
        };
        assert_eq!(incidents(reply, &origins(3)), Ok(expected));
    }

    #[test]
    fn refuses_what_the_script_never_answers() {
        let ints = |numbers: &[i64]| numbers.iter().map(|n| Value::Int(*n)).collect::<Vec<_>>();
        let mut not_utf8 = ints(&[0, 0, 5, 1, 1]);
        not_utf8.push(Value::BulkString(vec![0xff]));
        for values in [
            vec![],
            vec![Value::Nil],
            ints(&[-1]),
            ints(&[0, 0]),
            ints(&[0, 0, 5, 1]),
            ints(&[0, 0, 5, 1, 1]),
            ints(&[0, 0, 5, 1, 1, 7]),
            ints(&[0, 3, 5, 1, 0]),
            ints(&[0, 0, -5, 1, 0]),
            not_utf8,
        ] {
            let reply = Value::Array(values);
            assert_eq!(
                incidents(reply.clone(), &origins(3)),
                Err(MalformedReply),
                "{reply:?}"
            );
        }
        for reply in [Value::Nil, Value::Okay, Value::Int(0), text("0")] {
            assert_eq!(incidents(reply, &origins(3)), Err(MalformedReply));
        }
    }

    #[test]
    fn writes_the_failures_as_the_script_reads_them() {
        let rule = |kind, threshold: &str, prefix: &str| {
            let threshold = threshold.parse().unwrap();
            (Rule::new(kind, threshold), Box::from(prefix))
        };
        let rules = [
            rule(
                IncidentKind::CredentialStuffing,
                "5/5m",
                "p:suspicious:401:",
            ),
            rule(IncidentKind::EndpointScanning, "10/1s", "p:suspicious:404:"),
            rule(IncidentKind::Abuse, "1000/24h", "p:suspicious:4xx:"),
        ];
        let request = |status, route| {
            FailedRequest::new(Network::of("192.0.2.1".parse().unwrap(), 64), status, route)
        };
        let long = Route::from(Arc::from("é".repeat(100)));
        let requests = [
            request(http::StatusCode::UNAUTHORIZED, Route::from("/login")),
            request(http::StatusCode::NOT_FOUND, long),
        ];
        let room = Room {
            ledger: "p:ledger:failures".to_owned(),
            budget: 5_000,
        };
        let Counted { call, origins } = failures(&rules, &requests, &room).unwrap();
        let origins: Vec<_> = origins
            .iter()
            .map(|(place, rule)| (*place, rule.kind))
            .collect();
        assert_eq!(
            origins,
            [
                (0, IncidentKind::CredentialStuffing),
                (0, IncidentKind::Abuse),
                (1, IncidentKind::EndpointScanning),
                (1, IncidentKind::Abuse)
            ]
        );
        let packed = call.packed();
        let keys = "$1\r\n5\r\n$17\r\np:ledger:failures\r\n$26\r\np:suspicious:401:192.0.2.1\r\n$26\r\np:suspicious:4xx:192.0.2.1\r\n$26\r\n\
                    p:suspicious:404:192.0.2.1\r\n$26\r\np:suspicious:4xx:192.0.2.1\r\n$32\r\n";
        let plan = [
            [0, 5, 0, 0x11, 0xe1, 0xa3, 0, 0],       // 300,000,000
            [3, 0xe8, 0x14, 0x1d, 0xd7, 0x60, 0, 0], // 86,400,000,000
            [0, 10, 0, 0, 0x0f, 0x42, 0x40, 1],      // 1,000,000
            [3, 0xe8, 0x14, 0x1d, 0xd7, 0x60, 0, 1],
        ];
        let routes = format!(
            "\r\n$4\r\n5000\r\n$6\r\n/login\r\n$128\r\n{}\r\n",
            "é".repeat(64)
        );
        let tail = [keys.as_bytes(), &plan.concat(), routes.as_bytes()].concat();
        assert!(packed.ends_with(&tail), "{}", packed.escape_ascii());
    }
}
