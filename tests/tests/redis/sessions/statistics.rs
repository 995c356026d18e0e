//! How many sessions there are and were.

use palisade::session::store::{Creation, OnMax, Statistics};

use super::{
    DAY, HOUR, NO_EPOCH, SECOND, START, claim, created, id, keeping, lifetime, login,
    on_every_store, user,
};

#[tokio::test]
async fn the_total_is_the_sum_of_those_that_live_expired_and_were_ended() {
    on_every_store(async |name, store| {
        let settings = keeping(9, OnMax::Deny);
        let kept = store.bind(&settings);
        let ada = user("ada");
        let of = async || {
            let told = kept.statistics(&ada).await.unwrap();
            assert_eq!(
                told.total,
                told.active + told.expired + told.terminated,
                "{name}"
            );
            [told.active, told.expired, told.terminated, told.recent_24h]
        };
        assert_eq!(
            kept.statistics(&ada).await.unwrap(),
            Statistics::default(),
            "{name}"
        );
        for n in 1..=6 {
            login(store, &settings, "ada", n).await;
        }
        login(store, &settings, "bob", 7).await;
        assert_eq!(of().await, [6, 0, 0, 6], "{name}");
        kept.end(&ada, id(1)).await.unwrap();
        kept.end(&ada, id(1)).await.unwrap();
        kept.end_all(&ada, Some(id(2))).await.unwrap();
        assert_eq!(of().await, [1, 0, 5, 6], "{name}");
        store.set(START + 60 * SECOND);
        assert_eq!(of().await, [0, 1, 5, 6], "{name}");
        kept.clean(&ada).await.unwrap();
        kept.end(&ada, id(2)).await.unwrap();
        assert_eq!(of().await, [0, 1, 5, 6], "{name}");
    })
    .await;
}

#[tokio::test]
async fn sessions_count_for_a_day_and_for_thirty_by_the_hour_of_their_creation() {
    on_every_store(async |name, store| {
        let kept = store.bind(&keeping(9, OnMax::Deny));
        let ada = user("ada");
        let hour = START / HOUR * HOUR;
        store.set(hour + HOUR - 1);
        for (n, lasts) in [(1, 40 * DAY), (2, HOUR), (3, 40 * DAY)] {
            let new = Creation::new(claim("ada", n, n), NO_EPOCH, lifetime(lasts, lasts));
            created(kept.create(&new).await.unwrap());
        }
        kept.end(&ada, id(3)).await.unwrap();
        for (at, [active, expired, terminated, recent]) in [
            (25 * HOUR - 1, [1, 1, 1, 3]),
            (25 * HOUR, [1, 1, 1, 0]),
            (30 * DAY + HOUR - 1, [1, 1, 1, 0]),
            // It lives, however old it is.
            (30 * DAY + HOUR, [1, 0, 0, 0]),
            (40 * DAY + HOUR, [0, 0, 0, 0]),
        ] {
            store.set(hour + at);
            let expected = Statistics {
                total: active + expired + terminated,
                active,
                expired,
                terminated,
                recent_24h: recent,
            };
            assert_eq!(
                kept.statistics(&ada).await.unwrap(),
                expected,
                "{name}, {at}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_left_of_sessions_that_idled_out_is_removed_once() {
    on_every_store(async |name, store| {
        let settings = keeping(9, OnMax::Deny);
        let kept = store.bind(&settings);
        let ada = user("ada");
        for n in 1..=3 {
            login(store, &settings, "ada", n).await;
        }
        kept.end(&ada, id(3)).await.unwrap();
        store.set(START + 59 * SECOND);
        assert_eq!(kept.clean(&ada).await.unwrap(), 0, "{name}");
        login(store, &settings, "ada", 4).await;
        store.set(START + 60 * SECOND);
        assert_eq!(kept.clean(&ada).await.unwrap(), 2, "{name}");
        assert_eq!(kept.clean(&ada).await.unwrap(), 0, "{name}");
        assert_eq!(kept.list(&ada).await.unwrap().len(), 1, "{name}");
        assert_eq!(kept.clean(&user("nobody")).await.unwrap(), 0, "{name}");
    })
    .await;
}

#[tokio::test]
async fn those_that_live_are_counted_over_all_users() {
    on_every_store(async |name, store| {
        let settings = keeping(2, OnMax::EvictOldest);
        let kept = store.bind(&settings);
        let active = async || kept.active().await.unwrap();
        assert_eq!(active().await, 0, "{name}");
        for n in 1..=20 {
            login(store, &settings, &format!("user-{}", n % 7), n).await;
        }
        assert_eq!(active().await, 14, "{name}");
        kept.end_all(&user("user-1"), None).await.unwrap();
        let Some(last) = kept.list(&user("user-2")).await.unwrap().pop() else {
            panic!("{name}: nobody is there");
        };
        kept.end(&user("user-2"), last.id).await.unwrap();
        assert_eq!(active().await, 11, "{name}");
        store.set(START + 59 * SECOND);
        login(store, &settings, "user-1", 30).await;
        assert_eq!(active().await, 12, "{name}");
        // Nobody looks at those that idle out.
        store.set(START + 60 * SECOND);
        assert_eq!(active().await, 1, "{name}");
    })
    .await;
}
