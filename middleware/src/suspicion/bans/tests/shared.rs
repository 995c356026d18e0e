//! Bans in a store that processes share, and that may fail.

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard};

use super::*;
use crate::suspicion::store::LocalBanStore;

/// A shared store in the test's hands.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<State>>);

#[derive(Default)]
pub(super) struct State {
    pub(super) bans: HashMap<Subject, Duration>,
    checks: usize,
    fails: bool,
    pub(super) hangs: bool,
    /// What counts towards its bans.
    counts: MemoryStore,
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// As an eviction does: it knows nothing of the client any more.
    pub(super) fn forget(&self, client: Network) {
        self.state().bans.remove(&client.into());
        self.state().counts = MemoryStore::new();
    }

    fn answer<T: Send + 'static>(&self, of: impl FnOnce(&mut State) -> T) -> Reply<T> {
        let mut state = self.state();
        if state.hangs {
            Reply::pending(pending())
        } else if state.fails {
            Reply::Ready(Err(StoreError::new(StoreErrorKind::Timeout)))
        } else {
            Reply::Ready(Ok(of(&mut state)))
        }
    }
}

impl BanStore for Shared {
    fn convict(&self, evidence: &[Evidence], sentence: &Sentence, roll: u32) -> Reply<Vec<Ban>> {
        self.answer(|state| {
            let bans = state.counts.convict_now(evidence, sentence, roll);
            let banned = bans.iter().map(|ban| (ban.subject.clone(), ban.left));
            state.bans.extend(banned);
            bans
        })
    }

    fn impose_for(&self, subject: &Subject, length: Duration) -> Reply<Ban> {
        self.answer(|state| {
            state.bans.insert(subject.clone(), length);
            Ban::new(subject.clone(), BanReason::Manual, 0, [length; 3])
        })
    }

    fn lift(&self, subject: &Subject) -> Reply<bool> {
        self.answer(|state| {
            state.counts.lift_now(subject);
            state.bans.remove(subject).is_some()
        })
    }

    fn banned_for(&self, client: Network, user: Option<&UserId>) -> Reply<Barred> {
        self.state().checks += 1;
        let left = |state: &State, subject| state.bans.get(&subject).copied();
        self.answer(|state| Barred {
            client: left(state, client.into()),
            user: user.and_then(|user| left(state, user.clone().into())),
        })
    }

    fn list(&self, _: usize) -> Reply<Vec<Ban>> {
        self.answer(|_| Vec::new())
    }
}

pub(super) fn shared() -> (Shared, Hand, SuspicionLayer) {
    let (hand, local) = hand_store();
    let store = Shared::default();
    let bans = Bans::shared(store.clone(), local.clone()).sentence(exact());
    let layer = built(SuspicionLayer::embedded(local).bans(bans));
    (store, hand, layer)
}

#[tokio::test]
async fn a_shared_store_is_asked_for_each_unknown_client_and_not_again_for_a_known_ban() {
    let (store, _, layer) = shared();
    store.state().bans.insert(network(1).into(), MINUTE);
    for _ in 0..10 {
        assert_eq!(status(&layer, 1).await, 429);
    }
    assert_eq!(store.state().checks, 1);
    a_second_passes(&layer);
    for _ in 0..10 {
        assert_eq!(status(&layer, 1).await, 429);
    }
    assert_eq!(store.state().checks, 2);
    for _ in 0..3 {
        assert_eq!(status(&layer, 2).await, 200);
    }
    assert_eq!(store.state().checks, 5);
}

#[tokio::test]
async fn what_this_process_imposes_or_lifts_it_knows_at_once() {
    let (store, _, layer) = shared();
    fail(&layer, 1, 10).await;
    let checks = store.state().checks;
    assert_eq!(status(&layer, 1).await, 429);
    layer.suspicions().ban(network(2), MINUTE).await.unwrap();
    assert_eq!(status(&layer, 2).await, 429);
    assert_eq!(store.state().checks, checks);
    assert!(layer.suspicions().lift(network(1)).await.unwrap());
    assert_eq!(status(&layer, 1).await, 200);
}

