//! What observers are told of each request that a stack decides about, on both stores.

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use http::request::Parts;
use http::{Request, Response};
use palisade::client::{Network, Peer};
use palisade::config::Config;
use palisade::funnel::{Reached, Stage};
use palisade::observe::{Class, Exchange, PolicyResult};
use palisade::segment::Segment;
use palisade::stack::Stack;
use palisade::telemetry::Telemetry;
use palisade_tests::metrics::Scrape;
use palisade_tests::redis::RedisServer;
use palisade_tests::time::until;
use tower::{Layer, ServiceExt, service_fn};

/// Of one exchange: result, policies, status, segment, class.
type Told = (
    PolicyResult,
    Vec<String>,
    Option<u16>,
    Option<Segment>,
    Class,
);

struct Service {
    stack: Stack,
    told: Arc<Mutex<Vec<Told>>>,
}

impl Service {
    /// On memory, or with a server on Redis.
    fn on(server: Option<&RedisServer>, config: &str) -> Self {
        let store = server.map_or(String::new(), |server| {
            format!(
                "[store]\ndeadline = '10s'\nredis_url = '{}'\n",
                server.url()
            )
        });
        let told = Arc::<Mutex<Vec<Told>>>::default();
        let kept = Arc::clone(&told);
        let stack = Stack::builder()
            .config(Config::from_toml(&format!("{store}{config}")).unwrap())
            .user(|request: &Parts| Some(request.headers.get("user")?.to_str().ok()?.to_owned()))
            .observe(move |exchange: &Exchange<'_>| {
                let policies = exchange.policies.iter().map(ToString::to_string).collect();
                let status = exchange.status.map(|status| status.as_u16());
                let told = (
                    exchange.result,
                    policies,
                    status,
                    exchange.segment,
                    exchange.class(),
                );
                kept.lock().unwrap().push(told);
            })
            .build()
            .unwrap();
        Self { stack, told }
    }

    fn request(user: Option<&str>) -> Request<()> {
        let mut request = Request::new(());
        let peer = Peer(([192, 0, 2, 1], 5000).into());
        request.extensions_mut().insert(peer);
        if let Some(user) = user {
            request.headers_mut().insert("user", user.parse().unwrap());
        }
        request
    }

    /// What was told of a request, alone.
    async fn send(&self, user: Option<&str>) -> Told {
        let handler =
            service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(String::new())));
        let service = self.stack.layer(handler);
        service.oneshot(Self::request(user)).await.unwrap();
        let mut told = self.told.lock().unwrap();
        assert_eq!(told.len(), 1, "{told:?}");
        told.remove(0)
    }

    /// The results of so many requests.
    async fn results(&self, requests: usize) -> Vec<PolicyResult> {
        let mut results = Vec::new();
        for _ in 0..requests {
            results.push(self.send(None).await.0);
        }
        results
    }
}

/// On memory, and on Redis.
async fn on_both(config: &str, holds: impl AsyncFn(Service)) {
    holds(Service::on(None, config)).await;
    let server = RedisServer::start();
    holds(Service::on(Some(&server), config)).await;
}

const IP: &str = "[rate_limit]\nip = '2/1h'\n";

#[tokio::test]
async fn an_admission_and_a_denial_are_told_with_the_policies() {
    on_both(IP, async |service| {
        let admitted = (PolicyResult::Admitted, vec![], Some(200), None, Class::Ok);
        let denied = (
            PolicyResult::Denied,
            vec!["ip".to_owned()],
            Some(429),
            None,
            Class::Refused,
        );
        for _ in 0..2 {
            assert_eq!(service.send(None).await, admitted);
        }
        // With Redis the second denial is a remembered one.
        for _ in 0..2 {
            assert_eq!(service.send(None).await, denied);
        }
    })
    .await;
}

#[tokio::test]
async fn a_dry_run_is_told_where_it_would_have_denied() {
    let config = "[rate_limit]\nip = '9/1h'\n\
        [rate_limit.policies.strict]\nkey = 'ip'\nquota = '1/1h'\nmode = 'dry_run'\n";
    on_both(config, async |service| {
        let expected = [PolicyResult::Admitted, PolicyResult::DryRunDenied];
        assert_eq!(service.results(2).await, expected);
    })
    .await;
}

