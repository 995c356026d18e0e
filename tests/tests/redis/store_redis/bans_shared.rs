//! Bans on a real server: what its stores share, and how they bear what goes wrong with it.

use std::time::Duration;

use palisade::client::{Network, Secret, UserId};
use palisade::rate_limit::store::{Gate, Logs, Store};
use palisade::rate_limit::{PartitionKey, StoreErrorKind};
use palisade::store::redis::RedisStore;
use palisade::suspicion::store::{BanStore, Barred, Evidence};
use palisade::suspicion::{Ban, BanReason, IncidentKind, Sentence, Subject};
use palisade_tests::redis::RedisServer;
use palisade_tests::time::standing_still;

use super::bans::client;
use super::patient;
use crate::charge;

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn stores_on_one_server_share_their_bans() {
    let server = RedisServer::start();
    let stores = [(); 2].map(|()| patient(&server).build().unwrap());
    let kind = IncidentKind::EndpointScanning;
    let sentence = Sentence::default();
    let v6 = Network::of("2001:db8::1".parse().unwrap(), 64);
    assert_eq!(
        stores[0].banned_for(v6, None).await.unwrap(),
        Barred::default()
    );
    assert!(stores[0].list(10).await.unwrap().is_empty());
    let evidence = |thing| Evidence {
        subject: v6.into(),
        kind,
        threshold: "2/5m".parse().unwrap(),
        thing,
    };
    for thing in [7, 7] {
        let evidence = [evidence(thing)];
        let bans = stores[1].convict(&evidence, &sentence, 0).await.unwrap();
        assert!(bans.is_empty());
    }
    let evidence = [evidence(8)];
    let convicted = stores[0].convict(&evidence, &sentence, 0).await.unwrap();
    let ban = &convicted[0];
    assert_eq!(ban.left, 10 * MINUTE);
    assert_eq!((&ban.subject, ban.strikes), (&v6.into(), 1));
    assert_eq!(ban.reason, BanReason::Incident(kind));
    let left = stores[1]
        .banned_for(v6, None)
        .await
        .unwrap()
        .client
        .unwrap();
    assert!(left <= 10 * MINUTE && left > 9 * MINUTE, "{left:?}");
    let again = stores[1].impose_for(&v6.into(), 22 * MINUTE).await.unwrap();
    assert_eq!((again.left, again.strikes), (22 * MINUTE, 1));
    assert_eq!(again.since, ban.since);
    let manual = stores[1]
        .impose_for(&client(1).into(), 5 * MINUTE)
        .await
        .unwrap();
    assert_eq!((manual.reason, manual.strikes), (BanReason::Manual, 0));
    let told = |bans: Vec<Ban>| {
        bans.into_iter()
            .map(|ban| (ban.subject.network().unwrap(), ban.until))
            .collect::<Vec<_>>()
    };
    let (longer, shorter) = ((v6, again.until), (client(1), manual.until));
    assert_eq!(told(stores[0].list(10).await.unwrap()), [longer, shorter]);
    assert_eq!(told(stores[0].list(1).await.unwrap()), [longer]);
    assert!(stores[0].list(0).await.unwrap().is_empty());
    assert_eq!(server.cli(&["DBSIZE"]), "3");
    assert_eq!(
        server.cli(&["EXISTS", "palisade:ban:2001:db8::/64", "palisade:bans"]),
        "2"
    );
    assert!(stores[0].lift(&v6.into()).await.unwrap());
    assert!(!stores[1].lift(&v6.into()).await.unwrap());
    assert_eq!(
        stores[1].banned_for(v6, None).await.unwrap(),
        Barred::default()
    );
    assert_eq!(told(stores[1].list(10).await.unwrap()), [shorter]);
    assert!(stores[1].lift(&client(1).into()).await.unwrap());
    // When each was lifted: what came before counts no more. The index is gone.
    let keys = server.cli(&["KEYS", "*"]);
    assert_eq!(keys.lines().count(), 2, "{keys}");
    for key in keys.lines() {
        let ttl: i64 = server.cli(&["PTTL", key]).parse().unwrap();
        assert!(key.contains(":ban:") && (86_000_000..=86_401_000).contains(&ttl));
    }
}

#[tokio::test]
async fn one_burst_over_many_processes_is_one_offence() {
    let server = RedisServer::start();
    let stores = [(); 2].map(|()| patient(&server).build().unwrap());
    let kinds = [IncidentKind::EndpointScanning, IncidentKind::Abuse];
    for strikes in 1..=3 {
        let tasks: Vec<_> = (0..100)
            .map(|thing| {
                let store = stores[thing as usize % 2].clone();
                tokio::spawn(async move {
                    let evidence = kinds.map(|kind| Evidence {
                        subject: client(1).into(),
                        kind,
                        threshold: "10/24h".parse().unwrap(),
                        thing,
                    });
                    let second = Sentence::new(MINUTE / 60, MINUTE).unwrap();
                    store.convict(&evidence, &second, 0).await.unwrap()
                })
            })
            .collect();
        let mut bans = Vec::new();
        for task in tasks {
            bans.extend(task.await.unwrap());
        }
        let strikes_of: Vec<_> = bans.iter().map(|ban| ban.strikes).collect();
        assert_eq!(strikes_of, [strikes]);
        // Who goes on when it is over is banned again.
        let end = bans[0].until;
        while std::time::SystemTime::now() < end {
            tokio::time::sleep(MINUTE / 6_000).await;
        }
    }
}