#[tokio::test]
async fn while_the_store_fails_those_bans_hold_that_this_process_knows_of() {
    let (store, hand, layer) = shared();
    for octet in [1, 2, 3] {
        store.state().bans.insert(network(octet).into(), MINUTE);
    }
    assert_eq!(status(&layer, 1).await, 429);
    store.state().fails = true;
    // Known by what the store said before.
    a_second_passes(&layer);
    assert_eq!(status(&layer, 1).await, 429);
    // Known to the store alone.
    assert_eq!(status(&layer, 2).await, 200);
    assert!(layer.suspicions().ban(network(2), MINUTE).await.is_err());
    // Imposed here alone, so the store does not know of it when it is back either.
    fail(&layer, 4, 10).await;
    assert_eq!(status(&layer, 4).await, 429);
    store.state().fails = false;
    assert_eq!(status(&layer, 4).await, 429);
    assert!(layer.suspicions().lift(network(4)).await.unwrap());
    assert_eq!(status(&layer, 4).await, 200);
    hand.advance(MINUTE);
    store.state().fails = true;
    a_second_passes(&layer);
    assert_eq!(status(&layer, 1).await, 200, "its time is over here too");
}

#[tokio::test]
async fn a_ban_that_holds_here_alone_is_listed_and_can_be_lifted_while_the_store_fails() {
    let (store, _, layer) = shared();
    let suspicions = layer.suspicions();
    store.state().fails = true;
    for octet in [1, 2] {
        fail(&layer, octet, 10).await;
    }
    assert!(suspicions.bans().await.is_err());
    assert!(suspicions.lift(network(1)).await.is_err());
    assert_eq!(status(&layer, 1).await, 200);
    assert_eq!(status(&layer, 2).await, 429);
    store.state().fails = false;
    // What the store itself said is not told twice, nor once it is over there.
    store.state().bans.insert(network(3).into(), MINUTE);
    assert_eq!(status(&layer, 3).await, 429);
    let bans = suspicions.bans().await.unwrap();
    let listed: Vec<_> = bans
        .iter()
        .map(|ban| (ban.subject.network(), ban.reason))
        .collect();
    let scanning = BanReason::Incident(IncidentKind::EndpointScanning);
    assert_eq!(listed, [(Some(network(2)), scanning)]);
}

#[tokio::test]
async fn a_lift_that_the_store_tells_of_is_not_undone_by_its_failure() {
    let (store, _, layer) = shared();
    store.state().bans.insert(network(1).into(), MINUTE);
    assert_eq!(status(&layer, 1).await, 429);
    store.state().bans.clear();
    a_second_passes(&layer);
    assert_eq!(status(&layer, 1).await, 200);
    store.state().fails = true;
    assert_eq!(status(&layer, 1).await, 200);
}

#[tokio::test]
async fn a_ban_that_another_process_lifted_is_not_lifted_here_again() {
    let (store, _, layer) = shared();
    let suspicions = layer.suspicions();
    fail(&layer, 1, 10).await;
    store.state().bans.insert(network(2).into(), MINUTE);
    assert_eq!(status(&layer, 2).await, 429);
    // What is known of both here, for the time that the store fails, is not a ban of its own.
    store.state().bans.clear();
    for octet in [1, 2] {
        assert!(!suspicions.lift(network(octet)).await.unwrap(), "{octet}");
    }
    store.state().fails = true;
    for octet in [1, 2] {
        assert_eq!(status(&layer, octet).await, 200, "{octet}");
    }
}

#[tokio::test]
async fn what_an_outer_layer_heard_is_not_asked_again() {
    let (store, _, layer) = shared();
    let screened = |octet, left| {
        let mut request = request(octet, 200);
        request.extensions_mut().insert(Screened::Heard(left));
        request
    };
    let unknown = Screening::Unknown { enforced: true };
    let hear = |octet, client| {
        let gate = Gate {
            client: network(octet),
            user: None,
            enforced: true,
        };
        let barred = Barred { client, user: None };
        layer.recorder.hear(&gate, Ok(barred));
    };
    assert_eq!(
        layer.screening(&Method::GET, &Uri::default(), &client(1)),
        unknown
    );
    assert_eq!(send(&layer, screened(1, None)).await.status(), 200);
    let refused = send(&layer, screened(1, Some(MINUTE))).await;
    assert_eq!(refused.headers()[RETRY_AFTER], "60");
    hear(1, Some(MINUTE));
    assert_eq!(
        layer.screening(&Method::GET, &Uri::default(), &client(1)),
        Screening::Banned
    );
    assert_eq!(status(&layer, 1).await, 429);
    assert_eq!(store.state().checks, 0);
    hear(2, None);
    assert_eq!(
        layer.screening(&Method::GET, &Uri::default(), &client(2)),
        unknown
    );
}

