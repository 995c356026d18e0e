//! The port of the bans, over all processes.

use std::sync::Arc;
use std::time::Duration;

use redis::Value;

use super::RedisStore;
use super::answer::{Answer, Elements, MalformedReply};
use super::call::{Call, Script, refused};
use super::keys::{Keys, Prefix};
use crate::model::{Network, Operation, UserId};
use crate::suspicion::store::{BanStore, Barred, Evidence, Reply};
use crate::suspicion::{Ban, BanReason, IncidentKind, Sentence, Subject, Threshold, micros};

static IMPOSE_BAN: Script = Script::new(concat!(
    include_str!("lua/refused.lua"),
    include_str!("lua/value.lua"),
    include_str!("lua/impose_ban.lua")
));
static LIFT_BAN: Script = Script::new(concat!(
    include_str!("lua/refused.lua"),
    include_str!("lua/value.lua"),
    include_str!("lua/lift_ban.lua")
));
static READ_BANS: Script = Script::new(concat!(
    include_str!("lua/refused.lua"),
    include_str!("lua/value.lua"),
    include_str!("lua/read_bans.lua")
));

/// The most bans that one call may read; the script refuses more.
const MOST_READ: usize = 1_000;
/// The most evidence that one call may carry: the script takes 1,000 keys, two for each piece.
const MOST_EVIDENCE: usize = 500;

impl BanStore for RedisStore {
    fn convict(&self, evidence: &[Evidence], sentence: &Sentence, roll: u32) -> Reply<Vec<Ban>> {
        if evidence.is_empty() {
            return Reply::Ready(Ok(Vec::new()));
        }
        if evidence.len() > MOST_EVIDENCE {
            return Reply::Ready(Err(refused("more than 500 pieces of evidence in one call")));
        }
        let subjects = evidence.iter().map(|piece| piece.subject.clone());
        let subjects: Vec<_> = subjects.collect();
        let read = move |reply| told(reply, &subjects);
        let call = || {
            let pieces = evidence.iter().map(Piece::of);
            impose(&self.0.prefix, pieces, sentence.ladder(roll))
        };
        self.0.request(Operation::Ban, call, read)
    }

    fn impose_for(&self, subject: &Subject, length: Duration) -> Reply<Ban> {
        let subjects = [subject.clone()];
        let read = move |reply| {
            let Answer { broken, answer } = told(reply, &subjects)?;
            let ban = answer.into_iter().next().ok_or(MalformedReply)?;
            Ok(Answer {
                broken,
                answer: ban,
            })
        };
        let call = || {
            let length = length.clamp(Ban::SHORTEST, Ban::LONGEST);
            impose(&self.0.prefix, [Piece::by_hand(subject)], [length])
        };
        self.0.request(Operation::Ban, call, read)
    }

    fn lift(&self, subject: &Subject) -> Reply<bool> {
        let call = || lift(&self.0.prefix, subject);
        self.0.request(Operation::Ban, call, lifted)
    }

    fn banned_for(&self, client: Network, user: Option<&UserId>) -> Reply<Barred> {
        let user = user.cloned().map(Subject::User);
        let subjects: Vec<_> = [client.into()].into_iter().chain(user).collect();
        let call = read_bans(&self.0.prefix, &subjects);
        let read = move |reply| {
            let bans = told(reply, &subjects)?;
            Ok(bans.map(|bans| {
                let mut barred = Barred::default();
                for ban in bans {
                    match ban.subject {
                        Subject::Network(_) => barred.client = Some(ban.left),
                        Subject::User(_) => barred.user = Some(ban.left),
                    }
                }
                barred
            }))
        };
        self.0.request(Operation::Ban, || call, read)
    }

    fn place(&self) -> &str {
        &self.0.place
    }