#[tokio::test]
async fn a_corrupt_ban_is_counted_and_a_foreign_member_of_the_index_passed_over() {
    let server = RedisServer::start();
    let store = patient(&server).build().unwrap();
    store.impose_for(&client(1).into(), MINUTE).await.unwrap();
    server.cli(&["ZADD", "palisade:bans", "9999999999999", "no network"]);
    assert_eq!(store.list(10).await.unwrap().len(), 1);
    server.cli(&["SET", "palisade:ban:0.0.0.1", "x"]);
    assert_eq!(
        store.banned_for(client(1), None).await.unwrap(),
        Barred::default()
    );
    assert_eq!(store.health().broken_logs(), 1);
}

#[tokio::test]
async fn what_only_bans_meet_leaves_the_breaker_of_the_limits_alone() {
    let server = RedisServer::start();
    server.cli(&[
        "ACL",
        "SETUSER",
        "palisade",
        "resetkeys",
        "~palisade:rate:*",
        "~palisade:probe:*",
    ]);
    let store = patient(&server).build().unwrap();
    for _ in 0..20 {
        let error = store.banned_for(client(1), None).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Failed);
        store
            .impose_for(&client(1).into(), MINUTE)
            .await
            .unwrap_err();
    }
    assert!(!store.health().is_breaker_open());
}

#[tokio::test]
async fn a_server_that_dies_or_hangs_opens_the_breaker_and_is_not_waited_for() {
    for hangs in [false, true] {
        let mut server = RedisServer::start();
        let store = RedisStore::builder(&server.url())
            .deadline(Duration::from_secs(1))
            .build()
            .unwrap();
        let imposed = standing_still(store.impose_for(&client(1).into(), MINUTE)).await;
        imposed.unwrap();
        server.fail(hangs);
        // Goes on to the deadline at once.
        tokio::time::pause();
        for _ in 0..5 {
            assert!(!store.health().is_breaker_open());
            store.banned_for(client(1), None).await.unwrap_err();
        }
        assert!(store.health().is_breaker_open());
        let rejected = store.lift(&client(1).into()).await.unwrap_err();
        assert_eq!(rejected.kind(), StoreErrorKind::Rejected);
        tokio::time::resume();
        server.recover();
        palisade_tests::redis::until_closed(&store.health()).await;
        let banned = standing_still(store.banned_for(client(1), None))
            .await
            .unwrap();
        assert_eq!(banned.client.is_some(), hangs);
    }
}

#[tokio::test]
async fn what_is_imposed_closes_the_gate_of_the_call_that_charges_until_it_is_lifted() {
    let server = RedisServer::start();
    let store = patient(&server).build().unwrap();
    let limits = store.bind(&[Logs::of("ip", MINUTE)]);
    let key = PartitionKey::from(client(1));
    let charge = charge(0, &key, super::quota(100, 60));
    let ada = UserId::new("ada", &Secret::from_bytes(b"test"));
    let bob = UserId::new("bob", &Secret::from_bytes(b"test"));
    let ask = async |user: Option<&UserId>| {
        let gate = Gate {
            client: client(1),
            user: user.cloned(),
            enforced: true,
        };
        let verdict = limits.admit_through(gate, &[charge]).await.unwrap();
        // The question of a layer alone has the same answer.
        let alone = store.banned_for(client(1), user).await.unwrap();
        let is_some = |barred: Barred| (barred.client.is_some(), barred.user.is_some());
        assert_eq!(is_some(verdict.banned), is_some(alone));
        assert_eq!(verdict.admitted, verdict.banned.left().is_none());
        is_some(verdict.banned)
    };
    let nobody = (false, false);
    assert_eq!(ask(None).await, nobody);
    assert_eq!(ask(Some(&ada)).await, nobody);
    let of_ada = Subject::from(ada.clone());
    let imposed = store.impose_for(&of_ada, MINUTE).await.unwrap();
    assert_eq!((imposed.subject, imposed.left), (of_ada.clone(), MINUTE));
    assert_eq!(server.cli(&["EXISTS", "palisade:ban:user:ada"]).trim(), "1");
    // Her alone: neither her address nor a colleague.
    assert_eq!(ask(Some(&ada)).await, (false, true));
    assert_eq!(ask(Some(&bob)).await, nobody);
    assert_eq!(ask(None).await, nobody);
    store
        .impose_for(&client(1).into(), MINUTE / 2)
        .await
        .unwrap();
    let listed = store.list(10).await.unwrap();
    let listed: Vec<_> = listed.iter().map(|ban| ban.subject.to_string()).collect();
    assert_eq!(listed, ["user:ada", "0.0.0.1"]);
    assert_eq!(ask(Some(&ada)).await, (true, true));
    assert_eq!(ask(Some(&bob)).await, (true, false));
    assert!(store.lift(&client(1).into()).await.unwrap());
    assert_eq!(ask(Some(&ada)).await, (false, true));
    assert!(store.lift(&of_ada).await.unwrap());
    assert_eq!(ask(Some(&ada)).await, nobody);
}
