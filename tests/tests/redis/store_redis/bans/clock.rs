//! Bans on clocks that step back.

use super::*;

#[test]
fn a_clock_that_steps_back_makes_no_ban_last_longer_than_it_was_imposed_for() {
    const LENGTH: u64 = 600 * SECOND;
    let length = Duration::from_micros(LENGTH);
    let server = RedisServer::start();
    let mut scripts = Scripts::on(&server);
    let hand = Hand::default();
    let memory = MemoryStore::builder().clock(hand.clone()).build().unwrap();
    // By the day, by as much as has passed and by less.
    for (n, passed, back) in [
        (1, 0, DAY),
        (2, 300, 300 * SECOND + 1),
        (3, 300, 60 * SECOND),
    ] {
        let name = subject(n).to_string();
        let scanning = BanReason::Incident(IncidentKind::EndpointScanning);
        scripts.impose(EPOCH, n, scanning, length);
        hand.0.store(EPOCH, Ordering::Relaxed);
        memory.impose_for_now(&subject(n), length);
        let stepped = EPOCH + passed * SECOND - back;
        let (mut ends, since) = (EPOCH + LENGTH, EPOCH.min(stepped));
        if stepped < EPOCH {
            ends = stepped + LENGTH;
        }
        for (now, is_banned) in [(stepped, true), (ends - 1, true), (ends, false)] {
            let told = scripts.read(now, std::slice::from_ref(&name)).1;
            let expected = is_banned.then(|| (name.clone(), (2, 1, since, ends)));
            assert_eq!(
                told,
                expected.into_iter().collect::<Vec<_>>(),
                "{n} at {now}"
            );
            hand.0.store(now, Ordering::Relaxed);
            let left = is_banned.then(|| Duration::from_micros(ends - now));
            assert_eq!(memory.banned_for_now(&subject(n)), left, "{n} at {now}");
        }
        let expires: i64 = scripts.query(&["PTTL", &name]);
        assert!(expires > 0);
    }
    // A new offence lasts for its own length, and things from the future are of now.
    let piece = |thing, threshold| Piece {
        n: 9,
        reason: BanReason::Incident(IncidentKind::Abuse),
        threshold,
        window: 60 * SECOND,
        thing,
    };
    let lengths = || [length].into_iter();
    for (now, thing) in [(EPOCH, 1), (EPOCH + SECOND, 2), (EPOCH - DAY, 3)] {
        assert!(
            scripts
                .convict(now, &[piece(thing, 4)], lengths())
                .1
                .is_empty()
        );
        hand.0.store(now, Ordering::Relaxed);
        let convicted = memory.convict_now(&[evidence(&piece(thing, 4))], &Sentence::default(), 0);
        assert!(convicted.is_empty());
    }
    let now = EPOCH - DAY + 59 * SECOND;
    let (_, told) = scripts.convict(now, &[piece(4, 4)], lengths());
    assert_eq!(told, [(0, (3, 1, now, now + LENGTH))]);
    hand.0.store(now, Ordering::Relaxed);
    let convicted = memory.convict_now(&[evidence(&piece(4, 4))], &Sentence::default(), 0);
    assert_eq!(convicted.len(), 1);
}

#[test]
fn a_conviction_bears_a_clock_that_stepped_back_before_anybody_asked_about_the_ban() {
    let length = Duration::from_secs(600);
    let server = RedisServer::start();
    let mut scripts = Scripts::on(&server);
    let hand = Hand::default();
    let memory = MemoryStore::builder().clock(hand.clone()).build().unwrap();
    let at = |now| hand.0.store(now, Ordering::Relaxed);

    // A ban by hand in the middle of a longer one, which begins anew and never lasts for a day more.
    let stepped = EPOCH - DAY;
    let ends = stepped + micros(length);
    let moment = Duration::from_secs(1);
    scripts.impose(EPOCH, 1, BanReason::Manual, length);
    let (_, told) = scripts.impose(stepped, 1, BanReason::Manual, moment);
    assert_eq!(told, (0, 0, stepped, ends));
    at(EPOCH);
    memory.impose_for_now(&client(1).into(), length);
    at(stepped);
    assert_eq!(
        memory.impose_for_now(&client(1).into(), moment).left,
        length
    );

    // Three things, one of them again after the step: a window from there they count no more.
    let piece = |thing| Piece {
        n: 2,
        reason: BanReason::Incident(IncidentKind::Abuse),
        threshold: 4,
        window: 60 * SECOND,
        thing,
    };
    let later = stepped + 60 * SECOND;
    for (now, thing) in [
        (EPOCH, 1),
        (EPOCH + 1, 2),
        (EPOCH + 2, 3),
        (stepped, 1),
        (later, 4),
        (later, 5),
    ] {
        let (_, told) = scripts.convict(now, &[piece(thing)], [length].into_iter());
        assert_eq!(told, [], "{thing} at {now}");
        at(now);
        let convicted = memory.convict_now(&[evidence(&piece(thing))], &Sentence::default(), 0);
        assert!(convicted.is_empty(), "{thing} at {now}");
    }
}
