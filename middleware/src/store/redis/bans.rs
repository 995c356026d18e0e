//! The port of the bans, over all processes.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use redis::Value;

use super::RedisStore;
use super::answer::{Answer, Elements, MalformedReply};
use super::call::{Call, Script, refused};
use super::keys::{Keys, Prefix};
use crate::model::{Network, Operation};
use crate::suspicion::store::{BanStore, Evidence, Reply};
use crate::suspicion::{Ban, BanReason, IncidentKind, Sentence, Threshold, micros};

static IMPOSE_BAN: Script = Script::new(concat!(
    include_str!("lua/refused.lua"),
    include_str!("lua/impose_ban.lua")
));
static LIFT_BAN: Script = Script::new(concat!(
    include_str!("lua/refused.lua"),
    include_str!("lua/lift_ban.lua")
));
static READ_BANS: Script = Script::new(concat!(
    include_str!("lua/refused.lua"),
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
        let clients: Vec<_> = evidence.iter().map(|piece| piece.client).collect();
        let read = move |reply| told(reply, &clients);
        let call = || {
            let pieces = evidence.iter().map(Piece::of);
            impose(&self.0.prefix, pieces, sentence.ladder(roll))
        };
        self.0.request(Operation::Ban, call, read)
    }

    fn impose_for(&self, client: Network, length: Duration) -> Reply<Ban> {
        let read = move |reply| {
            let Answer { broken, answer } = told(reply, &[client])?;
            let ban = answer.into_iter().next().ok_or(MalformedReply)?;
            Ok(Answer {
                broken,
                answer: ban,
            })
        };
        let call = || {
            let length = length.clamp(Ban::SHORTEST, Ban::LONGEST);
            impose(&self.0.prefix, [Piece::by_hand(client)], [length])
        };
        self.0.request(Operation::Ban, call, read)
    }

    fn lift(&self, client: Network) -> Reply<bool> {
        let call = || lift(&self.0.prefix, client);
        self.0.request(Operation::Ban, call, lifted)
    }

    fn banned_for(&self, client: Network) -> Reply<Option<Duration>> {
        let read = move |reply| {
            let bans = told(reply, &[client])?;
            Ok(bans.map(|bans| bans.first().map(|ban| ban.left)))
        };
        let call = || read_bans(&self.0.prefix, &[client]);
        self.0.request(Operation::Ban, call, read)
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
            let clients = core.request(Operation::Ban, index, listed).await?;
            if clients.is_empty() {
                return Ok(Vec::new());
            }
            let call = read_bans(&core.prefix, &clients);
            let read = move |reply| told(reply, &clients);
            let mut bans = core.request(Operation::Ban, || call, read).await?;
            // The index knows milliseconds, and a ban may have been lengthened since it was read.
            bans.sort_by_key(|ban| std::cmp::Reverse(ban.until));
            Ok(bans)
        })
    }
}

/// A piece of evidence as the script reads it.
struct Piece {
    client: Network,
    reason: BanReason,
    /// `None` for a ban by hand.
    counted: Option<(IncidentKind, Threshold, u64)>,
}

impl Piece {
    fn of(evidence: &Evidence) -> Self {
        Self {
            client: evidence.client,
            reason: BanReason::Incident(evidence.kind),
            counted: Some((evidence.kind, evidence.threshold, evidence.thing)),
        }
    }

    fn by_hand(client: Network) -> Self {
        Self {
            client,
            reason: BanReason::Manual,
            counted: None,
        }
    }
}

