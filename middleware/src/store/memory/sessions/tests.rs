use super::*;
use crate::session::Lifetime;
use crate::session::store::{OnMax, Once};
use crate::store::memory::Hand;

const SECOND: Micros = 1_000_000;
const DAY: Micros = 86_400 * SECOND;

fn user(n: u64) -> UserId {
    UserId::kept(&format!("user-{n}")).unwrap()
}

fn id(n: u64) -> SessionId {
    SessionId::of((u128::from(n) << 64 | 1).to_be_bytes())
}

/// Idles out after a minute.
fn new(of: u64, n: u64, began: Began) -> Creation {
    let claim = Claim {
        user: user(of),
        id: id(n),
        proof: Proof::of(&[1; 32]),
    };
    let lifetime = Lifetime {
        idle: Duration::from_secs(60),
        absolute: Duration::from_secs(3_600),
    };
    Creation::new(claim, began, lifetime)
}

fn now<T>(reply: Reply<T>) -> T {
    match reply {
        Reply::Ready(answer) => answer.unwrap(),
        Reply::Pending(_) => panic!("memory answers at once"),
    }
}

struct Test {
    hand: Hand,
    store: MemoryStore,
    kept: Arc<dyn KeepSessions>,
}

impl Test {
    fn new(max_keys: usize, max_per_user: u16, on_max: OnMax) -> Self {
        let hand = Hand::default();
        hand.set(40 * DAY);
        let builder = MemoryStore::builder().clock(hand.clone());
        let store = builder.max_keys(max_keys).build().unwrap();
        let mut keeping = Keeping::new();
        keeping.max_per_user = max_per_user;
        keeping.on_max = on_max;
        let kept = store.keep_sessions(&keeping);
        Self { hand, store, kept }
    }

    fn create(&self, of: u64, n: u64, began: Began) -> Created {
        now(self.kept.create(&new(of, n, began)))
    }

    fn login(&self, of: u64, n: u64) -> bool {
        let began = now(self.kept.begin(&user(of)));
        matches!(self.create(of, n, began), Created::New { .. })
    }

    fn lives(&self, of: u64, n: u64) -> bool {
        let claim = Claim {
            user: user(of),
            id: id(n),
            proof: Proof::of(&[1; 32]),
        };
        matches!(now(self.kept.prove(&claim, false)), Proved::Lives(..))
    }

    fn check(&self) {
        for room in &self.store.0.sessions.rooms {
            lock(room).check();
        }
    }
}

#[test]
fn a_full_store_refuses_and_lets_go_of_nobody_who_lives() {
    let test = Test::new(100, 3, OnMax::EvictOldest);
    for n in 0..100 {
        assert!(test.login(n / 2, n));
    }
    let began = now(test.kept.begin(&user(200)));
    assert_eq!(test.create(200, 200, began), Created::Full);
    let of_known = now(test.kept.begin(&user(0)));
    assert_eq!(test.create(0, 201, of_known), Created::Full);
    assert!((0..100).all(|n| test.lives(n / 2, n)));
    // Whoever has as many as may live takes the place of one's own.
    let test = Test::new(3, 3, OnMax::EvictOldest);
    assert!((0..9).all(|n| test.login(0, n)));
    assert_eq!(test.create(1, 9, Began::Epoch(None)), Created::Full);
    assert!((6..9).all(|n| test.lives(0, n)));
    test.check();
}

#[test]
fn sessions_that_ended_make_room_whosever_they_are() {
    let test = Test::new(100, 3, OnMax::Deny);
    for n in 0..100 {
        assert!(test.login(n, n));
    }
    assert!(!test.login(100, 100));
    now(test.kept.end(&user(50), id(50)));
    assert!(test.login(100, 100));
    assert!(!test.login(101, 101));
    // All idle out, and nobody asks for them again.
    test.hand.advance(Duration::from_secs(60));
    assert!((101..201).all(|n| test.login(n, n)));
    assert!(!test.login(201, 201));
    assert_eq!(now(test.kept.active()), 100);
    assert_eq!(test.store.0.sessions.len(), 100);
    test.check();
}

#[test]
fn those_that_idled_out_are_let_go_as_others_come() {
    let test = Test::new(10_000, 3, OnMax::Deny);
    assert!((0..1_000).all(|n| test.login(n, n)));
    test.hand.advance(Duration::from_secs(60));
    assert!((1_000..1_500).all(|n| test.login(n, n)));
    let rooms = &test.store.0.sessions.rooms;
    let held: u32 = rooms.iter().map(|room| lock(room).held()).sum();
    assert!(held < 700, "{held} are held, of which 500 live");
    test.check();
}

#[test]
fn users_of_whom_nothing_counts_any_more_are_let_go() {
    let test = Test::new(1_000, 3, OnMax::Deny);
    assert!((0..100).all(|n| test.login(n, n)));
    now(test.kept.end_all(&user(0), None));
    test.hand.advance(Duration::from_micros(29 * DAY));
    assert!((100..200).all(|n| test.login(n, n)));
    assert_eq!(test.store.0.sessions.len(), 200);
    assert_eq!(test.create(0, 200, Began::Epoch(None)), Created::Overtaken);
    test.hand.advance(Duration::from_micros(2 * DAY));
    assert!((200..300).all(|n| test.login(n, n)));
    assert_eq!(test.store.0.sessions.len(), 200);
    assert_eq!(test.store.evicted_live(), 0);
}