#[tokio::test]
async fn a_dry_run_on_a_shared_store_says_so_and_memory_needs_no_asking() {
    let (_, local) = hand_store();
    let bans = Bans::shared(Shared::default(), local.clone()).dry_run();
    let layer = built(SuspicionLayer::embedded(local).bans(bans));
    let unknown = Screening::Unknown { enforced: false };
    assert_eq!(
        layer.screening(&Method::GET, &Uri::default(), &client(1)),
        unknown
    );
    let (_, layer) = embedded();
    assert_eq!(
        layer.screening(&Method::GET, &Uri::default(), &client(1)),
        Screening::Open
    );
    layer.suspicions().ban(network(1), MINUTE).await.unwrap();
    assert_eq!(
        layer.screening(&Method::GET, &Uri::default(), &client(1)),
        Screening::Banned
    );
}

#[tokio::test]
async fn what_counts_here_while_the_store_fails_is_not_forgotten_when_it_answers_in_between() {
    let (store, _, layer) = shared();
    store.state().fails = true;
    fail(&layer, 1, 9).await;
    store.state().fails = false;
    assert_eq!(status(&layer, 1).await, 200);
    store.state().fails = true;
    fail(&layer, 1, 1).await;
    assert_eq!(status(&layer, 1).await, 429);
}

async fn of_user(layer: &SuspicionLayer, octet: u8, id: &str) -> u16 {
    send(layer, of(signed_in(octet, id), 200))
        .await
        .status()
        .as_u16()
}

#[tokio::test]
async fn a_ban_of_a_user_is_learned_with_the_clients_in_one_question_and_holds_in_an_outage() {
    let (store, _, layer) = shared();
    store.state().bans.insert(user("ada").into(), MINUTE);
    assert_eq!(of_user(&layer, 1, "ada").await, 429);
    // From another address, without a question.
    assert_eq!(of_user(&layer, 2, "ada").await, 429);
    assert_eq!(store.state().checks, 1);
    for (octet, id) in [(1, "bob"), (2, "192.0.2.1")] {
        assert_eq!(of_user(&layer, octet, id).await, 200, "{id}");
    }
    assert_eq!(status(&layer, 1).await, 200);
    assert_eq!(store.state().checks, 4);
    // The store fails: what this process knows holds.
    store.state().fails = true;
    a_second_passes(&layer);
    assert_eq!(of_user(&layer, 3, "ada").await, 429);
    assert_eq!(of_user(&layer, 3, "bob").await, 200);
    // It is back, and knows of no ban: lifted elsewhere, or evicted.
    store.state().fails = false;
    store.state().bans.clear();
    a_second_passes(&layer);
    assert_eq!(of_user(&layer, 3, "ada").await, 200);
    store.state().fails = true;
    assert_eq!(of_user(&layer, 3, "ada").await, 200, "no copy is left");
}

#[tokio::test]
async fn a_user_convicted_during_an_outage_is_refused_by_this_process_to_the_end() {
    let (store, _, layer) = shared();
    store.state().fails = true;
    let counted = || layer.tally().failures(FailureResult::Counted);
    for n in 1..=10 {
        send(&layer, of(signed_in(1, "ada"), 404)).await;
        while counted() < n {
            tokio::task::yield_now().await;
        }
    }
    store.state().fails = false;
    a_second_passes(&layer);
    for octet in [1, 2] {
        assert_eq!(of_user(&layer, octet, "ada").await, 429);
    }
    assert_eq!(status(&layer, 1).await, 200);
    let bans = layer.suspicions().bans().await.unwrap();
    assert_eq!(bans[0].subject, user("ada").into());
    assert!(layer.suspicions().lift(user("ada")).await.unwrap());
    assert_eq!(of_user(&layer, 1, "ada").await, 200);
}