    fn list(&self, limit: usize) -> Reply<Vec<Ban>> {
        let core = Arc::clone(&self.0);
        Reply::pending(async move {
            let Some(last) = limit.min(MOST_READ).checked_sub(1) else {
                return Ok(Vec::new());
            };
            let index = || {
                let mut call = Call::command("ZREVRANGE");
                call.arg(core.prefix.bans()).arg(0).arg(last);
                call
            };
            let subjects = core.request(Operation::Ban, index, listed).await?;
            if subjects.is_empty() {
                return Ok(Vec::new());
            }
            let call = read_bans(&core.prefix, &subjects);
            let read = move |reply| told(reply, &subjects);
            let mut bans = core.request(Operation::Ban, || call, read).await?;
            // The index knows milliseconds, and a ban may have been lengthened since it was read.
            bans.sort_by_key(|ban| std::cmp::Reverse(ban.until));
            Ok(bans)
        })
    }
}

/// A piece of evidence as the script reads it.
struct Piece<'a> {
    subject: &'a Subject,
    reason: BanReason,
    /// `None` for a ban by hand.
    counted: Option<(IncidentKind, Threshold, u64)>,
}

impl<'a> Piece<'a> {
    fn of(evidence: &'a Evidence) -> Self {
        Self {
            subject: &evidence.subject,
            reason: BanReason::Incident(evidence.kind),
            counted: Some((evidence.kind, evidence.threshold, evidence.thing)),
        }
    }

    fn by_hand(subject: &'a Subject) -> Self {
        Self {
            subject,
            reason: BanReason::Manual,
            counted: None,
        }
    }
}

/// A call that bans those whose evidence is an offence, for these lengths.
fn impose<'a>(
    prefix: &Prefix,
    pieces: impl IntoIterator<Item = Piece<'a>>,
    lengths: impl IntoIterator<Item = Duration>,
) -> Call {
    let mut keys = Keys::with_room_for(3);
    keys.push_text(&prefix.bans());
    let (mut plan, mut subjects) = (Vec::new(), Vec::new());
    for piece in pieces {
        keys.push_text(&prefix.ban(piece.subject));
        let mut counted = (0, 0, 0);
        if let Some((kind, threshold, thing)) = piece.counted {
            keys.push_subject(&prefix.of_things(kind, threshold), piece.subject);
            counted = (threshold.count(), threshold.window_micros(), thing);
        }
        let (count, window, thing) = counted;
        plan.push(code(piece.reason));
        // At most 1,000 and 86,400,000,000: the upper bytes are 0.
        plan.extend_from_slice(&count.to_be_bytes()[2..]);
        plan.extend_from_slice(&window.to_be_bytes()[3..]);
        plan.extend_from_slice(&thing.to_be_bytes());
        subjects.push(piece.subject.to_string());
    }
    let mut terms = Vec::new();
    for duration in [Sentence::FORGET_AFTER].into_iter().chain(lengths) {
        // A year is less than 2^45 µs: the upper byte is 0.
        terms.extend_from_slice(&micros(duration).to_be_bytes()[1..]);
    }
    let mut call = IMPOSE_BAN.on(&keys);
    call.arg(terms).arg(plan).arg(subjects);
    call
}

/// A call that ends a ban, and forgets what counts towards the next.
fn lift(prefix: &Prefix, subject: &Subject) -> Call {
    let mut keys = Keys::with_room_for(2);
    keys.push_text(&prefix.ban(subject));
    keys.push_text(&prefix.bans());
    let mut call = LIFT_BAN.on(&keys);
    call.arg(subject.to_string());
    call
}

/// A call that reads at most [`MOST_READ`] bans.
fn read_bans(prefix: &Prefix, subjects: &[Subject]) -> Call {
    let mut call = READ_BANS.call(subjects.len());
    for subject in subjects {
        call.arg(prefix.ban(subject));
    }
    call
}

/// The reason's text in a stored ban, which outlives the version that wrote it.
const fn code(reason: BanReason) -> u8 {
    match reason {
        BanReason::Manual => 0,
        BanReason::Incident(IncidentKind::CredentialStuffing) => 1,
        BanReason::Incident(IncidentKind::EndpointScanning) => 2,
        BanReason::Incident(IncidentKind::Abuse) => 3,
        BanReason::Incident(IncidentKind::CredentialStuffingSlow) => 4,
        BanReason::Incident(IncidentKind::PasswordSpraying) => 5,
        BanReason::Incident(IncidentKind::DistributedStuffing) => 6,
        BanReason::Incident(IncidentKind::SuccessAfterFailures) => 7,
    }
}