#[tokio::test]
async fn an_exempt_request_meets_no_policy() {
    let config = format!("{IP}exempt = {{ cidrs = ['192.0.2.0/24'] }}\n");
    on_both(&config, async |service| {
        assert_eq!(service.results(3).await, [PolicyResult::None; 3]);
    })
    .await;
}

#[tokio::test]
async fn a_banned_client_is_told_as_banned_and_one_in_a_dry_run_is_not() {
    for (mode, expected) in [
        ("", PolicyResult::Banned),
        ("mode = 'dry_run'\n", PolicyResult::Admitted),
    ] {
        let config = format!("{IP}[suspicion.bans]\nfor = '10m'\n{mode}");
        on_both(&config, async |service| {
            let network = Network::of([192, 0, 2, 1].into(), 64);
            let ban = service.stack.suspicions();
            ban.ban(network, Duration::from_secs(60)).await.unwrap();
            let (result, policies, _, _, class) = service.send(None).await;
            assert_eq!((result, policies), (expected, vec![]));
            let is_refused = expected == PolicyResult::Banned;
            assert_eq!(class == Class::Refused, is_refused);
        })
        .await;
    }
}

#[tokio::test]
async fn a_failing_store_is_told_as_a_fallback() {
    let mut server = RedisServer::start();
    let local = Service::on(Some(&server), IP);
    let open = Service::on(Some(&server), &format!("{IP}on_store_failure = 'open'\n"));
    let closed = Service::on(Some(&server), &format!("{IP}on_store_failure = 'closed'\n"));
    server.kill();
    let expected = [
        PolicyResult::FallbackAdmitted,
        PolicyResult::FallbackAdmitted,
        PolicyResult::FallbackDenied,
    ];
    assert_eq!(local.results(3).await, expected);
    let (_, policies, status, _, class) = local.send(None).await;
    assert_eq!(
        (policies, status, class),
        (vec!["ip".to_owned()], Some(429), Class::Refused)
    );
    assert_eq!(open.results(3).await, [PolicyResult::FallbackAdmitted; 3]);
    let expected = (
        PolicyResult::FallbackDenied,
        vec!["ip".to_owned()],
        Some(503),
        None,
        Class::Refused,
    );
    assert_eq!(closed.send(None).await, expected);
}

