//! A clock that stepped back, on every store.

use palisade::session::store::{Creation, OnMax, Renewal};

use super::model::micros;
use super::{
    HOUR, NO_EPOCH, SECOND, START, claim, created, id, keeping, lifetime, login, on_every_store,
    proof, proves, user,
};

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
