//! Logins, on every store: which create a session, which are overtaken, repeated or one too many.

use std::time::{Duration, UNIX_EPOCH};

use palisade::session::store::{Began, Created, Creation, OnMax, Once};

use super::{
    HOUR, NO_EPOCH, SECOND, START, claim, created, id, ids, keeping, lifetime, listed, login,
    minutes, on_every_store, proves, sorted, user,
};

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
