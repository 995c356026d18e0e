//! The sentences of the contract, on every store.

use std::time::{Duration, UNIX_EPOCH};

use palisade::session::store::{
    Began, Created, Creation, KeepSessions, OnMax, Once, Origin, Proved, Renewal,
};
use palisade::session::{Session, SessionId, SessionType, Text};

use super::model::micros;
use super::{
    HOUR, NO_EPOCH, SECOND, START, claim, created, id, ids, keeping, lifetime, login, minutes,
    on_every_store, proof, sorted, user,
};

/// The session, if the claim proves it.
async fn proves(kept: &dyn KeepSessions, name: &str, n: u64, touch: bool) -> Option<Session> {
    match kept.prove(&claim(name, n, n), touch).await.unwrap() {
        Proved::Lives(session, _) => Some(session),
        Proved::Gone => None,
        other => panic!("{other:?}"),
    }
}

async fn listed(kept: &dyn KeepSessions, name: &str) -> Vec<SessionId> {
    ids(&kept.list(&user(name)).await.unwrap())
}

#[tokio::test]
async fn a_session_is_told_as_it_was_created_at_every_look() {
    on_every_store(async |name, store| {
        let kept = store.bind(&keeping(3, OnMax::Deny));
        let mut new = Creation::new(claim("ada", 1, 1), NO_EPOCH, lifetime(SECOND, 2 * HOUR));
        new.details.kind = SessionType::Mobile;
        new.details.aal = 2;
        new.details.tenant = Some(Text::new("tenant", "acme").unwrap());
        new.details.data = Some(Text::new("data", &"ü".repeat(128)).unwrap());
        let session = created(kept.create(&new).await.unwrap());
        assert_eq!((session.id, &session.user), (new.id, &new.user), "{name}");
        assert_eq!(
            (&*session.details, session.lifetime),
            (&new.details, new.lifetime),
            "{name}"
        );
        for time in [
            session.created,
            session.authenticated,
            session.last_activity,
        ] {
            assert_eq!(micros(time), START, "{name}");
        }
        store.set(START + SECOND - 1);
        let proved = proves(&*kept, "ada", 1, false).await;
        assert_eq!(proved.as_ref(), Some(&session), "{name}");
        assert_eq!(
            kept.list(&user("ada")).await.unwrap(),
            std::slice::from_ref(&session),
            "{name}"
        );
        assert_eq!(
            kept.end(&user("ada"), id(1)).await.unwrap(),
            Some(session),
            "{name}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_session_ends_when_it_has_been_idle_to_the_microsecond() {
    on_every_store(async |name, store| {
        let kept = store.bind(&keeping(3, OnMax::Deny));
        login(store, &keeping(3, OnMax::Deny), "ada", 1).await;
        store.set(START + 60 * SECOND - 1);
        assert!(proves(&*kept, "ada", 1, true).await.is_some(), "{name}");
        store.set(START + 120 * SECOND - 2);
        assert!(proves(&*kept, "ada", 1, false).await.is_some(), "{name}");
        store.set(START + 120 * SECOND - 1);
        assert_eq!(proves(&*kept, "ada", 1, true).await, None, "{name}");
        assert_eq!(listed(&*kept, "ada").await, [], "{name}");
    })
    .await;
}

#[tokio::test]
async fn activity_prolongs_no_session_beyond_its_age() {
    on_every_store(async |name, store| {
        let kept = store.bind(&keeping(3, OnMax::Deny));
        login(store, &keeping(3, OnMax::Deny), "ada", 1).await;
        for minute in 1..=120 {
            store.set(START + minute * 30 * SECOND - 1);
            assert!(
                proves(&*kept, "ada", 1, true).await.is_some(),
                "{name}, {minute}"
            );
        }
        store.set(START + HOUR);
        assert_eq!(proves(&*kept, "ada", 1, true).await, None, "{name}");
    })
    .await;
}

#[tokio::test]
async fn what_has_ended_is_never_made_to_live_again() {
    on_every_store(async |name, store| {
        let settings = keeping(3, OnMax::Deny);
        let kept = store.bind(&settings);
        for n in 1..=3 {
            login(store, &settings, "ada", n).await;
        }
        assert!(
            kept.end(&user("ada"), id(1)).await.unwrap().is_some(),
            "{name}"
        );
        kept.end_all(&user("ada"), Some(id(3))).await.unwrap();
        store.set(START + 60 * SECOND);
        for n in 1..=3 {
            assert_eq!(proves(&*kept, "ada", n, true).await, None, "{name}, {n}");
            let renewal = Renewal::default();
            let rotated = kept.rotate(&claim("ada", n, n), &proof(9), &renewal).await;
            assert_eq!(rotated.unwrap(), None, "{name}, {n}");
            assert_eq!(
                kept.end(&user("ada"), id(n)).await.unwrap(),
                None,
                "{name}, {n}"
            );
            kept.end_all(&user("ada"), Some(id(n))).await.unwrap();
            assert_eq!(listed(&*kept, "ada").await, [], "{name}, {n}");
        }
        // Nor by a clock that steps back.
        store.set(START);
        assert_eq!(proves(&*kept, "ada", 3, true).await, None, "{name}");
    })
    .await;
}

#[tokio::test]
async fn activity_is_noted_with_touch_and_once_in_each_touch_every() {
    on_every_store(async |name, store| {
        let kept = store.bind(&keeping(3, OnMax::Deny));
        login(store, &keeping(3, OnMax::Deny), "ada", 1).await;
        let last = async |at: u64, touch| {
            store.set(START + at);
            let session = proves(&*kept, "ada", 1, touch).await.unwrap();
            micros(session.last_activity) - START
        };
        assert_eq!(last(SECOND - 1, true).await, 0, "{name}");
        assert_eq!(last(SECOND, false).await, 0, "{name}");
        assert_eq!(last(SECOND, true).await, SECOND, "{name}");
        assert_eq!(last(2 * SECOND - 1, true).await, SECOND, "{name}");
        assert_eq!(last(2 * SECOND + 5, true).await, 2 * SECOND + 5, "{name}");
        // A secret that is wrong is no activity, and neither are a rotation and a look.
        store.set(START + 10 * SECOND);
        let wrong = kept.prove(&claim("ada", 1, 2), true).await.unwrap();
        assert_eq!(wrong, Proved::Rotated, "{name}");
        let renewal = Renewal::default();
        let rotated = kept.rotate(&claim("ada", 1, 1), &proof(1), &renewal).await;
        assert!(rotated.unwrap().is_some(), "{name}");
        kept.list(&user("ada")).await.unwrap();
        assert_eq!(last(10 * SECOND, false).await, 2 * SECOND + 5, "{name}");
    })
    .await;
}

#[tokio::test]
async fn after_a_rotation_the_new_secret_alone_proves_the_session() {
    on_every_store(async |name, store| {
        let kept = store.bind(&keeping(3, OnMax::Deny));
        login(store, &keeping(3, OnMax::Deny), "ada", 1).await;
        store.set(START + 5 * SECOND);
        let mut renewal = Renewal::default();
        let rotate = async |old, new, renewal: &Renewal| {
            let rotated = kept.rotate(&claim("ada", 1, old), &proof(new), renewal);
            rotated.await.unwrap()
        };
        let plain = rotate(1, 2, &renewal).await.unwrap();
        assert_eq!(
            (micros(plain.authenticated), plain.details.aal),
            (START, 0),
            "{name}"
        );
        // The old one rotates nothing either.
        assert_eq!(rotate(1, 3, &renewal).await, None, "{name}");
        renewal.authenticated = true;
        renewal.aal = Some(2);
        let renewed = rotate(2, 4, &renewal).await.unwrap();
        assert_eq!(micros(renewed.authenticated), START + 5 * SECOND, "{name}");
        assert_eq!(
            (micros(renewed.created), renewed.details.aal),
            (START, 2),
            "{name}"
        );
        for old in [1, 2, 3, 5] {
            let proved = kept.prove(&claim("ada", 1, old), true).await.unwrap();
            assert_eq!(proved, Proved::Rotated, "{name}, {old}");
        }
        let proved = kept.prove(&claim("ada", 1, 4), false).await.unwrap();
        assert!(
            matches!(proved, Proved::Lives(session, _) if session == renewed),
            "{name}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_session_is_its_users_alone() {
    on_every_store(async |name, store| {
        let settings = keeping(1, OnMax::EvictOldest);
        let kept = store.bind(&settings);
        login(store, &settings, "ada", 1).await;
        login(store, &settings, "bob", 2).await;
        assert_eq!(proves(&*kept, "bob", 1, true).await, None, "{name}");
        assert_eq!(kept.end(&user("bob"), id(1)).await.unwrap(), None, "{name}");
        kept.end_all(&user("bob"), Some(id(1))).await.unwrap();
        assert_eq!(listed(&*kept, "ada").await, [id(1)], "{name}");
        assert_eq!(listed(&*kept, "bob").await, [], "{name}");
        assert!(proves(&*kept, "ada", 1, true).await.is_some(), "{name}");
    })
    .await;
}

#[tokio::test]
async fn a_login_that_began_before_an_end_all_is_overtaken() {
    on_every_store(async |name, store| {
        let kept = store.bind(&keeping(9, OnMax::Deny));
        let ada = user("ada");
        let mut n = 0;
        let mut create = async |began| {
            n += 1;
            let new = Creation::new(claim("ada", n, n), began, minutes());
            kept.create(&new).await.unwrap()
        };
        let first = kept.begin(&ada).await.unwrap();
        assert_eq!(first, NO_EPOCH, "{name}");
        // Nobody logged in meanwhile, so the user had no epoch that could be compared.
        kept.end_all(&ada, None).await.unwrap();
        assert_eq!(create(first).await, Created::Overtaken, "{name}");
        let second = kept.begin(&ada).await.unwrap();
        created(create(second).await);
        // Another login does not move the epoch on.
        created(create(second).await);
        assert_eq!(kept.begin(&ada).await.unwrap(), second, "{name}");
        kept.end_all(&ada, None).await.unwrap();
        assert_eq!(create(second).await, Created::Overtaken, "{name}");
        assert_eq!(create(first).await, Created::Overtaken, "{name}");
        let third = kept.begin(&ada).await.unwrap();
        let (Began::Epoch(Some(before)), Began::Epoch(Some(after))) = (second, third) else {
            panic!("{name}: {second:?}, {third:?}");
        };
        assert!(after > before, "{name}: it only moves on");
        assert_eq!(listed(&*kept, "ada").await, [], "{name}");
        created(create(third).await);
    })
    .await;
}

#[tokio::test]
async fn two_first_logins_of_a_user_at_once_both_pass() {
    on_every_store(async |name, store| {
        let kept = store.bind(&keeping(9, OnMax::Deny));
        let began = kept.begin(&user("ada")).await.unwrap();
        for n in [1, 2] {
            let new = Creation::new(claim("ada", n, n), began, minutes());
            created(kept.create(&new).await.unwrap());
        }
        assert_eq!(listed(&*kept, "ada").await, sorted([1, 2]), "{name}");
    })
    .await;
}

#[tokio::test]
async fn a_login_of_another_epoch_is_overtaken_also_where_the_user_is_unknown() {
    on_every_store(async |name, store| {
        let kept = store.bind(&keeping(9, OnMax::Deny));
        let new = Creation::new(claim("ada", 1, 1), Began::Epoch(Some(7)), minutes());
        assert_eq!(
            kept.create(&new).await.unwrap(),
            Created::Overtaken,
            "{name}"
        );
        assert_eq!(kept.begin(&user("ada")).await.unwrap(), NO_EPOCH, "{name}");
    })
    .await;
}

#[tokio::test]
async fn a_providers_moment_must_come_after_the_last_end_all() {
    on_every_store(async |name, store| {
        let kept = store.bind(&keeping(9, OnMax::Deny));
        let create = async |n, at: u64| {
            let began = Began::At(UNIX_EPOCH + Duration::from_micros(at));
            let new = Creation::new(claim("ada", n, n), began, minutes());
            kept.create(&new).await.unwrap()
        };
        // Nothing was ended: any moment will do.
        created(create(1, START - HOUR).await);
        kept.end_all(&user("ada"), Some(id(1))).await.unwrap();
        store.set(START + SECOND);
        assert_eq!(create(2, START - 1).await, Created::Overtaken, "{name}");
        assert_eq!(create(3, START).await, Created::Overtaken, "{name}");
        created(create(4, START + 1).await);
        assert_eq!(listed(&*kept, "ada").await, sorted([1, 4]), "{name}");
    })
    .await;
}

#[tokio::test]
async fn an_end_all_tells_whom_it_ended_and_keeps_one_that_lives() {
    on_every_store(async |name, store| {
        let settings = keeping(9, OnMax::Deny);
        let kept = store.bind(&settings);
        for n in 1..=4 {
            login(store, &settings, "ada", n).await;
        }
        kept.end(&user("ada"), id(4)).await.unwrap();
        let ended = kept.end_all(&user("ada"), Some(id(2))).await.unwrap();
        assert_eq!(ids(&ended), sorted([1, 3]), "{name}");
        // Kept twice: it has the new epoch each time, and takes part in all that follows.
        login(store, &settings, "ada", 5).await;
        let ended = kept.end_all(&user("ada"), Some(id(2))).await.unwrap();
        assert_eq!(ids(&ended), [id(5)], "{name}");
        assert!(proves(&*kept, "ada", 2, true).await.is_some(), "{name}");
        assert_eq!(listed(&*kept, "ada").await, [id(2)], "{name}");
        // What does not live is not kept.
        let ended = kept.end_all(&user("ada"), Some(id(4))).await.unwrap();
        assert_eq!(ids(&ended), [id(2)], "{name}");
        assert_eq!(
            kept.end_all(&user("ada"), None).await.unwrap(),
            [],
            "{name}"
        );
        assert_eq!(listed(&*kept, "ada").await, [], "{name}");
    })
    .await;
}

#[tokio::test]
async fn the_sessions_that_were_created_first_give_way() {
    on_every_store(async |name, store| {
        let settings = keeping(9, OnMax::EvictOldest);
        for n in 1..=5 {
            store.set(START + n);
            login(store, &settings, "ada", n).await;
        }
        // The oldest is the most active.
        store.set(START + 2 * SECOND);
        let kept = store.bind(&keeping(3, OnMax::EvictOldest));
        assert!(proves(&*kept, "ada", 1, true).await.is_some(), "{name}");
        let began = kept.begin(&user("ada")).await.unwrap();
        let new = Creation::new(claim("ada", 6, 6), began, minutes());
        let Created::New { evicted, over, .. } = kept.create(&new).await.unwrap() else {
            panic!("{name}: not created");
        };
        // The cap was lowered, so three leave at once.
        assert_eq!(ids(&evicted), sorted([1, 2, 3]), "{name}");
        assert!(!over, "{name}");
        assert_eq!(listed(&*kept, "ada").await, sorted([4, 5, 6]), "{name}");
        assert_eq!(proves(&*kept, "ada", 1, true).await, None, "{name}");
        assert_eq!(
            kept.statistics(&user("ada")).await.unwrap().terminated,
            3,
            "{name}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_full_user_is_denied_until_a_session_ends() {
    on_every_store(async |name, store| {
        let settings = keeping(2, OnMax::Deny);
        let kept = store.bind(&settings);
        login(store, &settings, "ada", 1).await;
        store.set(START + 30 * SECOND);
        login(store, &settings, "ada", 2).await;
        let began = kept.begin(&user("ada")).await.unwrap();
        let mut new = Creation::new(claim("ada", 3, 3), began, minutes());
        new.once = Some(Once([1; 16]));
        assert_eq!(kept.create(&new).await.unwrap(), Created::AtMax, "{name}");
        assert_eq!(listed(&*kept, "ada").await, sorted([1, 2]), "{name}");
        // The first idles out: the same create, with the same key, has its place.
        store.set(START + 60 * SECOND);
        created(kept.create(&new).await.unwrap());
        assert_eq!(listed(&*kept, "ada").await, sorted([2, 3]), "{name}");
    })
    .await;
}

#[tokio::test]
async fn one_more_than_may_live_is_told_where_that_is_wanted() {
    on_every_store(async |name, store| {
        let kept = store.bind(&keeping(2, OnMax::Alert));
        let began = kept.begin(&user("ada")).await.unwrap();
        for (n, is_over) in [(1, false), (2, false), (3, true), (4, true)] {
            let new = Creation::new(claim("ada", n, n), began, minutes());
            let Created::New { evicted, over, .. } = kept.create(&new).await.unwrap() else {
                panic!("{name}: not created");
            };
            assert_eq!((evicted, over), (vec![], is_over), "{name}, {n}");
        }
        assert_eq!(listed(&*kept, "ada").await, sorted([1, 2, 3, 4]), "{name}");
    })
    .await;
}

#[tokio::test]
async fn repeats_with_one_key_create_one_session_for_ten_minutes() {
    on_every_store(async |name, store| {
        let kept = store.bind(&keeping(9, OnMax::Deny));
        let create = async |name: &str, n, began| {
            let hours = lifetime(HOUR, HOUR);
            let mut new = Creation::new(claim(name, n, n), began, hours);
            new.once = Some(Once([7; 16]));
            kept.create(&new).await.unwrap()
        };
        let session = created(create("ada", 1, NO_EPOCH).await);
        let Created::Repeated(again) = create("ada", 2, NO_EPOCH).await else {
            panic!("{name}: not repeated");
        };
        assert_eq!(again, session, "{name}");
        // The key is the user's.
        created(create("bob", 3, NO_EPOCH).await);
        // A repeat is no new login, so that nothing overtakes it while its session lives.
        kept.end_all(&user("ada"), Some(id(1))).await.unwrap();
        assert!(
            matches!(create("ada", 4, NO_EPOCH).await, Created::Repeated(_)),
            "{name}"
        );
        kept.end(&user("ada"), id(1)).await.unwrap();
        assert_eq!(create("ada", 5, NO_EPOCH).await, Created::Ended, "{name}");
        store.set(START + 600 * SECOND - 1);
        let began = kept.begin(&user("ada")).await.unwrap();
        assert_eq!(create("ada", 6, began).await, Created::Ended, "{name}");
        store.set(START + 600 * SECOND);
        created(create("ada", 7, began).await);
        assert!(
            matches!(create("ada", 8, began).await, Created::Repeated(_)),
            "{name}"
        );
        assert_eq!(listed(&*kept, "ada").await, [id(7)], "{name}");
    })
    .await;
}

#[tokio::test]
async fn the_list_has_the_newest_activity_first() {
    on_every_store(async |name, store| {
        let settings = keeping(9, OnMax::Deny);
        let kept = store.bind(&settings);
        for n in 1..=4 {
            store.set(START + n);
            login(store, &settings, "ada", n).await;
        }
        store.set(START + 2 * SECOND);
        proves(&*kept, "ada", 2, true).await.unwrap();
        let list = kept.list(&user("ada")).await.unwrap();
        let order: Vec<_> = list.iter().map(|session| session.id).collect();
        assert_eq!(order, [2, 4, 3, 1].map(id), "{name}");
        assert_eq!(kept.list(&user("nobody")).await.unwrap(), [], "{name}");
    })
    .await;
}

#[tokio::test]
async fn sessions_are_found_by_their_origin_while_they_live_and_are_young() {
    on_every_store(async |name, store| {
        let kept = store.bind(&keeping(9, OnMax::Deny));
        let (here, there) = (Origin([1; 16]), Origin([2; 16]));
        let create = async |name: &str, n, origin, lasts| {
            let mut new = Creation::new(claim(name, n, n), NO_EPOCH, lifetime(lasts, lasts));
            new.origin = origin;
            created(kept.create(&new).await.unwrap());
        };
        create("ada", 1, Some(here), 3 * HOUR).await;
        create("ada", 2, Some(there), 3 * HOUR).await;
        create("ada", 3, None, 3 * HOUR).await;
        create("ada", 4, Some(here), HOUR).await;
        store.set(START + SECOND);
        create("bob", 5, Some(here), 3 * HOUR).await;
        create("bob", 6, Some(here), 3 * HOUR).await;
        kept.end(&user("bob"), id(6)).await.unwrap();
        let found = async |origin, within| {
            let within = Duration::from_micros(within);
            let mut found = kept.created_from(origin, within).await.unwrap();
            found.sort();
            found
        };
        let mut all = vec![
            (user("ada"), id(1)),
            (user("ada"), id(4)),
            (user("bob"), id(5)),
        ];
        all.sort();
        assert_eq!(found(here, 2 * HOUR).await, all, "{name}");
        assert_eq!(found(here, SECOND).await, [(user("bob"), id(5))], "{name}");
        assert_eq!(found(here, SECOND + 1).await, all, "{name}");
        assert_eq!(
            found(there, 2 * HOUR).await,
            [(user("ada"), id(2))],
            "{name}"
        );
        assert_eq!(found(Origin([3; 16]), 2 * HOUR).await, [], "{name}");
        store.set(START + 2 * HOUR - 1);
        all.retain(|(_, of)| *of != id(4));
        assert_eq!(found(here, 2 * HOUR).await, all, "{name}");
        store.set(START + 2 * HOUR);
        assert_eq!(
            found(here, 2 * HOUR).await,
            [(user("bob"), id(5))],
            "{name}"
        );
        kept.end_all(&user("bob"), None).await.unwrap();
        assert_eq!(found(here, 2 * HOUR).await, [], "{name}");
        // It lives on when its origin is forgotten.
        assert_eq!(listed(&*kept, "ada").await, sorted([1, 2, 3]), "{name}");
    })
    .await;
}

/// What looks at a session first after the clock stepped back.
const LOOKS: [&str; 8] = [
    "prove",
    "touch",
    "rotate",
    "list",
    "create",
    "end all",
    "statistics",
    "clean",
];

#[tokio::test]
async fn a_session_from_the_future_lives_no_longer_than_its_lifetimes_from_the_first_look() {
    for look in LOOKS {
        on_every_store(async |name, store| {
            let settings = keeping(9, OnMax::Deny);
            let kept = store.bind(&settings);
            let new = Creation::new(claim("ada", 1, 1), NO_EPOCH, lifetime(HOUR, 2 * HOUR));
            created(kept.create(&new).await.unwrap());
            let stepped = START - 24 * HOUR;
            store.set(stepped);
            let ada = user("ada");
            match look {
                "prove" => drop(proves(&*kept, "ada", 1, false).await.unwrap()),
                "touch" => drop(proves(&*kept, "ada", 1, true).await.unwrap()),
                "rotate" => {
                    let renewal = Renewal::default();
                    let rotated = kept.rotate(&claim("ada", 1, 1), &proof(1), &renewal).await;
                    assert!(rotated.unwrap().is_some(), "{name}");
                }
                "list" => drop(kept.list(&ada).await.unwrap()),
                "create" => drop(login(store, &settings, "ada", 2).await),
                "end all" => drop(kept.end_all(&ada, Some(id(1))).await.unwrap()),
                "statistics" => {
                    let told = kept.statistics(&ada).await.unwrap();
                    let counts = [told.total, told.active, told.recent_24h];
                    assert_eq!(
                        counts,
                        [1, 1, 1],
                        "{name}: it counts by the hour of the look"
                    );
                }
                _ => assert_eq!(kept.clean(&ada).await.unwrap(), 0, "{name}"),
            }
            store.set(stepped + HOUR - 1);
            let session = proves(&*kept, "ada", 1, false).await;
            let session = session.unwrap_or_else(|| panic!("{name}: gone after {look}"));
            for time in [
                session.created,
                session.authenticated,
                session.last_activity,
            ] {
                assert_eq!(micros(time), stepped, "{name}, {look}");
            }
            proves(&*kept, "ada", 1, true).await.unwrap();
            store.set(stepped + 2 * HOUR - 2);
            assert!(
                proves(&*kept, "ada", 1, false).await.is_some(),
                "{name}, {look}"
            );
            store.set(stepped + 2 * HOUR);
            assert_eq!(
                proves(&*kept, "ada", 1, false).await,
                None,
                "{name}, {look}"
            );
            let told = kept.statistics(&ada).await.unwrap();
            assert_eq!(
                told.total,
                told.active + told.expired + told.terminated,
                "{name}"
            );
            assert!(told.expired >= 1, "{name}, {look}: {told:?}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_step_back_to_within_a_sessions_life_makes_its_activity_of_now() {
    on_every_store(async |name, store| {
        let kept = store.bind(&keeping(9, OnMax::Deny));
        login(store, &keeping(9, OnMax::Deny), "ada", 1).await;
        store.set(START + 40 * SECOND);
        proves(&*kept, "ada", 1, true).await.unwrap();
        let mut renewal = Renewal::default();
        renewal.authenticated = true;
        kept.rotate(&claim("ada", 1, 1), &proof(1), &renewal)
            .await
            .unwrap();
        store.set(START + 10 * SECOND);
        let session = proves(&*kept, "ada", 1, false).await.unwrap();
        let times = [
            session.created,
            session.authenticated,
            session.last_activity,
        ];
        let [begin, back] = [START, START + 10 * SECOND];
        assert_eq!(times.map(micros), [begin, back, back], "{name}");
        store.set(START + 70 * SECOND);
        assert_eq!(proves(&*kept, "ada", 1, true).await, None, "{name}");
    })
    .await;
}
