//! A session as the server keeps it: `lua/session.lua` has the places, and the details are read here alone.
//!
//! Details are a byte for the kind of client, a byte that says which texts there are (1 the tenant, 2 the device, and so on in
//! the order of [`Details`]), and of each of these its length less one (1 byte) and its bytes. What follows was written by a
//! newer version, and is kept by all scripts.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::model::UserId;
use crate::session::{Details, Lifetime, Session, SessionId, SessionType, Text};

/// The lower bytes of a number, or the greatest that they hold.
pub(super) fn big_endian<const N: usize>(number: u64) -> [u8; N] {
    let most = u64::MAX.checked_shr(64 - 8 * N as u32).unwrap_or(0);
    let bytes = number.min(most).to_be_bytes();
    let mut lower = [0; N];
    lower.copy_from_slice(&bytes[8 - N..]);
    lower
}

/// Microseconds since 1970; 0 for what came before.
pub(super) fn micros_of(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// The end of a new record, from the lifetimes on.
pub(super) fn tail(lifetime: Lifetime, details: &Details) -> Vec<u8> {
    let mut tail = Vec::with_capacity(96);
    for lasts in [lifetime.idle, lifetime.absolute] {
        let micros = lasts.min(Lifetime::MOST).as_micros() as u64;
        tail.extend(big_endian::<6>(micros));
    }
    let Details {
        tenant,
        device,
        kind,
        method,
        aal,
        idp_session,
        user_agent,
        data,
    } = details;
    tail.push(*aal);
    tail.push(code(*kind));
    let short = [tenant, device, method, idp_session, user_agent];
    let short = short.map(|text| text.as_ref().map(Text::as_str));
    let data = data.as_ref().map(Text::as_str);
    let texts = || short.into_iter().chain([data]).enumerate();
    let present = texts().fold(0, |bits, (n, text)| bits | u8::from(text.is_some()) << n);
    tail.push(present);
    for text in texts().filter_map(|(_, text)| text) {
        // A text has 1 to 256 bytes.
        tail.push((text.len() - 1) as u8);
        tail.extend_from_slice(text.as_bytes());
    }
    tail
}

/// The session of a record that a script has found to live.
pub(super) fn told(id: SessionId, user: &UserId, record: &[u8]) -> Option<Session> {
    let mut rest = Rest(record.get(40..)?);
    let mut time = || Some(Duration::from_micros(rest.number(7)?));
    let times = [time()?, time()?, time()?];
    let [created, authenticated, last_activity] = times.map(|since| UNIX_EPOCH + since);
    let lifetime = Lifetime {
        idle: time_of(&mut rest)?,
        absolute: time_of(&mut rest)?,
    };
    let aal = rest.byte()?;
    let (kind, present) = (rest.byte()?, rest.byte()?);
    let details = Details {
        aal,
        // A kind that only another version knows.
        kind: SessionType::ALL
            .into_iter()
            .find(|it| code(*it) == kind)
            .unwrap_or_default(),
        tenant: rest.text(present & 1)?,
        device: rest.text(present & 2)?,
        method: rest.text(present & 4)?,
        idp_session: rest.text(present & 8)?,
        user_agent: rest.text(present & 16)?,
        data: rest.text(present & 32)?,
    };
    Some(Session {
        id,
        user: user.clone(),
        details: Arc::new(details),
        created,
        authenticated,
        last_activity,
        lifetime,
    })
}

fn time_of(rest: &mut Rest<'_>) -> Option<Duration> {
    Some(Duration::from_micros(rest.number(6)?))
}

/// The kind's byte in a record, which outlives the version that wrote it.
const fn code(kind: SessionType) -> u8 {
    match kind {
        SessionType::Web => 0,
        SessionType::Mobile => 1,
        SessionType::Api => 2,
    }
}

/// What is still to be read of a record.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self, bytes: usize) -> Option<u64> {
        let taken = self.take(bytes)?;
        let shift = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(taken.iter().fold(0, shift))
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    /// The text, if there is one; `None` if what should be one is none.
    #[allow(clippy::option_option)]
    fn text<const MOST: usize>(&mut self, present: u8) -> Option<Option<Text<MOST>>> {
        if present == 0 {
            return Some(None);
        }
        let length = usize::from(self.byte()?) + 1;
        let text = str::from_utf8(self.take(length)?).ok()?;
        Text::new("record", text).ok().map(Some)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn details(present: u8, length: usize) -> Details {
        fn text<const MOST: usize>(present: u8, length: usize) -> Option<Text<MOST>> {
            (present != 0).then(|| Text::new("t", &"x".repeat(length.min(MOST))).unwrap())
        }
        Details {
            kind: SessionType::Mobile,
            aal: 3,
            tenant: text(present & 1, length),
            device: text(present & 2, length),
            method: text(present & 4, length),
            idp_session: text(present & 8, length),
            user_agent: text(present & 16, length),
            data: text(present & 32, length),
        }
    }

    fn record(lifetime: Lifetime, details: &Details) -> Vec<u8> {
        let mut record = vec![7; 40];
        for time in [1, 2, 3] {
            record.extend(big_endian::<7>(time));
        }
        record.extend(tail(lifetime, details));
        record
    }

    fn lifetime() -> Lifetime {
        Lifetime {
            idle: Lifetime::LEAST,
            absolute: Lifetime::MOST,
        }
    }

    #[test]
    fn a_record_reads_as_what_was_written_and_no_part_of_it_as_a_session() {
        let (id, ada) = (SessionId::of([1; 16]), UserId::kept("ada").unwrap());
        for present in 0..64 {
            for length in [1, 64, 256] {
                let details = details(present, length);
                let record = record(lifetime(), &details);
                let session = told(id, &ada, &record).unwrap();
                assert_eq!((session.id, &session.user), (id, &ada));
                assert_eq!(*session.details, details);
                assert_eq!(session.lifetime, lifetime());
                let times = [
                    session.created,
                    session.authenticated,
                    session.last_activity,
                ];
                assert_eq!(times.map(micros_of), [1, 2, 3]);
                for end in 0..record.len() {
                    assert_eq!(told(id, &ada, &record[..end]), None, "{present}, {end}");
                }
                let newer = [record, b"of a newer version".to_vec()].concat();
                assert_eq!(told(id, &ada, &newer), Some(session));
            }
        }
    }

    #[test]
    fn writes_the_places_that_the_scripts_read() {
        let details = Details {
            method: Some(Text::new("t", "otp").unwrap()),
            ..details(0, 0)
        };
        let lifetime = Lifetime {
            idle: Duration::from_micros(0x0102_0304),
            absolute: Duration::from_micros(0x0506_0708),
        };
        let expected = [
            &[0, 0, 1, 2, 3, 4, 0, 0, 5, 6, 7, 8, 3, 1, 4, 2][..],
            b"otp",
        ];
        assert_eq!(tail(lifetime, &details), expected.concat());
        assert_eq!(big_endian::<6>(1 << 48), [255; 6]);
        assert_eq!(big_endian::<7>(u64::MAX), [255; 7]);
        assert_eq!(micros_of(UNIX_EPOCH - Duration::from_secs(1)), 0);
    }

    proptest! {
        #[test]
        fn nothing_makes_the_reader_panic(record: Vec<u8>) {
            let _ = told(SessionId::of([1; 16]), &UserId::kept("ada").unwrap(), &record);
        }
    }
}
