//! The scripts that keep bans, behind typed wrappers.

use std::time::Duration;

use redis::{Cmd, Script, Value};

use super::scripts::{Call, MalformedReply};
use crate::model::Network;
use crate::suspicion::{Ban, BanReason, Sentence, micros};

/// `lua/impose_ban.lua`, `lua/lift_ban.lua` and `lua/read_bans.lua`.
pub(super) struct BanScripts {
    impose: Text,
    lift: Text,
    read: Text,
}

struct Text {
    source: &'static str,
    sha: String,
}

impl Text {
    fn new(source: &'static str) -> Self {
        let sha = Script::new(source).get_hash().to_owned();
        Self { source, sha }
    }
}

/// How long a client is banned, and whether for an offence.
pub(super) struct Terms(Vec<u8>);

impl Terms {
    /// For an offence.
    pub(super) fn of(reason: BanReason, sentence: &Sentence, roll: u32) -> Self {
        Self::new(reason, true, sentence.ladder(roll))
    }

    /// By hand.
    pub(super) fn manual(length: Duration) -> Self {
        let length = length.clamp(Ban::SHORTEST, Ban::LONGEST);
        Self::new(BanReason::Manual, false, [length])
    }

    fn new(reason: BanReason, strike: bool, lengths: impl IntoIterator<Item = Duration>) -> Self {
        let mut terms = vec![reason.code(), u8::from(strike)];
        let mut push = |duration| {
            // A year is less than 2^45 µs: the upper byte is 0.
            terms.extend_from_slice(&micros(duration).to_be_bytes()[1..]);
        };
        push(Sentence::FORGET_AFTER);
        lengths.into_iter().for_each(push);
        Self(terms)
    }
}

impl BanScripts {
    /// The most bans that one call may read; the script refuses more.
    pub(super) const MAX_READ: usize = 1_000;

    pub(super) fn new() -> Self {
        Self {
            impose: Text::new(include_str!("lua/impose_ban.lua")),
            lift: Text::new(include_str!("lua/lift_ban.lua")),
            read: Text::new(include_str!("lua/read_bans.lua")),
        }
    }

    pub(super) fn impose(&self, keys: [String; 2], client: Network, terms: Terms) -> BanCall<'_> {
        BanCall {
            script: &self.impose,
            keys: keys.into(),
            arguments: vec![client.to_string().into(), terms.0],
        }
    }

    pub(super) fn lift(&self, keys: [String; 2], client: Network) -> BanCall<'_> {
        BanCall {
            script: &self.lift,
            keys: keys.into(),
            arguments: vec![client.to_string().into()],
        }
    }

    /// Reads at most [`Self::MAX_READ`] bans.
    pub(super) fn read(&self, keys: Vec<String>) -> BanCall<'_> {
        BanCall {
            script: &self.read,
            keys,
            arguments: Vec::new(),
        }
    }
}

/// A script with what it is asked.
pub(super) struct BanCall<'a> {
    script: &'a Text,
    keys: Vec<String>,
    arguments: Vec<Vec<u8>>,
}

impl BanCall<'_> {
    fn with_arguments(&self, mut command: Cmd, script: &str) -> Cmd {
        command.arg(script).arg(self.keys.len());
        command.arg(&self.keys).arg(&self.arguments);
        command
    }
}

impl Call for BanCall<'_> {
    fn by_hash(&self) -> Cmd {
        self.with_arguments(redis::cmd("EVALSHA"), &self.script.sha)
    }

    fn by_text(&self) -> Cmd {
        self.with_arguments(redis::cmd("EVAL"), self.script.source)
    }
}

/// The clients of the index whose bans end last.
pub(super) struct ReadIndex {
    pub(super) key: String,
    pub(super) limit: usize,
}

impl Call for ReadIndex {
    fn by_hash(&self) -> Cmd {
        let mut command = redis::cmd("ZREVRANGE");
        command
            .arg(&self.key)
            .arg(0)
            .arg(self.limit.saturating_sub(1));
        command
    }

    fn by_text(&self) -> Cmd {
        self.by_hash()
    }
}

/// What a script answered, after how many broken keys it met.
pub(super) struct Answer<T> {
    pub(super) broken: u64,
    pub(super) answer: T,
}

impl<T> Answer<T> {
    /// # Errors
    /// Anything but what the scripts' headers promise.
    fn read(
        reply: Value,
        of: impl FnOnce(&mut Numbers) -> Result<T, MalformedReply>,
    ) -> Result<Self, MalformedReply> {
        let Value::Array(values) = reply else {
            return Err(MalformedReply);
        };
        let mut numbers = Numbers(values.into_iter());
        let broken = numbers.next()?;
        let answer = of(&mut numbers)?;
        if numbers.0.next().is_some() {
            return Err(MalformedReply);
        }
        Ok(Self { broken, answer })
    }
}

pub(super) fn imposed(reply: Value, client: Network) -> Result<Answer<Ban>, MalformedReply> {
    Answer::read(reply, |numbers| {
        let record = numbers.record()?;
        Ok(record.ban(client, numbers.next()?))
    })
}

pub(super) fn lifted(reply: Value) -> Result<Answer<bool>, MalformedReply> {
    Answer::read(reply, |numbers| match numbers.next()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(MalformedReply),
    })
}

