use std::convert::Infallible;
use std::future::ready;

use http::{Request, Response, StatusCode};
use tower::{Layer, ServiceExt, service_fn};

use super::super::Telemetry;
use super::exposition::{scrape, telemetry};
use crate::model::{Client, Route};
use crate::store::memory::MemoryStore;
use crate::suspicion::{BanReason, Bans, FailureResult, IncidentKind, SuspicionLayer};

const INCIDENTS: &str = "shop_security_suspicious_activity_total";
const BANS: &str = "shop_security_bans_total";
const BANNED: &str = "shop_security_banned_requests_total";
const FAILURES: &str = "shop_security_failures_total";

fn watched(telemetry: &Telemetry) -> SuspicionLayer {
    let layer = SuspicionLayer::embedded(MemoryStore::new())
        .build()
        .unwrap();
    telemetry.watch(&layer.tally());
    layer
}

async fn fail(layer: &SuspicionLayer, clients: std::ops::Range<u32>, times: u64) {
    let service = layer.layer(service_fn(|_| {
        let response = Response::builder().status(StatusCode::NOT_FOUND);
        ready(Ok::<_, Infallible>(response.body(String::new()).unwrap()))
    }));
    let counted = layer.tally().failures(FailureResult::Counted);
    let all = counted + times * u64::from(clients.end - clients.start);
    for n in clients {
        for time in 0..times {
            let mut client = Client::new(std::net::Ipv4Addr::from_bits(n).into(), 64);
            client.route = Route::from(std::sync::Arc::<str>::from(format!("/{n}")));
            let path = format!("/{n}/{time}/user%20{n}\"");
            let mut request = Request::builder().uri(path).body(()).unwrap();
            request.extensions_mut().insert(client);
            service.clone().oneshot(request).await.unwrap();
        }
    }
    while layer.tally().failures(FailureResult::Counted) < all {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn all_kinds_of_incidents_exist_at_0_from_the_start() {
    let telemetry = telemetry();
    let _layer = watched(&telemetry);
    let scrape = scrape(&telemetry).await;
    for kind in IncidentKind::ALL {
        assert_eq!(
            scrape.values(INCIDENTS, &[("type", kind.as_str())]),
            [0.0],
            "{kind}"
        );
    }
    for result in FailureResult::ALL {
        assert_eq!(
            scrape.values(FAILURES, &[("result", result.as_str())]),
            [0.0]
        );
    }
    assert_eq!(scrape.values(INCIDENTS, &[]).len(), IncidentKind::ALL.len());
    assert_eq!(scrape.values(BANS, &[]).len(), BanReason::all().count());
    for reason in BanReason::all() {
        let labels = [("reason", reason.as_str())];
        assert_eq!(scrape.values(BANS, &labels), [0.0], "{reason}");
    }
    for result in ["denied", "dry_run_denied"] {
        assert_eq!(scrape.values(BANNED, &[("result", result)]), [0.0]);
    }
}

#[tokio::test]
async fn bans_are_counted_by_reason_and_banned_requests_by_what_became_of_them() {
    let telemetry = telemetry();
    let store = MemoryStore::new();
    for (bans, result) in [
        (Bans::embedded(store.clone()), "denied"),
        (Bans::embedded(store.clone()).dry_run(), "dry_run_denied"),
    ] {
        let layer = SuspicionLayer::embedded(MemoryStore::new()).bans(bans);
        let layer = layer.build().unwrap();
        telemetry.watch(&layer.tally());
        let client = crate::model::Network::of(std::net::Ipv4Addr::from_bits(1).into(), 64);
        let minute = std::time::Duration::from_secs(60);
        layer.suspicions().ban(client, minute).await.unwrap();
        fail(&layer, 2..3, 10).await;
        let service = layer.layer(service_fn(|_| {
            ready(Ok::<_, Infallible>(Response::new(String::new())))
        }));
        for _ in 0..7 {
            let client = Client::new(std::net::Ipv4Addr::from_bits(1).into(), 64);
            let mut request = Request::new(());
            request.extensions_mut().insert(client);
            service.clone().oneshot(request).await.unwrap();
        }
        let scrape = scrape(&telemetry).await;
        assert_eq!(scrape.values(BANNED, &[("result", result)]), [7.0]);
        layer
            .suspicions()
            .lift(crate::model::Network::of(
                std::net::Ipv4Addr::from_bits(2).into(),
                64,
            ))
            .await
            .unwrap();
    }
    let scrape = scrape(&telemetry).await;
    assert_eq!(scrape.values(BANS, &[("reason", "manual")]), [2.0]);
    assert_eq!(
        scrape.values(BANS, &[("reason", "endpoint_scanning")]),
        [2.0]
    );
    assert_eq!(scrape.values(BANS, &[("reason", "abuse")]), [0.0]);
}

#[tokio::test]
async fn incidents_are_counted_over_all_layers_and_no_client_makes_a_series() {
    let telemetry = telemetry();
    let layers = [watched(&telemetry), watched(&telemetry)];
    telemetry.watch(&layers[0].tally());
    let before = scrape(&telemetry).await.series();
    for layer in &layers {
        fail(layer, 1..200, 20).await;
    }
    let scrape = scrape(&telemetry).await;
    assert_eq!(scrape.series(), before);
    for (kind, incidents) in [
        ("credential_stuffing", 0.0),
        ("endpoint_scanning", 398.0),
        ("abuse", 398.0),
        ("credential_stuffing_slow", 0.0),
    ] {
        assert_eq!(scrape.values(INCIDENTS, &[("type", kind)]), [incidents]);
    }
    let counted = scrape.values(FAILURES, &[("result", "counted")]);
    assert_eq!(counted, [2.0 * 199.0 * 20.0]);
}
