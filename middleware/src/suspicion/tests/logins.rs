//! The kinds of logins, on memory with the clock in the test's hands.

use super::*;

const LOGINS: [IncidentKind; 3] = [
    IncidentKind::PasswordSpraying,
    IncidentKind::DistributedStuffing,
    IncidentKind::SuccessAfterFailures,
];

/// All kinds of logins at their defaults, and no other kind unless it is wanted.
fn builder(store: &MemoryStore, others: &[IncidentKind]) -> SuspicionLayerBuilder {
    let builder = SuspicionLayer::embedded(store.clone()).secret(Secret::from_bytes(b"test"));
    let off = IncidentKind::BY_STATUS
        .into_iter()
        .filter(|kind| !others.contains(kind));
    let builder = off.fold(builder, SuspicionLayerBuilder::without);
    LOGINS.into_iter().fold(builder, |builder, kind| {
        builder.threshold(kind, kind.default_threshold())
    })
}

impl Watched {
    /// A login from a network, whose response has this status; its incidents are known afterwards.
    async fn login(&mut self, octet: u8, status: u16, login: Login) {
        let service = self.layer.layer(tower::service_fn(move |request| {
            let login = login.clone();
            async move {
                let mut response = answer(request).await?;
                response.extensions_mut().insert(login);
                Ok::<_, Infallible>(response)
            }
        }));
        service.oneshot(request(octet, status, None)).await.unwrap();
        self.sent += 1;
        self.settled(self.sent).await;
    }

    fn of_logins(&self) -> [u64; 3] {
        let tally = self.layer.tally();
        LOGINS.map(|kind| tally.incidents(kind))
    }
}

fn account(n: usize) -> String {
    format!("user-{n}@example.org")
}

#[tokio::test]
async fn password_spraying_fires_once_at_the_fifth_distinct_account_of_a_network() {
    let (_, store) = hand_store();
    let mut watched = Watched::new(builder(&store, &[]));
    for _ in 0..10 {
        watched.login(1, 401, Login::failed("ada")).await;
        watched.login(1, 401, Login::failed(" ADA")).await;
    }
    assert_eq!(watched.of_logins(), [0; 3], "one account, however often");
    for n in 1..4 {
        watched.login(1, 401, Login::failed(&account(n))).await;
        watched.login(2, 401, Login::failed(&account(n))).await;
    }
    assert_eq!(watched.of_logins(), [0; 3]);
    watched.login(1, 401, Login::failed(&account(4))).await;
    assert_eq!(watched.of_logins(), [1, 0, 0]);
    for n in 5..200 {
        watched.login(1, 401, Login::failed(&account(n))).await;
    }
    assert_eq!(watched.of_logins(), [1, 0, 0]);
}

#[tokio::test]
async fn distributed_stuffing_fires_once_at_the_fourth_network_of_an_account() {
    let (_, store) = hand_store();
    let mut watched = Watched::new(builder(&store, &[]));
    let suspicions = watched.layer.suspicions();
    for octet in [1, 2, 3, 3, 2, 1] {
        watched.login(octet, 401, Login::failed("ada")).await;
        watched.login(octet, 401, Login::failed("bob")).await;
    }
    assert_eq!(watched.of_logins(), [0; 3]);
    let state = suspicions.account("ada").await;
    assert_eq!((state.under_attack, state.networks), (false, 3));
    // Whatever the status: some sites answer a failed login with a page.
    watched.login(4, 200, Login::failed("Ada")).await;
    assert_eq!(watched.of_logins(), [0, 1, 0]);
    let state = suspicions.account("ADA ").await;
    assert_eq!(
        (state.under_attack, state.networks, state.estimated),
        (true, 4, false)
    );
    assert!(!suspicions.account("bob").await.under_attack);
    assert_eq!(suspicions.account("nobody").await, AccountState::default());
}

#[tokio::test]
async fn an_attack_on_an_account_ends_when_fewer_than_half_the_threshold_are_left() {
    let (hand, store) = hand_store();
    let mut watched = Watched::new(builder(&store, &[]));
    let suspicions = watched.layer.suspicions();
    for octet in 1..=4 {
        watched.login(octet, 401, Login::failed("ada")).await;
        hand.advance(Duration::from_secs(600));
    }
    // At 0, 10, 20 and 30 minutes; two are left until 80 minutes have passed.
    hand.set(80 * 60_000_000 - 1);
    let state = suspicions.account("ada").await;
    assert_eq!((state.under_attack, state.networks), (true, 4));
    assert_eq!(state.lasting, Duration::from_micros(80 * 60_000_000 - 1));
    hand.set(80 * 60_000_000);
    let state = suspicions.account("ada").await;
    assert_eq!((state.under_attack, state.networks), (false, 1));
    assert_eq!(state.lasting, Duration::ZERO);
}