fn lifted(reply: Value) -> Result<Answer<bool>, MalformedReply> {
    Answer::read(reply, Elements::flag)
}

/// Those of `subjects`, in the script's order, that are banned.
fn told(reply: Value, subjects: &[Subject]) -> Result<Answer<Vec<Ban>>, MalformedReply> {
    Answer::read(reply, |elements| {
        let now = elements.number()?;
        let mut bans = Vec::new();
        while !elements.is_empty() {
            let place = usize::try_from(elements.number()?)?;
            let subject = subjects.get(place).ok_or(MalformedReply)?;
            bans.push(Record::read(elements)?.ban(subject.clone(), now));
        }
        Ok(bans)
    })
}

/// A ban as the scripts tell it.
struct Record {
    reason: BanReason,
    strikes: u32,
    since: u64,
    until: u64,
}

impl Record {
    fn read(elements: &mut Elements) -> Result<Self, MalformedReply> {
        let stored = u8::try_from(elements.number()?)?;
        Ok(Self {
            // A kind that only another version knows is told as a ban that somebody else imposed.
            reason: BanReason::all()
                .find(|reason| code(*reason) == stored)
                .unwrap_or(BanReason::Manual),
            strikes: u32::try_from(elements.number()?)?,
            since: elements.number()?,
            until: elements.number()?,
        })
    }

    fn ban(self, subject: Subject, now: u64) -> Ban {
        let left = self.until.saturating_sub(now);
        let times = [self.since, self.until, left].map(Duration::from_micros);
        Ban::new(subject, self.reason, self.strikes, times)
    }
}

/// Those whom the index names; other entries are passed over.
fn listed(reply: Value) -> Result<Answer<Vec<Subject>>, MalformedReply> {
    let Value::Array(members) = reply else {
        return Err(MalformedReply);
    };
    let subjects = members.into_iter().filter_map(|member| match member {
        Value::BulkString(bytes) => subject(str::from_utf8(&bytes).ok()?),
        _ => None,
    });
    Ok(subjects.collect::<Vec<_>>().into())
}