#[test]
fn an_end_all_counts_on_when_its_user_gives_way_to_another() {
    for began_before in [true, false] {
        let test = Test::new(2, 3, OnMax::Deny);
        if began_before {
            assert!(test.login(1, 1));
        }
        let epoch = now(test.kept.begin(&user(1)));
        let stranger = now(test.kept.begin(&user(9)));
        now(test.kept.end_all(&user(1), None));
        let moment = test.hand.wall();
        test.hand.advance(Duration::from_micros(1));
        let after = now(test.kept.begin(&user(1)));
        // Two others take the places of all who have no session.
        assert!(test.login(2, 2) && test.login(3, 3));
        assert!(test.store.evicted_live() > 0);
        now(test.kept.end(&user(2), id(2)));
        for began in [epoch, after, Began::At(moment)] {
            assert_eq!(test.create(1, 4, began), Created::Overtaken, "{began:?}");
        }
        // So is a login of anybody who is not held, that was under way.
        assert_eq!(test.create(9, 5, stranger), Created::Overtaken);
        // Whoever begins again gets in, and after that the old logins are overtaken still.
        assert!(test.login(1, 6));
        for began in [epoch, after, Began::At(moment)] {
            assert_eq!(test.create(1, 7, began), Created::Overtaken, "{began:?}");
        }
        let later = Began::At(moment + Duration::from_micros(1));
        assert!(matches!(test.create(1, 8, later), Created::Full));
        test.check();
    }
}

#[test]
fn an_end_all_counts_also_where_nobody_can_give_way_for_its_user() {
    let test = Test::new(1, 3, OnMax::Deny);
    let began = now(test.kept.begin(&user(1)));
    assert!(test.login(2, 2));
    now(test.kept.end_all(&user(1), None));
    assert!(test.lives(2, 2));
    now(test.kept.end(&user(2), id(2)));
    assert_eq!(test.create(1, 1, began), Created::Overtaken);
    assert!(test.login(1, 1));
}

#[test]
fn a_users_keys_of_idempotent_creates_are_bounded() {
    let test = Test::new(10, 1, OnMax::EvictOldest);
    let with = |key: u64, n| {
        let mut new = new(1, n, Began::Epoch(None));
        new.once = Some(Once((u128::from(key)).to_be_bytes()));
        now(test.kept.create(&new))
    };
    for n in 0..=1_000 {
        assert!(matches!(with(n, n), Created::New { .. }));
    }
    assert!(matches!(with(1_000, 2_000), Created::Repeated(_)));
    assert_eq!(with(1, 2_000), Created::Ended);
    assert!(
        matches!(with(0, 2_000), Created::New { .. }),
        "the oldest is forgotten"
    );
}

#[test]
fn a_create_that_comes_twice_makes_one_session() {
    let test = Test::new(10, 1, OnMax::EvictOldest);
    let Created::New { session, .. } = test.create(1, 1, Began::Epoch(None)) else {
        panic!("not created");
    };
    let again = test.create(1, 1, Began::Epoch(None));
    assert_eq!(again, Created::Repeated(session));
    assert!(test.lives(1, 1));
}

/// What a room knows beside the sessions is what the sessions say, after whatever happened.
#[test]
fn the_indices_agree_with_the_sessions() {
    let mut state = 7_u64;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    };
    let test = Test::new(40, 4, OnMax::EvictOldest);
    for n in 0..20_000 {
        let of = random(12);
        let claim = Claim {
            user: user(of),
            id: id(n - random(60).min(n)),
            proof: Proof::of(&[1; 32]),
        };
        match random(20) {
            0..9 => {
                let mut new = new(of, n, now(test.kept.begin(&user(of))));
                new.lifetime.idle = Duration::from_secs(1 + random(60));
                new.lifetime.absolute = Duration::from_secs(60 + random(20_000));
                new.origin = (random(3) > 0).then(|| Origin([random(3) as u8; 16]));
                drop(now(test.kept.create(&new)));
            }
            9..12 => drop(now(test.kept.prove(&claim, true))),
            12 => drop(now(test.kept.end(&claim.user, claim.id))),
            13 => drop(now(test.kept.end_all(&claim.user, Some(claim.id)))),
            14 => drop(now(test.kept.list(&claim.user))),
            15 => drop(now(test.kept.active())),
            16 => drop(now(test.kept.created_from(Origin([1; 16]), Origin::KEPT))),
            17 => test.hand.advance(Duration::from_secs(random(7_200))),
            18 if random(20) == 0 => {
                let stepped = test.hand.now() - Duration::from_secs(random(90_000));
                test.hand.set(micros(stepped));
            }
            _ => test.hand.advance(Duration::from_secs(random(20))),
        }
        test.check();
    }
}