#[tokio::test]
async fn a_success_is_an_incident_when_the_account_is_under_attack_and_once_a_window() {
    let (hand, store) = hand_store();
    let mut watched = Watched::new(builder(&store, &[]));
    for octet in 1..=4 {
        watched.login(octet, 401, Login::failed("ada")).await;
    }
    watched.login(9, 200, Login::succeeded("bob")).await;
    assert_eq!(watched.of_logins(), [0, 1, 0], "another account");
    for _ in 0..3 {
        watched.login(9, 200, Login::succeeded("ada")).await;
        assert_eq!(watched.of_logins(), [0, 1, 1]);
    }
    // The attack goes on, and a window later so does the reporting.
    for octet in 1..=4 {
        hand.advance(Duration::from_secs(899));
        watched.login(octet, 401, Login::failed("ada")).await;
        watched.login(8, 200, Login::succeeded("ada")).await;
    }
    assert_eq!(watched.of_logins(), [0, 1, 1]);
    hand.advance(Duration::from_secs(4));
    watched.login(8, 200, Login::succeeded("ada")).await;
    assert_eq!(watched.of_logins(), [0, 1, 2]);
}

#[tokio::test]
async fn a_success_is_an_incident_when_its_network_is_in_an_episode_of_its_own() {
    for kind in [
        IncidentKind::CredentialStuffing,
        IncidentKind::CredentialStuffingSlow,
        IncidentKind::PasswordSpraying,
    ] {
        let (hand, store) = hand_store();
        // No kind but this one, so that it alone makes the network suspicious.
        let builder = builder(&store, &[kind]).without(IncidentKind::PasswordSpraying);
        let threshold = kind.default_threshold();
        let mut watched = Watched::new(builder.threshold(kind, threshold));
        for n in 1..threshold.count() as usize {
            watched.login(1, 401, Login::failed(&account(n))).await;
        }
        watched.login(1, 200, Login::succeeded("ada")).await;
        assert_eq!(watched.of_logins()[2], 0, "{kind}, one failure short");
        watched.login(1, 401, Login::failed("ada")).await;
        for (octet, name, expected) in [(2, "bob", 0), (1, "bob", 1), (1, "bob", 1), (1, "eve", 2)]
        {
            watched.login(octet, 200, Login::succeeded(name)).await;
            assert_eq!(watched.of_logins()[2], expected, "{kind} {octet} {name}");
        }
        // An episode that has ended suspects nobody.
        hand.advance(threshold.window());
        watched.login(1, 200, Login::succeeded("joe")).await;
        assert_eq!(watched.of_logins()[2], 2, "{kind}");
    }
}

#[tokio::test]
async fn nothing_is_written_for_a_login_that_no_kind_counts() {
    let (_, store) = hand_store();
    let only = |kind: IncidentKind| {
        let builder = LOGINS
            .into_iter()
            .fold(builder(&store, &[]), SuspicionLayerBuilder::without);
        Watched::new(builder.threshold(kind, kind.default_threshold()))
    };
    for (kind, login) in [
        (IncidentKind::PasswordSpraying, Login::succeeded("ada")),
        (IncidentKind::DistributedStuffing, Login::succeeded("ada")),
        (IncidentKind::SuccessAfterFailures, Login::failed("ada")),
    ] {
        let watched = only(kind);
        let service = watched.layer.layer(tower::service_fn(move |request| {
            let login = login.clone();
            async move {
                let mut response = answer(request).await?;
                response.extensions_mut().insert(login);
                Ok::<_, Infallible>(response)
            }
        }));
        service.oneshot(request(1, 200, None)).await.unwrap();
        let mut watched = watched;
        // Whatever was noted before this one is counted with it.
        let told = match kind {
            IncidentKind::SuccessAfterFailures => Login::succeeded("bob"),
            _ => Login::failed("bob"),
        };
        watched.login(2, 200, told).await;
    }
    // One key for each login that counted; a success of nobody suspicious has none.
    assert_eq!(store.keys(), 2);
}

#[tokio::test]
async fn a_login_that_the_limits_refused_never_counts() {
    let (_, store) = hand_store();
    let limit = RateLimitLayer::embedded(store.clone())
        .policy(Policy::ip().quota("1/1m".parse().unwrap()))
        .reject_with(|_| {
            let mut response = Response::new(Bytes::new());
            response.extensions_mut().insert(Login::failed("ada"));
            response
        })
        .build()
        .unwrap();
    let layer = builder(&store, &[]).build().unwrap();
    let service = layer.layer(limit.layer(tower::service_fn(|_: Request<()>| {
        ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())))
    })));
    for octet in 1..=50 {
        for _ in 0..2 {
            let service = service.clone();
            service.oneshot(request(octet, 200, None)).await.unwrap();
        }
    }
    let mut watched = Watched { layer, sent: 0 };
    watched.login(1, 401, Login::failed("bob")).await;
    assert_eq!(watched.of_logins(), [0; 3]);
    let account = watched.layer.suspicions();
    assert_eq!(account.account("ada").await.networks, 0);
}

