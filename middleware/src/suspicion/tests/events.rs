//! What an observer is told of the security log.

use super::*;
use crate::suspicion::{Bans, Occurrence, SecurityEvent};

const CLIENT: [u8; 4] = [192, 0, 2, 1];

fn network() -> crate::model::Network {
    crate::model::Network::of(CLIENT.into(), 64)
}

/// A layer with bans, an observer of one line for each event, and how the layer is to be built further.
fn observed(
    also: impl FnOnce(SuspicionLayerBuilder) -> SuspicionLayerBuilder,
) -> (Watched, Arc<Mutex<Vec<String>>>) {
    let store = MemoryStore::new();
    let told = Arc::<Mutex<Vec<String>>>::default();
    let kept = Arc::clone(&told);
    let builder = SuspicionLayer::embedded(store.clone())
        .bans(Bans::embedded(store))
        .observe_events(move |event: &SecurityEvent<'_>| {
            assert_eq!(event.client, network());
            let what = match event.occurrence {
                Occurrence::Incident {
                    incident,
                    request,
                    user,
                    first_seen,
                    last_seen,
                } => {
                    assert!(first_seen <= last_seen);
                    let user = user.map_or("nobody", UserId::as_str);
                    format!("{} {} {user}", incident.rule.kind, request.status.as_u16())
                }
                Occurrence::Banned { reason, ban } => format!("{reason} {}", ban.strikes),
                Occurrence::Lifted { .. }
                | Occurrence::Unblocked { .. }
                | Occurrence::Session { .. } => String::new(),
            };
            let line = format!("{} {} {what}", event.as_str(), event.name);
            kept.lock().unwrap().push(line.trim_end().to_owned());
        });
    (Watched::new(also(builder)), told)
}

#[tokio::test]
async fn an_incident_its_ban_and_its_lift_are_told_in_their_order() {
    let (mut watched, told) = observed(|builder| builder);
    // Counted for the incident, and not towards the ban.
    let users = std::iter::repeat_n(None, 9).chain([Some("ada"), None]);
    for user in users {
        watched.ask(request(1, 404, user)).await;
    }
    watched.settled(11).await;
    let suspicions = watched.layer.suspicions();
    assert!(suspicions.lift(network()).await.unwrap());
    assert!(!suspicions.lift(network()).await.unwrap(), "no ban is left");
    assert_eq!(
        *told.lock().unwrap(),
        [
            "suspicious_activity 192.0.2.1 endpoint_scanning 404 ada",
            "client_banned 192.0.2.1 endpoint_scanning 1",
            "ban_lifted 192.0.2.1",
        ]
    );
}

#[tokio::test]
async fn the_name_is_hashed_where_the_log_hashes_it() {
    let secret = Secret::from_bytes(b"of the log");
    let hash = secret.hash(b"client", b"192.0.2.1");
    let (watched, told) = observed(|builder| builder.hash_clients(secret));
    let suspicions = watched.layer.suspicions();
    let minute = Duration::from_secs(60);
    suspicions.ban(network(), minute).await.unwrap();
    suspicions.lift(network()).await.unwrap();
    assert_eq!(
        *told.lock().unwrap(),
        [
            format!("client_banned {hash} manual 0"),
            format!("ban_lifted {hash}"),
        ]
    );
}

#[tokio::test]
async fn an_observer_that_panics_harms_neither_the_counts_nor_the_other_observers() {
    let (mut watched, told) = observed(|builder| {
        let builder = builder.observe_events(|_| panic!("an observer's own"));
        builder.observe_events(|_| panic!("another's"))
    });
    for _ in 0..10 {
        watched.ask(request(1, 404, None)).await;
    }
    watched.settled(10).await;
    assert_eq!(told.lock().unwrap().len(), 2);
    let tally = watched.layer.tally();
    assert_eq!(tally.failures(FailureResult::Counted), 10);
    assert_eq!(tally.failures(FailureResult::Dropped), 0);
    assert_eq!(watched.ask(request(1, 200, None)).await.status(), 429);
}

#[tokio::test]
async fn a_ban_of_a_user_names_the_user_and_the_client_that_it_last_came_from() {
    let secret = Secret::from_bytes(b"of the log");
    for hashed in [false, true] {
        let (mut watched, told) = observed(|builder| match hashed {
            true => builder.hash_clients(secret.clone()),
            false => builder,
        });
        for _ in 0..10 {
            watched.ask(request(1, 404, Some("ada"))).await;
        }
        watched.settled(10).await;
        let [client, user] = [("client", "192.0.2.1"), ("user", "ada")].map(|(domain, text)| {
            if hashed {
                secret.hash(domain.as_bytes(), text.as_bytes())
            } else {
                text.to_owned()
            }
        });
        assert_eq!(
            *told.lock().unwrap(),
            [
                format!("suspicious_activity {client} endpoint_scanning 404 ada"),
                format!("client_banned {user} endpoint_scanning 1"),
            ]
        );
    }
}
