//! The sentences of the contract, on every store.

use std::time::Duration;

use palisade::session::store::{Creation, OnMax, Origin, Proved, Renewal};
use palisade::session::{SessionType, Text};

use super::model::micros;
use super::{
    HOUR, NO_EPOCH, SECOND, START, claim, created, id, keeping, lifetime, listed, login,
    on_every_store, proof, proves, sorted, user,
};

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
