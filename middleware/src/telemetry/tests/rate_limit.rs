use std::convert::Infallible;
use std::future::ready;
use std::net::IpAddr;

use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, ServiceExt, service_fn};

use super::super::Telemetry;
use super::exposition::{Exposition, scrape, telemetry};
use crate::model::{Client, Country, Network, Route};
use crate::rate_limit::{Policy, RateLimitLayer};
use crate::store::memory::MemoryStore;

const REQUESTS: &str = "shop_rate_limit_requests_total";
const EXCEEDED: &str = "shop_rate_limit_exceeded_total";

fn limit(policies: impl IntoIterator<Item = Policy>) -> RateLimitLayer {
    let layer = RateLimitLayer::embedded(MemoryStore::new());
    let layer = policies
        .into_iter()
        .fold(layer, |layer, it| layer.policy(it));
    layer.build().unwrap()
}

fn watched(telemetry: &Telemetry, policies: impl IntoIterator<Item = Policy>) -> RateLimitLayer {
    let layer = limit(policies);
    telemetry.watch(&layer.tally());
    layer
}

async fn ask(layer: &RateLimitLayer, times: usize) {
    let address: IpAddr = [192, 0, 2, 1].into();
    for _ in 0..times {
        let mut request = Request::new(Full::<bytes::Bytes>::default());
        request.extensions_mut().insert(Client {
            address,
            network: Network::of(address, 64),
            user: None,
            country: Country::OTHER,
            route: Route::UNMATCHED,
        });
        let service = layer.layer(service_fn(|_| {
            ready(Ok::<_, Infallible>(Response::new(
                Full::<bytes::Bytes>::default(),
            )))
        }));
        drop(service.oneshot(request).await);
    }
}

fn requests(scrape: &Exposition, policy: &str, result: &str) -> Vec<f64> {
    scrape.values(REQUESTS, &[("policy", policy), ("result", result)])
}

#[tokio::test]
async fn all_series_of_a_policy_exist_at_0_from_the_start() {
    let telemetry = telemetry();
    let _layer = watched(&telemetry, [Policy::ip(), Policy::user()]);
    let scrape = scrape(&telemetry).await;
    for policy in ["ip", "user"] {
        for result in [
            "admitted",
            "denied",
            "dry_run_denied",
            "fallback_admitted",
            "fallback_denied",
        ] {
            assert_eq!(
                requests(&scrape, policy, result),
                [0.0],
                "{policy} {result}"
            );
        }
        assert_eq!(scrape.values(EXCEEDED, &[("limit_type", policy)]), [0.0]);
    }
    assert_eq!(scrape.values(REQUESTS, &[]).len(), 10);
    assert_eq!(scrape.values(EXCEEDED, &[]).len(), 2);
}

#[tokio::test]
async fn what_a_policy_decides_is_counted() {
    let telemetry = telemetry();
    let quota = "3/1m".parse().unwrap();
    let layer = watched(&telemetry, [Policy::ip().quota(quota)]);
    ask(&layer, 5).await;
    let scrape = scrape(&telemetry).await;
    assert_eq!(requests(&scrape, "ip", "admitted"), [3.0]);
    assert_eq!(requests(&scrape, "ip", "denied"), [2.0]);
    assert_eq!(scrape.values(EXCEEDED, &[("limit_type", "ip")]), [2.0]);
}

#[tokio::test]
async fn layers_that_share_a_policys_name_are_added_up_and_a_tally_watched_twice_counts_once() {
    let telemetry = telemetry();
    let quota = "3/1m".parse().unwrap();
    let layers = [(); 2].map(|()| watched(&telemetry, [Policy::ip().quota(quota)]));
    telemetry.watch(&layers[0].tally());
    for layer in &layers {
        ask(layer, 4).await;
    }
    let scrape = scrape(&telemetry).await;
    assert_eq!(requests(&scrape, "ip", "admitted"), [6.0]);
    assert_eq!(requests(&scrape, "ip", "denied"), [2.0]);
}
