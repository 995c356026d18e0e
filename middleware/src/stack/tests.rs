//! What a panic in each part of the service's own code does, over the whole stack.
#![cfg(all(feature = "otel", feature = "serde"))]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::request::Parts;
use http::{Extensions, Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use tower::{Layer, ServiceExt, service_fn};

use super::{Stack, StackBuilder};
use crate::client::{Origin, Peer};
use crate::config::Config;
use crate::model::{Countries, Country, End, Exchange, Route};
use crate::rate_limit::{PartitionBy, PartitionKey, Policy, Rejection};
use crate::segment::{Currency, CustomerEvents, Money, Order};
use crate::telemetry::Telemetry;

/// A request that asks for the panic.
const PANICS: &str = "x-panics";

fn panics(request: &Parts) {
    assert!(!request.headers.contains_key(PANICS), "of the service's");
}

/// The stack of a builder, with two requests an hour, and how often its service was called.
struct Service {
    telemetry: Telemetry,
    stack: Stack<crate::telemetry::HttpMetricsLayer>,
    calls: Arc<AtomicUsize>,
}

impl Service {
    fn of(change: impl FnOnce(StackBuilder) -> StackBuilder) -> Self {
        Self::configured("", change)
    }

    fn configured(store: &str, change: impl FnOnce(StackBuilder) -> StackBuilder) -> Self {
        let text = format!("{store}[rate_limit]\nip = '2/1h'\n[suspicion.bans]\n[segments]\n");
        let config = Config::from_toml(&text).unwrap();
        let telemetry = Telemetry::builder("shop").build().unwrap();
        let builder = change(Stack::builder().config(config));
        Self {
            stack: builder.build_measured(&telemetry).unwrap(),
            telemetry,
            calls: Arc::default(),
        }
    }

    /// The status of the response; `None` where the request ended in a panic.
    async fn send(&self, panics: bool) -> Option<StatusCode> {
        let calls = Arc::clone(&self.calls);
        let service = self.stack.layer(service_fn(move |_: Request<()>| {
            calls.fetch_add(1, Ordering::Relaxed);
            let mut response = Response::new(Full::<bytes::Bytes>::from("hello"));
            let euros = Money::new(500, "EUR".parse::<Currency>().unwrap());
            let events = CustomerEvents::new().order(Order::new("A-1", euros));
            response.extensions_mut().insert(events);
            std::future::ready(Ok::<_, Infallible>(response))
        }));
        let mut request = Request::new(());
        if panics {
            request.headers_mut().insert(PANICS, "1".parse().unwrap());
        }
        let peer = Peer("192.0.2.1:5000".parse().unwrap());
        request.extensions_mut().insert(peer);
        let task = tokio::spawn(async move { service.oneshot(request).await });
        Some(task.await.ok()?.unwrap().status())
    }

    /// Nothing is in flight any more.
    async fn assert_none_active(&self) {
        let text = self.telemetry.prometheus().unwrap().scrape().await.unwrap();
        let text = String::from_utf8(text.to_vec()).unwrap();
        let active = text
            .lines()
            .filter(|line| line.starts_with("http_server_active_requests{"));
        for line in active {
            assert!(line.ends_with(" 0"), "{line}");
        }
    }
}

/// A panic of what decides ends its request before the service, and changes nothing for others.
async fn ends_its_request(what: &str, change: impl FnOnce(StackBuilder) -> StackBuilder) {
    let service = Service::of(change);
    for _ in 0..3 {
        assert_eq!(service.send(true).await, None, "{what}");
    }
    assert_eq!(service.calls.load(Ordering::Relaxed), 0, "{what}");
    service.assert_none_active().await;
    for expected in [200, 200, 429] {
        let status = service.send(false).await.unwrap();
        assert_eq!(status.as_u16(), expected, "{what}: the limit stands");
    }
    service.assert_none_active().await;
}

#[tokio::test]
async fn a_panic_of_what_decides_ends_its_request_and_lifts_no_limit() {
    ends_its_request("user", |it| {
        it.user(|request: &Parts| {
            panics(request);
            Some("ada".to_owned())
        })
    })
    .await;
    ends_its_request("country", |it| {
        let countries: Countries = ["GB".parse::<Country>().unwrap()].into_iter().collect();
        it.country(countries, |request: &Parts, _: &Origin| {
            panics(request);
            None::<Country>
        })
    })
    .await;
    let with_policy = |policy: Policy| {
        move |mut it: StackBuilder| {
            it.config.rate_limit.policies.push(policy);
            it.user(|_: &Parts| Some("ada".to_owned()))
        }
    };
    let key = PartitionBy::request(|request: &Parts| {
        panics(request);
        None::<PartitionKey>
    });
    let policy = Policy::new("keyed", key, "9/1h".parse().unwrap());
    ends_its_request("key", with_policy(policy)).await;
    let policy = Policy::new("priced", PartitionBy::Ip, "9/1h".parse().unwrap());
    let policy = policy.cost_with(|request: &Parts| {
        panics(request);
        1
    });
    ends_its_request("cost", with_policy(policy)).await;
}

#[tokio::test]
async fn a_panic_of_the_route_ends_its_request() {
    // It does not see the headers: it panics once for the metrics, which are outermost, and then no more.
    let left = AtomicUsize::new(3);
    ends_its_request("route", |it| {
        it.route(move |_: &Method, _: &Uri, _: &Extensions| {
            let none =
                left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
            assert!(none.is_err(), "of the service's");
            None::<Route>
        })
    })
    .await;
}

#[tokio::test]
async fn a_panic_of_a_refusals_body_lets_nobody_pass() {
    let service = Service::of(|it| it.reject_with(|_: &Rejection<'_>| panic!("of the service's")));
    let statuses = [
        service.send(false).await,
        service.send(false).await,
        service.send(false).await,
        service.send(false).await,
    ];
    let ok = Some(StatusCode::OK);
    assert_eq!(statuses, [ok, ok, None, None]);
    assert_eq!(service.calls.load(Ordering::Relaxed), 2);
    service.assert_none_active().await;
}

/// One that panics at both ends of each exchange.
struct Panics;

impl crate::observe::ObserveExchange for Panics {
    fn begin(&self) {
        panic!("of the service's");
    }

    fn observe(&self, exchange: &Exchange<'_>) {
        assert_eq!(exchange.end, End::Cancelled, "of the service's");
    }
}

#[tokio::test]
async fn a_panic_of_an_observer_harms_no_request_and_no_task() {
    let seen = Arc::new(AtomicUsize::new(0));
    let events = Arc::clone(&seen);
    let service = Service::of(|it| {
        it.user(|_: &Parts| Some("ada".to_owned()))
            .observe(Panics)
            .observe_security(|_| panic!("of the service's"))
            .observe_security(move |_| {
                events.fetch_add(1, Ordering::Relaxed);
            })
            .observe_steps(|_, _, _| panic!("of the service's"))
            .convert(|_| panic!("of the service's"))
    });
    for expected in [200, 200, 429] {
        let status = service.send(false).await.unwrap();
        assert_eq!(status.as_u16(), expected);
    }
    // An amount that cannot be converted adds nothing to spend, and the order counts.
    assert!(service.stack.segment_tally().unwrap().unconverted() >= 1);
    let suspicions = service.stack.suspicions();
    let client: crate::model::Network = "192.0.2.7".parse().unwrap();
    let hour = std::time::Duration::from_secs(3_600);
    suspicions.ban(client, hour).await.unwrap();
    assert!(suspicions.lift(client).await.unwrap());
    assert_eq!(seen.load(Ordering::Relaxed), 2, "the next observer is told");
    service.assert_none_active().await;
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn a_panic_of_a_stores_observer_leaves_the_policies_their_failure_mode() {
    let store = "[store]\nredis_url = 'redis://127.0.0.1:1'\n";
    let service = Service::configured(store, |it| {
        it.observe_store(|_, _, _| panic!("of the service's"))
    });
    for expected in [200, 200, 429] {
        let status = service.send(false).await.unwrap();
        assert_eq!(status.as_u16(), expected);
    }
    service.assert_none_active().await;
}