/// A subject as it is displayed.
fn subject(text: &str) -> Option<Subject> {
    let subject: Subject = text.parse().ok()?;
    (subject.to_string() == text).then_some(subject)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(octet: u8) -> Subject {
        Network::of([192, 0, 2, octet].into(), 64).into()
    }

    fn reply(numbers: &[i64]) -> Value {
        Value::Array(numbers.iter().map(|number| Value::Int(*number)).collect())
    }

    #[test]
    fn reads_the_bans_that_the_scripts_tell() {
        let micros = Duration::from_micros;
        let scanning = BanReason::Incident(IncidentKind::EndpointScanning);
        let times = [micros(10), micros(50), micros(30)];
        let ban = Ban::new(client(1), scanning, 7, times);
        let clients = [client(9), client(1)];
        let Answer { broken, answer } = told(reply(&[3, 20, 1, 2, 7, 10, 50]), &clients).unwrap();
        assert_eq!((broken, answer), (3, vec![ban]));
        assert!(told(reply(&[0, 20]), &clients).unwrap().answer.is_empty());
        let of_another_version = told(reply(&[0, 1, 0, 250, 1, 1, 2]), &clients).unwrap();
        assert_eq!(of_another_version.answer[0].reason, BanReason::Manual);
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
            reply(&[0, -1]),
            reply(&[0, 1, 1]),
            reply(&[0, 1, 0, 2, 7, 10]),
            reply(&[0, 1, 2, 2, 7, 10, 50]),
            reply(&[0, 20, 0, 300, 7, 10, 50]),
            reply(&[0, 20, 0, 2, 1 << 40, 10, 50]),
            reply(&[0, 20, 0, 2, 7, 10, 50, 1]),
        ] {
            assert!(lifted(malformed.clone()).is_err(), "{malformed:?}");
            assert!(
                told(malformed.clone(), &[client(1)]).is_err(),
                "{malformed:?}"
            );
        }
    }

    #[test]
    fn writes_the_evidence_and_the_terms_as_the_script_reads_them() {
        let prefix = Prefix::new("p:").unwrap();
        let sentence = Sentence::new(Duration::from_secs(1), Duration::from_secs(3)).unwrap();
        let evidence = Evidence {
            subject: client(1),
            kind: IncidentKind::CredentialStuffing,
            threshold: "1000/24h".parse().unwrap(),
            thing: 0x0102_0304_0506_0708,
        };
        let day = [0, 0, 0x14, 0x1d, 0xd7, 0x60, 0]; // 86,400,000,000
        let terms = [
            day,
            [0, 0, 0, 0, 0x0f, 0x42, 0x40], // 1,000,000
            [0, 0, 0, 0, 0x1e, 0x84, 0x80], // 2,000,000
            [0, 0, 0, 0, 0x2d, 0xc6, 0xc0], // 3,000,000
        ];
        let packed = impose(&prefix, [Piece::of(&evidence)], sentence.ladder(0)).packed();
        let tail = [
            &b"$1\r\n3\r\n$6\r\np:bans\r\n$15\r\np:ban:192.0.2.1\r\n$45\r\np:suspicious:401-things:1000/86400s:192.0.2.1\r\n$28\r\n"[..],
            &terms.concat(),
            b"\r\n$16\r\n",
            &[1, 3, 0xe8, 0x14, 0x1d, 0xd7, 0x60, 0, 1, 2, 3, 4, 5, 6, 7, 8],
            b"\r\n$9\r\n192.0.2.1\r\n",
        ]
        .concat();
        assert!(packed.ends_with(&tail), "{}", packed.escape_ascii());
        let by_hand = impose(&prefix, [Piece::by_hand(&client(1))], [Ban::SHORTEST]).packed();
        let tail = [
            &b"$1\r\n2\r\n$6\r\np:bans\r\n$15\r\np:ban:192.0.2.1\r\n$14\r\n"[..],
            &day,
            &[0, 0, 0, 0, 0, 3, 0xe8], // 1,000
            b"\r\n$16\r\n",
            &[0; 16],
            b"\r\n$9\r\n192.0.2.1\r\n",
        ]
        .concat();
        assert!(by_hand.ends_with(&tail), "{}", by_hand.escape_ascii());
    }

    #[test]
    fn reads_every_subject_that_is_displayed_and_nothing_else() {
        for address in ["192.0.2.1", "0.0.0.0", "::", "2001:db8::1", "ff::1:2:3:4"] {
            for prefix in [0, 1, 56, 64, 127, 128] {
                let client = Network::of(address.parse().unwrap(), prefix).into();
                assert_eq!(subject(&format!("{client}")), Some(client));
            }
        }
        let hash = format!("~{}", "0f".repeat(16));
        for id in ["ada@example.org", "192.0.2.1", "user", &hash] {
            let user = Subject::User(UserId::kept(id).unwrap());
            assert_eq!(subject(&format!("user:{id}")), Some(user));
        }
        for text in [
            "",
            "x",
            "192.0.2.1/32",
            "2001:db8::1",
            "2001:db8::1/64",
            "::/129",
            "::/",
            "ada",
            "user:",
            "user:a b",
            "user:user:ada",
            "user:~0f",
            "User:ada",
        ] {
            assert_eq!(subject(text), None, "{text:?}");
        }
    }

    #[test]
    fn every_reason_has_a_name_a_code_and_a_place_of_its_own() {
        let reasons: Vec<_> = BanReason::all().collect();
        for (n, reason) in reasons.iter().enumerate() {
            assert!(reason.place() <= IncidentKind::ALL.len());
            for other in &reasons[..n] {
                assert_ne!(reason.place(), other.place());
                assert_ne!(code(*reason), code(*other));
                assert_ne!(reason.as_str(), other.as_str());
            }
        }
    }
}