/// A call that bans the clients whose evidence is an offence, for these lengths.
fn impose(
    prefix: &Prefix,
    pieces: impl IntoIterator<Item = Piece>,
    lengths: impl IntoIterator<Item = Duration>,
) -> Call {
    let mut keys = Keys::with_room_for(3);
    keys.push_text(&prefix.bans());
    let (mut plan, mut clients) = (Vec::new(), Vec::new());
    for piece in pieces {
        keys.push_text(&prefix.ban(piece.client));
        let mut counted = (0, 0, 0);
        if let Some((kind, threshold, thing)) = piece.counted {
            keys.push(&prefix.of_things(kind, threshold), &piece.client.into());
            counted = (threshold.count(), threshold.window_micros(), thing);
        }
        let (count, window, thing) = counted;
        plan.push(code(piece.reason));
        // At most 1,000 and 86,400,000,000: the upper bytes are 0.
        plan.extend_from_slice(&count.to_be_bytes()[2..]);
        plan.extend_from_slice(&window.to_be_bytes()[3..]);
        plan.extend_from_slice(&thing.to_be_bytes());
        clients.push(piece.client.to_string());
    }
    let mut terms = Vec::new();
    for duration in [Sentence::FORGET_AFTER].into_iter().chain(lengths) {
        // A year is less than 2^45 µs: the upper byte is 0.
        terms.extend_from_slice(&micros(duration).to_be_bytes()[1..]);
    }
    let mut call = IMPOSE_BAN.on(&keys);
    call.arg(terms).arg(plan).arg(clients);
    call
}

/// A call that ends the ban of a client, and forgets what counts towards the next.
fn lift(prefix: &Prefix, client: Network) -> Call {
    let mut keys = Keys::with_room_for(2);
    keys.push_text(&prefix.ban(client));
    keys.push_text(&prefix.bans());
    let mut call = LIFT_BAN.on(&keys);
    call.arg(client.to_string());
    call
}

/// A call that reads the bans of at most [`MOST_READ`] clients.
fn read_bans(prefix: &Prefix, clients: &[Network]) -> Call {
    let mut call = READ_BANS.call(clients.len());
    for client in clients {
        call.arg(prefix.ban(*client));
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

/// Those of `clients`, in the script's order, that are banned.
fn told(reply: Value, clients: &[Network]) -> Result<Answer<Vec<Ban>>, MalformedReply> {
    Answer::read(reply, |elements| {
        let now = elements.number()?;
        let mut bans = Vec::new();
        while !elements.is_empty() {
            let place = usize::try_from(elements.number()?)?;
            let client = clients.get(place).ok_or(MalformedReply)?;
            bans.push(Record::read(elements)?.ban(*client, now));
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

    fn ban(self, client: Network, now: u64) -> Ban {
        let left = self.until.saturating_sub(now);
        let times = [self.since, self.until, left].map(Duration::from_micros);
        Ban::new(client, self.reason, self.strikes, times)
    }
}

/// The clients of the index; entries that are no clients of ours are passed over.
fn listed(reply: Value) -> Result<Answer<Vec<Network>>, MalformedReply> {
    let Value::Array(members) = reply else {
        return Err(MalformedReply);
    };
    let clients = members.into_iter().filter_map(|member| match member {
        Value::BulkString(bytes) => network(str::from_utf8(&bytes).ok()?),
        _ => None,
    });
    Ok(clients.collect::<Vec<_>>().into())
}

/// A network as it is displayed.
fn network(text: &str) -> Option<Network> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, prefix.parse().ok()?),
        None => (text, 32),
    };
    let network = Network::of(address.parse::<IpAddr>().ok()?, prefix);
    (network.to_string() == text).then_some(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(octet: u8) -> Network {
        Network::of([192, 0, 2, octet].into(), 64)
    }

    fn reply(numbers: &[i64]) -> Value {
        Value::Array(numbers.iter().map(|number| Value::Int(*number)).collect())
    }

    #[test]
    fn reads_the_bans_that_the_scripts_tell() {
        let micros = Duration::from_micros;
        let scanning = BanReason::Incident(IncidentKind::EndpointScanning);
        let ban = Ban::new(client(1), scanning, 7, [micros(10), micros(50), micros(30)]);
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
            client: client(1),
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
        let by_hand = impose(&prefix, [Piece::by_hand(client(1))], [Ban::SHORTEST]).packed();
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
    fn reads_every_network_that_is_displayed_and_nothing_else() {
        for address in ["192.0.2.1", "0.0.0.0", "::", "2001:db8::1", "ff::1:2:3:4"] {
            for prefix in [0, 1, 56, 64, 127, 128] {
                let client = Network::of(address.parse().unwrap(), prefix);
                assert_eq!(network(&client.to_string()), Some(client));
            }
        }
        for text in [
            "",
            "x",
            "192.0.2.1/32",
            "2001:db8::1",
            "2001:db8::1/64",
            "::/129",
            "::/",
        ] {
            assert_eq!(network(text), None, "{text:?}");
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
