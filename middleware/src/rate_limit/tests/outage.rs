//! A store that others share, and what happens while it fails.

use std::sync::atomic::AtomicBool;

use super::*;

/// A store that fails while its switch is on, and otherwise is a memory store that others share.
#[derive(Clone)]
struct Shaky {
    store: MemoryStore,
    fails: Arc<AtomicBool>,
    /// Whether it is known to fail, as by an open breaker.
    is_open: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
}

impl Shaky {
    fn new(store: MemoryStore) -> Self {
        Self {
            store,
            fails: Arc::default(),
            is_open: Arc::default(),
            asked: Arc::default(),
        }
    }

    fn fail(&self, fails: bool) {
        self.fails.store(fails, Ordering::Relaxed);
        self.is_open.store(fails, Ordering::Relaxed);
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Store for Shaky {
    fn bind(&self, policies: &[Logs]) -> Arc<dyn Admit> {
        Arc::new(BoundShaky {
            bound: self.store.bind_local(policies),
            shaky: self.clone(),
        })
    }
}

struct BoundShaky {
    bound: Arc<dyn AdmitNow>,
    shaky: Shaky,
}

impl Admit for BoundShaky {
    fn is_failing(&self) -> bool {
        self.shaky.is_open.load(Ordering::Relaxed)
    }

    fn admit(&self, charges: &[Charge<'_>]) -> Reply<Verdict> {
        self.shaky.asked.fetch_add(1, Ordering::Relaxed);
        let result = if self.shaky.fails.load(Ordering::Relaxed) {
            Err(StoreError::new(StoreErrorKind::Failed))
        } else {
            Ok(self.bound.admit_now(charges))
        };
        // Later, as a server's answer comes.
        Reply::pending(async {
            tokio::task::yield_now().await;
            result
        })
    }
}

#[tokio::test]
async fn a_known_denial_does_not_reach_a_shared_store() {
    let (_, memory) = hand_store();
    let shaky = Shaky::new(memory);
    let layer = RateLimitLayer::shared(shaky.clone(), MemoryStore::new())
        .policy(Policy::ip().quota(quota("2/1m")))
        .build()
        .unwrap();
    let mut service = layer.layer(tower::service_fn(echo));
    for expected in [200, 200, 429, 429, 429] {
        let response = send(&mut service, request(1, None)).await;
        assert_eq!(response.status(), expected);
        if expected == 429 {
            assert_eq!(response.headers()["ratelimit"], r#""ip";r=0;t=60"#);
            assert_eq!(response.headers()["retry-after"], "60");
        }
    }
    assert_eq!(shaky.asked(), 3);
    assert_eq!(layer.tally().policies().next().unwrap().1.denied, 3);
}

#[tokio::test]
async fn an_open_policy_refuses_nobody_for_what_it_remembers_from_the_first_failed_call_on() {
    let (_, memory) = hand_store();
    let shaky = Shaky::new(memory);
    let layer = RateLimitLayer::shared(shaky.clone(), MemoryStore::new())
        .policy(
            Policy::ip()
                .quota(quota("1/1m"))
                .on_store_failure(OnStoreFailure::Open),
        )
        .build()
        .unwrap();
    let mut service = layer.layer(tower::service_fn(echo));
    let mut statuses = async |client, expected: &[u16]| {
        for status in expected {
            let response = send(&mut service, request(client, None)).await;
            assert_eq!(response.status(), *status, "of {client}");
        }
    };
    statuses(1, &[200, 429, 429]).await;
    // Calls fail, and the breaker is closed yet.
    shaky.fails.store(true, Ordering::Relaxed);
    statuses(2, &[200]).await;
    statuses(1, &[200, 200]).await;
    // The next call that succeeds has the remembered denial hold again.
    shaky.fails.store(false, Ordering::Relaxed);
    let asked = shaky.asked();
    statuses(1, &[429, 429, 429]).await;
    assert_eq!(shaky.asked(), asked + 1);
}

async fn statuses_in_an_outage(
    policies: Vec<Policy>,
    requests: usize,
) -> (Vec<u16>, Vec<PolicyCounts>) {
    let (_, memory) = hand_store();
    let shaky = Shaky::new(memory);
    shaky.fail(true);
    let builder = RateLimitLayer::shared(shaky, MemoryStore::new());
    let layer = policies
        .into_iter()
        .fold(builder, RateLimitLayerBuilder::policy)
        .build()
        .unwrap();
    let mut service = layer.layer(tower::service_fn(echo));
    let mut statuses = Vec::new();
    for _ in 0..requests {
        statuses.push(send(&mut service, request(1, None)).await.status().as_u16());
    }
    (
        statuses,
        layer.tally().policies().map(|(_, counts)| counts).collect(),
    )
}

#[tokio::test]
async fn in_an_outage_a_local_policy_keeps_limiting_in_this_process() {
    let (statuses, counts) =
        statuses_in_an_outage(vec![Policy::ip().quota(quota("2/1m"))], 4).await;
    assert_eq!(statuses, [200, 200, 429, 429]);
    assert_eq!(
        (
            counts[0].fallback_admitted,
            counts[0].fallback_denied,
            counts[0].exceeded
        ),
        (2, 2, 2)
    );
}

#[tokio::test]
async fn in_an_outage_an_open_policy_lets_pass_and_a_closed_one_answers_503() {
    let open = || {
        Policy::ip()
            .quota(quota("1/1m"))
            .on_store_failure(OnStoreFailure::Open)
    };
    let (statuses, counts) = statuses_in_an_outage(vec![open()], 3).await;
    assert_eq!((statuses, counts[0].fallback_admitted), (vec![200; 3], 3));

    let closed =
        Policy::new("pay", PartitionBy::Ip, quota("9/1m")).on_store_failure(OnStoreFailure::Closed);
    let (statuses, counts) = statuses_in_an_outage(vec![open(), closed.clone()], 2).await;
    assert_eq!(
        (statuses, counts[1].fallback_denied, counts[1].exceeded),
        (vec![503; 2], 2, 0)
    );
    assert_eq!(counts[0].fallback_admitted, 0);

    let (statuses, counts) = statuses_in_an_outage(vec![closed.dry_run()], 2).await;
    assert_eq!((statuses, counts[0].dry_run_denied), (vec![200; 2], 2));
}

#[tokio::test]
async fn a_remembered_denial_stands_in_an_outage_only_where_the_policy_is_local() {
    for (mode, expected) in [
        (OnStoreFailure::Local, 429),
        (OnStoreFailure::Open, 200),
        (OnStoreFailure::Closed, 503),
    ] {
        let (_, memory) = hand_store();
        let shaky = Shaky::new(memory);
        let layer = RateLimitLayer::shared(shaky.clone(), MemoryStore::new())
            .policy(Policy::ip().quota(quota("1/24h")).on_store_failure(mode))
            .build()
            .unwrap();
        let mut service = layer.layer(tower::service_fn(echo));
        for expected in [200, 429, 429] {
            assert_eq!(
                send(&mut service, request(1, None)).await.status(),
                expected
            );
        }
        shaky.fail(true);
        let response = send(&mut service, request(1, None)).await;
        assert_eq!(response.status(), expected, "{mode:?}");
        shaky.fail(false);
        assert_eq!(send(&mut service, request(1, None)).await.status(), 429);
    }
}

#[tokio::test]
async fn a_remembered_denial_says_what_the_store_said_of_a_cost_above_1() {
    let (hand, memory) = hand_store();
    let layer = RateLimitLayer::shared(Shaky::new(memory), MemoryStore::new())
        .policy(Policy::ip().quota(quota("10/1m")).cost(5))
        .build()
        .unwrap();
    let mut service = layer.layer(tower::service_fn(echo));
    send(&mut service, request(1, None)).await;
    hand.advance(Duration::from_secs(50));
    send(&mut service, request(1, None)).await;
    let asked = send(&mut service, request(1, None)).await;
    let remembered = send(&mut service, request(1, None)).await;
    assert_eq!(asked.status(), 429);
    assert_eq!(asked.headers()["ratelimit"], r#""ip";r=0;t=10"#);
    assert_eq!(
        remembered.headers()["ratelimit"],
        asked.headers()["ratelimit"]
    );
    assert_eq!(
        remembered.headers()["retry-after"],
        asked.headers()["retry-after"]
    );
}

#[tokio::test]
async fn a_dry_run_counts_the_same_on_both_kinds_of_store() {
    let policies = || {
        [
            Policy::ip().quota(quota("2/1m")),
            Policy::new("strict", PartitionBy::Ip, quota("1/1m")).dry_run(),
        ]
    };
    let embedded = RateLimitLayer::embedded(MemoryStore::new());
    let shared = RateLimitLayer::shared(Shaky::new(MemoryStore::new()), MemoryStore::new());
    for builder in [embedded, shared] {
        let layer = policies()
            .into_iter()
            .fold(builder, RateLimitLayerBuilder::policy)
            .build()
            .unwrap();
        let mut service = layer.layer(tower::service_fn(echo));
        for _ in 0..50 {
            send(&mut service, request(1, None)).await;
        }
        let counts: Vec<_> = layer.tally().policies().map(|(_, counts)| counts).collect();
        assert_eq!((counts[0].admitted, counts[0].denied), (2, 48));
        assert_eq!((counts[1].admitted, counts[1].dry_run_denied), (1, 1));
    }
}

#[tokio::test]
async fn a_503_names_the_policy_that_cannot_be_checked() {
    let (_, memory) = hand_store();
    let shaky = Shaky::new(memory);
    shaky.fail(true);
    let layer = RateLimitLayer::shared(shaky, MemoryStore::new())
        .policy(Policy::ip().on_store_failure(OnStoreFailure::Closed))
        .build()
        .unwrap();
    let response = send(&mut layer.layer(tower::service_fn(echo)), request(1, None)).await;
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(response.headers()["ratelimit-policy"], r#""ip";q=200;w=60"#);
    assert!(!response.headers().contains_key("ratelimit"));
    let body: serde_json::Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(
        body["type"],
        "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
    );
    assert_eq!(
        (&body["status"], &body["violated-policies"]),
        (&503.into(), &serde_json::json!(["ip"]))
    );
}

#[tokio::test]
async fn an_outage_and_its_end_add_at_most_one_quota_to_a_window() {
    let (_, memory) = hand_store();
    let shaky = Shaky::new(memory);
    let layer = RateLimitLayer::shared(shaky.clone(), MemoryStore::new())
        // Without it the shared log's denial would stand through the next outage, and admit less still.
        .deny_cache(0)
        .policy(Policy::ip().quota(quota("5/1m")))
        .build()
        .unwrap();
    let mut service = layer.layer(tower::service_fn(echo));
    let mut admitted = 0;
    for round in 0..60 {
        // The store comes and goes twenty times within one window.
        shaky.fail(round / 3 % 2 == 1);
        admitted += u32::from(send(&mut service, request(1, None)).await.status() == 200);
    }
    assert_eq!(admitted, 10);
}