#[tokio::test]
async fn beyond_what_is_kept_the_number_is_an_estimate_that_says_so() {
    let (hand, store) = hand_store();
    let mut watched = Watched::new(builder(&store, &[]));
    let suspicions = watched.layer.suspicions();
    for octet in 1..=64 {
        watched.login(octet, 401, Login::failed("ada")).await;
        hand.advance(Duration::from_secs(1));
    }
    let state = suspicions.account("ada").await;
    assert_eq!((state.networks, state.estimated), (64, false));
    for octet in 65..=255 {
        watched.login(octet, 401, Login::failed("ada")).await;
    }
    let state = suspicions.account("ada").await;
    assert!(state.under_attack && state.estimated);
    // Five standard errors.
    assert!(state.networks.abs_diff(255) <= 21, "{state:?}");
}

#[tokio::test]
async fn while_the_store_fails_this_process_knows_its_accounts() {
    let failing = Broken::default();
    failing.fails.store(true, Ordering::Relaxed);
    let builder = SuspicionLayer::shared(failing, MemoryStore::new())
        .threshold(IncidentKind::DistributedStuffing, "2/1h".parse().unwrap());
    let mut watched = Watched::new(builder);
    for octet in 1..=2 {
        watched.login(octet, 401, Login::failed("ada")).await;
    }
    let state = watched.layer.suspicions().account("ada").await;
    assert!(state.under_attack);
}

#[tokio::test]
async fn without_the_kinds_of_logins_no_login_counts_and_no_account_is_under_attack() {
    let (_, store) = hand_store();
    let mut watched = Watched::new(SuspicionLayer::embedded(store.clone()));
    for octet in 1..=10 {
        watched.login(octet, 401, Login::failed("ada")).await;
    }
    assert_eq!(watched.of_logins(), [0; 3]);
    let suspicions = watched.layer.suspicions();
    assert_eq!(suspicions.account("ada").await, AccountState::default());
    assert_eq!(store.keys(), 30, "the three kinds of a 401 alone");
}

#[test]
fn thresholds_beyond_what_is_kept_are_refused_by_name() {
    for (kind, threshold, fits) in [
        (IncidentKind::PasswordSpraying, "64/5m", true),
        (IncidentKind::PasswordSpraying, "65/5m", false),
        (IncidentKind::DistributedStuffing, "65/5m", false),
        (IncidentKind::SuccessAfterFailures, "1/24h", true),
        (IncidentKind::SuccessAfterFailures, "2/1h", false),
        (IncidentKind::Abuse, "1000/5m", true),
    ] {
        let builder = SuspicionLayer::embedded(MemoryStore::new());
        let built = builder.threshold(kind, threshold.parse().unwrap()).build();
        match built {
            Ok(_) => assert!(fits, "{kind} {threshold}"),
            Err(error) => assert!(!fits && error.key() == kind.as_str(), "{error}"),
        }
    }
}

#[tokio::test]
async fn who_sprays_is_banned_and_nobody_for_what_an_account_met() {
    let (_, store) = hand_store();
    // Even where these kinds are asked for by name.
    let bans = Bans::embedded(store.clone()).kinds(LOGINS);
    let mut watched = Watched::new(builder(&store, &[]).bans(bans));
    for octet in 1..=4 {
        watched.login(octet, 401, Login::failed("ada")).await;
    }
    watched.login(9, 200, Login::succeeded("ada")).await;
    assert_eq!(watched.of_logins(), [0, 1, 1]);
    for n in 0..5 {
        watched.login(7, 401, Login::failed(&account(n))).await;
    }
    assert_eq!(watched.of_logins(), [1, 1, 1]);
    let bans = watched.layer.suspicions().bans().await.unwrap();
    let banned: Vec<_> = bans
        .iter()
        .map(|ban| (ban.subject.network(), ban.reason))
        .collect();
    let sprayer = crate::model::Network::of([192, 0, 2, 7].into(), 64);
    let spraying = BanReason::Incident(IncidentKind::PasswordSpraying);
    assert_eq!(banned, [(Some(sprayer), spraying)]);
    let tally = watched.layer.tally();
    assert_eq!(tally.bans(spraying), 1);
    for octet in [4, 9] {
        let response = watched.ask(request(octet, 200, None)).await;
        assert_eq!(response.status(), 200, "{octet}");
    }
    assert_eq!(watched.ask(request(7, 200, None)).await.status(), 429);
}
