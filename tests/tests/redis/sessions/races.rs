//! Commands at once, from threads of their own: what one of them decided, no other may overlook.

use std::sync::{Arc, Barrier};

use palisade::session::store::{Created, Creation, KeepSessions, OnMax, Once, Proved, Renewal};
use palisade::session::{Session, SessionId};
use tokio::runtime::Handle;

use super::{NO_EPOCH, claim, created, id, keeping, minutes, on_every_store, proof, user};

/// Runs each on a thread of its own, all from one moment on; what they gave, in their order.
fn at_once<T: Send>(count: u64, run: impl Fn(u64, &Handle) -> T + Sync) -> Vec<T> {
    let (start, handle) = (Barrier::new(count as usize), Handle::current());
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|n| {
                let (start, handle, run) = (&start, &handle, &run);
                scope.spawn(move || {
                    start.wait();
                    run(n, handle)
                })
            })
            .collect();
        let gave = threads.into_iter().map(|thread| thread.join().unwrap());
        gave.collect()
    })
}

async fn listed(kept: &Arc<dyn KeepSessions>, name: &str) -> Vec<Session> {
    kept.list(&user(name)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_creates_at_once_under_a_cap_of_three_leave_exactly_three() {
    for on_max in [OnMax::EvictOldest, OnMax::Deny] {
        on_every_store(async |name, store| {
            let kept = store.bind(&keeping(3, on_max));
            for round in 0..20 {
                let of = format!("user-{round}");
                let answers = at_once(50, |n, handle| {
                    let claim = claim(&of, round * 50 + n, n);
                    let new = Creation::new(claim, NO_EPOCH, minutes());
                    handle.block_on(async { kept.create(&new).await.unwrap() })
                });
                let (mut made, mut gone, mut denied) = (Vec::new(), Vec::new(), 0);
                for answer in answers {
                    match answer {
                        Created::New {
                            session, evicted, ..
                        } => {
                            made.push(session.id);
                            gone.extend(evicted.iter().map(|session| session.id));
                        }
                        Created::AtMax => denied += 1,
                        other => panic!("{name}: {other:?}"),
                    }
                }
                let left: Vec<_> = listed(&kept, &of).await;
                assert_eq!(left.len(), 3, "{name}, {on_max:?}, round {round}");
                let expected = if on_max == OnMax::Deny {
                    (3, 0, 47)
                } else {
                    (50, 47, 0)
                };
                assert_eq!(
                    (made.len(), gone.len(), denied),
                    expected,
                    "{name}, {on_max:?}"
                );
                let is_left = |id: &SessionId| left.iter().any(|session| session.id == *id);
                assert!(
                    made.iter().all(|id| is_left(id) != gone.contains(id)),
                    "{name}"
                );
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_and_an_end_all_at_once_leave_no_session_of_before() {
    on_every_store(async |name, store| {
        let kept = store.bind(&keeping(99, OnMax::Deny));
        let ada = user("ada");
        for round in 0..100 {
            let began = kept.begin(&ada).await.unwrap();
            let answers = at_once(4, |n, handle| {
                handle.block_on(async {
                    if n == 0 {
                        let ended = kept.end_all(&ada, None).await.unwrap();
                        return Err(ended);
                    }
                    let claim = claim("ada", round * 4 + n, n);
                    let new = Creation::new(claim, began, minutes());
                    Ok(kept.create(&new).await.unwrap())
                })
            });
            assert_eq!(listed(&kept, "ada").await, [], "{name}, round {round}");
            let (mut made, mut ended) = (Vec::new(), Vec::new());
            for answer in answers {
                match answer {
                    Err(sessions) => ended = super::ids(&sessions),
                    Ok(Created::New { session, .. }) => made.push(session.id),
                    Ok(other) => assert_eq!(other, Created::Overtaken, "{name}"),
                }
            }
            made.sort();
            assert_eq!(made, ended, "{name}, round {round}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_rotations_at_once_one_wins_and_the_old_secret_proves_nothing_after_it() {
    on_every_store(async |name, store| {
        let kept = store.bind(&keeping(9, OnMax::EvictOldest));
        for round in 0..100 {
            let new = Creation::new(claim("ada", round, 0), NO_EPOCH, minutes());
            created(kept.create(&new).await.unwrap());
            let old = claim("ada", round, 0);
            let won = at_once(4, |n, handle| {
                handle.block_on(async {
                    let renewal = Renewal::default();
                    let rotated = kept.rotate(&old, &proof(n + 1), &renewal).await.unwrap();
                    // Whoever won: it has happened by now.
                    let proved = kept.prove(&old, true).await.unwrap();
                    assert_eq!(proved, Proved::Rotated, "{name}, round {round}");
                    rotated.is_some()
                })
            });
            let winners: Vec<_> = (0..4_u64).filter(|n| won[*n as usize]).collect();
            assert_eq!(winners.len(), 1, "{name}, round {round}: {won:?}");
            let proved = kept
                .prove(&claim("ada", round, winners[0] + 1), true)
                .await
                .unwrap();
            assert!(matches!(proved, Proved::Lives(..)), "{name}, round {round}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeats_at_once_create_one_session() {
    on_every_store(async |name, store| {
        let kept = store.bind(&keeping(99, OnMax::Deny));
        for round in 0..50 {
            let answers = at_once(8, |n, handle| {
                let claim = claim("ada", round * 8 + n, n);
                let mut new = Creation::new(claim, NO_EPOCH, minutes());
                new.once = Some(Once([round as u8; 16]));
                handle.block_on(async { kept.create(&new).await.unwrap() })
            });
            let of = |answer: &Created| match answer {
                Created::New { session, .. } => (session.id, true),
                Created::Repeated(session) => (session.id, false),
                other => panic!("{name}: {other:?}"),
            };
            let answers: Vec<_> = answers.iter().map(of).collect();
            let made = answers.iter().filter(|(_, is_new)| *is_new).count();
            assert_eq!(made, 1, "{name}, round {round}");
            assert!(answers.iter().all(|(id, _)| *id == answers[0].0), "{name}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_ended_while_it_is_proved_is_gone() {
    on_every_store(async |name, store| {
        let kept = store.bind(&keeping(9, OnMax::EvictOldest));
        for round in 0..100 {
            let new = Creation::new(claim("ada", round, 0), NO_EPOCH, minutes());
            created(kept.create(&new).await.unwrap());
            let ended = at_once(4, |n, handle| {
                handle.block_on(async {
                    if n < 2 {
                        return kept.end(&user("ada"), id(round)).await.unwrap().is_some();
                    }
                    kept.prove(&claim("ada", round, 0), true).await.unwrap();
                    let renewal = Renewal::default();
                    kept.rotate(&claim("ada", round, 0), &proof(0), &renewal)
                        .await
                        .unwrap();
                    false
                })
            });
            let ends = ended.iter().filter(|ended| **ended).count();
            assert_eq!(ends, 1, "{name}, round {round}");
            let proved = kept.prove(&claim("ada", round, 0), true).await.unwrap();
            assert_eq!(proved, Proved::Gone, "{name}, round {round}");
        }
    })
    .await;
}
