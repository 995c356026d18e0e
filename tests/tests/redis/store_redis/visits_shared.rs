//! How far visitors came: the store against real servers.

use std::time::Duration;

use palisade::funnel::store::{Journeys, VisitStore};
use palisade::rate_limit::StoreErrorKind;
use palisade_tests::redis::RedisServer;

use super::patient;
use super::visits::{now_at, reach};

fn one_minute() -> Journeys {
    Journeys::of(["browse", "view", "buy"], Duration::from_secs(60))
}

#[tokio::test]
async fn two_stores_on_one_server_count_a_visitor_once() {
    let server = RedisServer::start();
    let stores = [(), ()].map(|()| patient(&server).build().unwrap());
    let [a, b] = &stores;
    let mut counted = 0;
    for stage in 0..3 {
        for store in [a, b] {
            let reaches = [reach(&now_at(stage)), reach(&now_at(stage))];
            let progress = store.reach(one_minute(), &reaches).await.unwrap();
            assert_eq!(progress.len(), 2);
            counted += progress.iter().map(|it| it.steps.len()).sum::<usize>();
        }
    }
    assert_eq!(counted, 3);
    assert_eq!(
        server.cli(&["KEYS", "*:funnel:*"]),
        "palisade:funnel:60s:01779474:v0"
    );
    assert_eq!(server.cli(&["DBSIZE"]), "2", "and the ledger");
    assert!(a.reach(one_minute(), &[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_only_this_script_meets_leaves_the_breaker_closed_and_a_lost_server_opens_it() {
    let mut server = RedisServer::start();
    let store = patient(&server).build().unwrap();
    let reaches = [reach(&now_at(0))];
    store.reach(one_minute(), &reaches).await.unwrap();
    server.cli(&["ACL", "SETUSER", "palisade", "resetkeys", "~elsewhere:*"]);
    for _ in 0..10 {
        let error = store.reach(one_minute(), &reaches).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Failed);
    }
    assert!(!store.health().is_breaker_open());
    server.kill();
    for _ in 0..5 {
        store.reach(one_minute(), &reaches).await.unwrap_err();
    }
    assert!(store.health().is_breaker_open());
    let error = store.reach(one_minute(), &reaches).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Rejected);
}

#[tokio::test]
async fn other_windows_and_other_stages_are_other_journeys() {
    let server = RedisServer::start();
    let store = patient(&server).build().unwrap();
    let seconds = Duration::from_secs;
    for journeys in [
        Journeys::of(["browse", "view", "buy"], seconds(60)),
        Journeys::of(["browse", "view", "buy"], seconds(120)),
        Journeys::of(["browse", "buy"], seconds(60)),
        Journeys::of(["view", "browse", "buy"], seconds(60)),
    ] {
        for stage in 0..2 {
            let progress = store.reach(journeys, &[reach(&now_at(stage))]).await;
            let progress = progress.unwrap().remove(0);
            assert_eq!((progress.before, progress.counted()), (stage, stage + 1));
        }
    }
}
