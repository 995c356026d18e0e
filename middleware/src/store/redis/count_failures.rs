//! The script that counts failures, behind a typed wrapper.

use std::time::Duration;

use redis::{Cmd, Script, Value};

use super::keys::Keys;
use super::scripts::{Call, MalformedReply};
use crate::model::{Network, Route};
use crate::suspicion::Threshold;

/// `lua/count_failures.lua`: counts a batch of failed requests.
pub(super) struct CountFailures {
    source: &'static str,
    sha: String,
}

impl CountFailures {
    /// The most failed requests that one call may carry: the script numbers their routes in a byte, and so many under
    /// every kind stay below its 1,000 keys.
    pub(super) const MAX_REQUESTS: usize = 250;

    pub(super) fn new() -> Self {
        let source = include_str!("lua/count_failures.lua");
        Self {
            source,
            sha: Script::new(source).get_hash().to_owned(),
        }
    }
}

/// What one call counts.
#[derive(Debug)]
pub(super) struct Failures {
    keys: Keys,
    /// As the script reads them, eight bytes for each key.
    plan: Vec<u8>,
    /// One for each request.
    routes: Vec<Route>,
}

impl Failures {
    const PLAN: usize = 8;

    pub(super) fn with_room_for(requests: usize, kinds: usize) -> Self {
        Self {
            keys: Keys::with_room_for(requests * kinds),
            plan: Vec::with_capacity(requests * kinds * Self::PLAN),
            routes: Vec::with_capacity(requests),
        }
    }

    /// The request that is counted next, of at most [`CountFailures::MAX_REQUESTS`].
    pub(super) fn push_request(&mut self, route: &Route) {
        self.routes.push(route.clone());
    }

    /// Counts the last request in the trail of a client.
    pub(super) fn push(&mut self, kind_prefix: &str, client: Network, threshold: Threshold) {
        self.keys.push(kind_prefix, &client.into());
        // At most 1,000, 86,400,000,000 and 249: the upper bytes are 0.
        self.plan
            .extend_from_slice(&threshold.count().to_be_bytes()[2..]);
        self.plan
            .extend_from_slice(&threshold.window_micros().to_be_bytes()[3..]);
        self.plan.push(self.routes.len().saturating_sub(1) as u8);
    }

    pub(super) fn keys(&self) -> usize {
        self.plan.len() / Self::PLAN
    }
}

/// The script with what it counts.
pub(super) struct CountCall<'a> {
    pub(super) script: &'a CountFailures,
    pub(super) failures: &'a Failures,
}

impl CountCall<'_> {
    fn with_arguments(&self, mut command: Cmd, script: &str) -> Cmd {
        command.arg(script).arg(self.failures.keys());
        for key in self.failures.keys.iter() {
            command.arg(key);
        }
        command.arg(&self.failures.plan);
        for route in &self.failures.routes {
            command.arg(route.shown());
        }
        command
    }
}

impl Call for CountCall<'_> {
    fn by_hash(&self) -> Cmd {
        self.with_arguments(redis::cmd("EVALSHA"), &self.script.sha)
    }

    fn by_text(&self) -> Cmd {
        self.with_arguments(redis::cmd("EVAL"), self.script.source)
    }
}

/// The script's answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reports {
    /// How many keys held something other than a trail.
    pub(super) broken_trails: u64,
    pub(super) reports: Vec<Report>,
}

/// A failure that is an incident.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// Its place among the keys of the call.
    pub(super) key: usize,
    pub(super) count: u64,
    pub(super) span: Duration,
    pub(super) routes: Vec<Route>,
}

impl Reports {
    /// Reads a reply to a call of so many keys.
    ///
    /// # Errors
    /// Anything but what the script's header promises.
    pub(super) fn decode(reply: Value, keys: usize) -> Result<Self, MalformedReply> {
        let Value::Array(values) = reply else {
            return Err(MalformedReply);
        };
        let mut values = values.into_iter();
        let broken_trails = number(values.next())?;
        let mut reports = Vec::new();
        while let Some(key) = values.next() {
            let key = usize::try_from(number(Some(key))?)?;
            if key >= keys {
                return Err(MalformedReply);
            }
            let (count, span) = (number(values.next())?, number(values.next())?);
            let routes = (0..number(values.next())?).map(|_| route(values.next()));
            reports.push(Report {
                key,
                count,
                span: Duration::from_micros(span),
                routes: routes.collect::<Result<_, _>>()?,
            });
        }
        Ok(Self {
            broken_trails,
            reports,
        })
    }
}

pub(super) fn number(value: Option<Value>) -> Result<u64, MalformedReply> {
    match value {
        Some(Value::Int(number)) => Ok(u64::try_from(number)?),
        _ => Err(MalformedReply),
    }
}

fn route(value: Option<Value>) -> Result<Route, MalformedReply> {
    match value {
        Some(Value::BulkString(bytes)) => {
            let text = String::from_utf8(bytes).map_err(|_| MalformedReply)?;
            Ok(std::borrow::Cow::<'static, str>::Owned(text).into())
        }
        _ => Err(MalformedReply),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            Value::Int(2),
            Value::Int(20),
            Value::Int(0),
            Value::Int(0),
        ]);
        let reports = Reports::decode(reply, 3).unwrap();
        let report = |key, count, seconds, routes| Report {
            key,
            count,
            span: Duration::from_secs(seconds),
            routes,
        };
        let expected = Reports {
            broken_trails: 1,
            reports: vec![
                report(0, 5, 60, vec![Route::from("/login")]),
                report(2, 20, 0, vec![]),
            ],
        };
        assert_eq!(reports, expected);
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
                Reports::decode(reply.clone(), 3),
                Err(MalformedReply),
                "{reply:?}"
            );
        }
        for reply in [Value::Nil, Value::Okay, Value::Int(0), text("0")] {
            assert_eq!(Reports::decode(reply, 3), Err(MalformedReply));
        }
    }

    #[test]
    fn writes_the_failures_as_the_script_reads_them() {
        let client = Network::of("192.0.2.1".parse().unwrap(), 64);
        let mut failures = Failures::with_room_for(2, 2);
        failures.push_request(&Route::from("/login"));
        failures.push("p:suspicious:401:", client, "5/5m".parse().unwrap());
        failures.push("p:suspicious:4xx:", client, "1000/24h".parse().unwrap());
        failures.push_request(&Route::from(std::sync::Arc::from("é".repeat(100))));
        failures.push("p:suspicious:404:", client, "10/1s".parse().unwrap());
        let call = CountCall {
            script: &CountFailures::new(),
            failures: &failures,
        };
        let packed = call.by_hash().get_packed_command();
        let keys = "$1\r\n3\r\n$26\r\np:suspicious:401:192.0.2.1\r\n$26\r\np:suspicious:4xx:192.0.2.1\r\n$26\r\n\
                    p:suspicious:404:192.0.2.1\r\n$24\r\n";
        let plan = [
            [0, 5, 0, 0x11, 0xe1, 0xa3, 0, 0],       // 300,000,000
            [3, 0xe8, 0x14, 0x1d, 0xd7, 0x60, 0, 0], // 86,400,000,000
            [0, 10, 0, 0, 0x0f, 0x42, 0x40, 1],      // 1,000,000
        ];
        let routes = format!("\r\n$6\r\n/login\r\n$128\r\n{}\r\n", "é".repeat(64));
        let tail = [keys.as_bytes(), &plan.concat(), routes.as_bytes()].concat();
        assert!(packed.ends_with(&tail), "{}", packed.escape_ascii());
    }
}