/// Those of `clients`, in their order, that are banned.
pub(super) fn banned(
    reply: Value,
    clients: &[Network],
) -> Result<Answer<Vec<Ban>>, MalformedReply> {
    Answer::read(reply, |numbers| {
        let now = numbers.next()?;
        let mut bans = Vec::new();
        while numbers.0.len() > 0 {
            let place = usize::try_from(numbers.next()?)?;
            let client = clients.get(place).ok_or(MalformedReply)?;
            bans.push(numbers.record()?.ban(*client, now));
        }
        Ok(bans)
    })
}

struct Numbers(std::vec::IntoIter<Value>);

/// A ban as the scripts tell it.
struct Record {
    reason: BanReason,
    strikes: u32,
    since: u64,
    until: u64,
}

impl Numbers {
    fn next(&mut self) -> Result<u64, MalformedReply> {
        match self.0.next() {
            Some(Value::Int(number)) => Ok(u64::try_from(number)?),
            _ => Err(MalformedReply),
        }
    }

    fn record(&mut self) -> Result<Record, MalformedReply> {
        let code = u8::try_from(self.next()?)?;
        Ok(Record {
            // A kind that only another version knows is told as a ban that somebody else imposed.
            reason: BanReason::of_code(code).unwrap_or(BanReason::Manual),
            strikes: u32::try_from(self.next()?)?,
            since: self.next()?,
            until: self.next()?,
        })
    }
}

impl Record {
    fn ban(self, client: Network, now: u64) -> Ban {
        let left = self.until.saturating_sub(now);
        let times = [self.since, self.until, left].map(Duration::from_micros);
        Ban::new(client, self.reason, self.strikes, times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suspicion::Kind;

    fn client(octet: u8) -> Network {
        Network::of([192, 0, 2, octet].into(), 64)
    }

    fn reply(numbers: &[i64]) -> Value {
        Value::Array(numbers.iter().map(|number| Value::Int(*number)).collect())
    }

    #[test]
    fn reads_the_bans_that_the_scripts_tell() {
        let Answer { broken, answer } = imposed(reply(&[1, 2, 7, 10, 50, 20]), client(1)).unwrap();
        let micros = Duration::from_micros;
        let scanning = BanReason::Incident(Kind::EndpointScanning);
        let ban = Ban::new(client(1), scanning, 7, [micros(10), micros(50), micros(30)]);
        assert_eq!((broken, answer), (1, ban.clone()));
        let clients = [client(9), client(1)];
        let bans = banned(reply(&[0, 20, 1, 2, 7, 10, 50]), &clients).unwrap();
        assert_eq!(bans.answer, [ban]);
        assert!(banned(reply(&[0, 20]), &clients).unwrap().answer.is_empty());
        let of_another_version = imposed(reply(&[0, 250, 1, 1, 2, 1]), client(1)).unwrap();
        assert_eq!(of_another_version.answer.reason, BanReason::Manual);
        assert!(lifted(reply(&[0, 1])).unwrap().answer);
        assert!(!lifted(reply(&[0, 0])).unwrap().answer);
    }

    #[test]
    fn refuses_what_the_scripts_never_answer() {
        for malformed in [
            Value::Nil,
            Value::Okay,
            Value::Int(0),
            reply(&[]),
            reply(&[0]),
            reply(&[0, 2]),
            reply(&[0, -1]),
            reply(&[0, 1, 1]),
            reply(&[0, 1, 2, 7, 10]),
            reply(&[0, 1, 2, 2, 7, 10, 50]),
            reply(&[0, 300, 7, 10, 50, 20]),
            reply(&[0, 2, 1 << 40, 10, 50, 20]),
            reply(&[0, 2, 7, 10, 50, 20, 1]),
        ] {
            assert!(
                imposed(malformed.clone(), client(1)).is_err(),
                "{malformed:?}"
            );
            assert!(
                lifted(malformed.clone()).is_err() || malformed == reply(&[0, 1]),
                "{malformed:?}"
            );
            if malformed != reply(&[0, 2]) {
                assert!(
                    banned(malformed.clone(), &[client(1)]).is_err(),
                    "{malformed:?}"
                );
            }
        }
    }

    #[test]
    fn writes_the_terms_as_the_script_reads_them() {
        let sentence = Sentence::new(Duration::from_secs(1), Duration::from_secs(3)).unwrap();
        let kind = BanReason::Incident(Kind::CredentialStuffing);
        let day = [0, 0, 0x14, 0x1d, 0xd7, 0x60, 0]; // 86,400,000,000
        let expected = [
            &[1, 1][..],
            &day,
            &[0, 0, 0, 0, 0x0f, 0x42, 0x40], // 1,000,000
            &[0, 0, 0, 0, 0x1e, 0x84, 0x80], // 2,000,000
            &[0, 0, 0, 0, 0x2d, 0xc6, 0xc0], // 3,000,000
        ];
        assert_eq!(Terms::of(kind, &sentence, 0).0, expected.concat());
        let manual = |length| Terms::manual(length).0[9..].to_vec();
        assert_eq!(manual(Duration::ZERO), [0, 0, 0, 0, 0, 3, 0xe8]); // 1,000
        assert_eq!(manual(Duration::MAX), [0, 0x1c, 0xae, 0x8c, 0x13, 0xe0, 0]); // 31,536,000,000,000
    }
}