#[tokio::test]
async fn the_segment_is_told_of_a_customer_and_of_nobody_else() {
    let config = "[segments]\n[rate_limit]\nuser = '2/1h'\n";
    on_both(config, async |service| {
        assert_eq!(service.send(None).await.3, None);
        assert_eq!(service.send(Some("ada")).await.3, Some(Segment::New));
        assert_eq!(service.send(Some("ada")).await.3, Some(Segment::Returning));
        let (result, _, _, segment, _) = service.send(Some("ada")).await;
        assert_eq!((result, segment), (PolicyResult::Denied, None));
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_request_is_told_with_what_was_decided_until_then() {
    on_both(IP, async |service| {
        let handler =
            service_fn(|_: Request<()>| pending::<Result<Response<String>, Infallible>>());
        let begun = Arc::new(Mutex::new(false));
        {
            let flag = Arc::clone(&begun);
            let handler = service_fn(move |request| {
                *flag.lock().unwrap() = true;
                tower::Service::call(&mut handler.clone(), request)
            });
            let mut exchange = pin!(service.stack.layer(handler).oneshot(Service::request(None)));
            while !*begun.lock().unwrap() {
                poll_fn(|cx| {
                    assert!(exchange.as_mut().poll(cx).is_pending());
                    Poll::Ready(())
                })
                .await;
                tokio::task::yield_now().await;
            }
            assert!(service.told.lock().unwrap().is_empty());
        }
        let expected = (PolicyResult::Admitted, vec![], None, None, Class::Cancelled);
        assert_eq!(*service.told.lock().unwrap(), [expected]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_measured_stack_tells_the_services_own_observers_too() {
    const BROWSE: &str = "browse";
    let server = RedisServer::start();
    let config = format!(
        "[store]\ndeadline = '10s'\nredis_url = '{}'\n[funnel]\nvisitors = '1h'\n",
        server.url()
    );
    let telemetry = Telemetry::builder("shop").build().unwrap();
    let (calls, steps) = (Arc::<Mutex<u32>>::default(), Arc::<Mutex<u32>>::default());
    let (counted, stepped) = (Arc::clone(&calls), Arc::clone(&steps));
    let stack = Stack::builder()
        .config(Config::from_toml(&config).unwrap())
        .funnel([Stage::new(BROWSE), Stage::new("buy")])
        .observe_store(move |_, _, _| *counted.lock().unwrap() += 1)
        .observe_steps(move |_, _, _| *stepped.lock().unwrap() += 1)
        .build_measured(&telemetry)
        .unwrap();
    for stage in [BROWSE, "buy"] {
        let service = stack.layer(service_fn(move |_: Request<()>| async move {
            let mut response = Response::new(String::new());
            response.extensions_mut().insert(Reached::stage(stage));
            Ok::<_, Infallible>(response)
        }));
        let mut request = Request::new(());
        let peer = Peer("192.0.2.1:5000".parse().unwrap());
        request.extensions_mut().insert(peer);
        service.oneshot(request).await.unwrap();
    }
    let measured = async |name: &str| {
        let scrape = telemetry.prometheus().unwrap().scrape().await.unwrap();
        Scrape::parse(str::from_utf8(&scrape).unwrap()).sum(name, &[]) as u32
    };
    let stepped = async || measured("shop_funnel_step_duration_seconds_count").await > 0;
    until("a step is measured", stepped).await;
    assert_eq!(*steps.lock().unwrap(), 1);
    let told = *calls.lock().unwrap();
    assert!(told >= 2, "{told} calls");
    let calls = measured("shop_store_operation_duration_seconds_count").await;
    assert_eq!(calls, told);
}

#[tokio::test]
async fn observers_of_the_store_and_of_steps_that_panic_leave_limits_shared_and_the_others_told() {
    let server = RedisServer::start();
    let config = format!(
        "[store]\ndeadline = '10s'\nredis_url = '{}'\n[rate_limit]\nip = '3/1h'\n[funnel]\nvisitors = '1h'\n",
        server.url()
    );
    let results = Arc::<Mutex<Vec<PolicyResult>>>::default();
    let (calls, steps) = (Arc::<Mutex<u32>>::default(), Arc::<Mutex<u32>>::default());
    let process = || {
        let told = Arc::clone(&results);
        let (counted, stepped) = (Arc::clone(&calls), Arc::clone(&steps));
        Stack::builder()
            .config(Config::from_toml(&config).unwrap())
            .funnel([Stage::new("browse"), Stage::new("buy")])
            .observe(move |exchange: &Exchange<'_>| told.lock().unwrap().push(exchange.result))
            .observe_store(|_, _, _| panic!("of the service's"))
            .observe_store(move |_, _, _| *counted.lock().unwrap() += 1)
            .observe_steps(|_, _, _| panic!("of the service's"))
            .observe_steps(move |_, _, _| *stepped.lock().unwrap() += 1)
            .build()
            .unwrap()
    };
    let processes = [process(), process()];
    for (stack, stage) in [
        (0, "browse"),
        (1, "buy"),
        (0, "buy"),
        (1, "buy"),
        (0, "buy"),
    ] {
        let service = processes[stack].layer(service_fn(move |_: Request<()>| async move {
            let mut response = Response::new(String::new());
            response.extensions_mut().insert(Reached::stage(stage));
            Ok::<_, Infallible>(response)
        }));
        service.oneshot(Service::request(None)).await.unwrap();
    }
    let (passed, denied) = (PolicyResult::Admitted, PolicyResult::Denied);
    let expected = [passed, passed, passed, denied, denied];
    assert_eq!(*results.lock().unwrap(), expected);
    until("a step is told", async || *steps.lock().unwrap() > 0).await;
    assert!(*calls.lock().unwrap() >= 5);
}
