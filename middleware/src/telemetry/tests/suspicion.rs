use std::convert::Infallible;
use std::future::ready;

use http::{Request, Response, StatusCode};
use tower::{Layer, ServiceExt, service_fn};

use super::super::Telemetry;
use super::exposition::{scrape, telemetry};
use crate::client::{Client, UserId};
use crate::client::{Route, Secret};
use crate::store::memory::MemoryStore;
use crate::suspicion::{Fate, Kind, SuspicionLayer};

const INCIDENTS: &str = "shop_security_suspicious_activity_total";
const FAILURES: &str = "shop_security_failures_total";

fn watched(telemetry: &Telemetry) -> SuspicionLayer {
    let layer = SuspicionLayer::embedded(MemoryStore::new())
        .build()
        .unwrap();
    telemetry.watch_suspicion(layer.tally());
    layer
}

async fn fail(layer: &SuspicionLayer, clients: std::ops::Range<u32>, times: u64) {
    let service = layer.layer(service_fn(|_| {
        let response = Response::builder().status(StatusCode::NOT_FOUND);
        ready(Ok::<_, Infallible>(response.body(()).unwrap()))
    }));
    let counted = layer.tally().failures(Fate::Counted);
    let all = counted + times * u64::from(clients.end - clients.start);
    for n in clients {
        for _ in 0..times {
            let mut client = Client::new(std::net::Ipv4Addr::from_bits(n).into(), 64);
            let user = format!("user {n}\"\n");
            client.user = Some(UserId::new(&user, &Secret::from_bytes(b"secret")));
            client.route = Route::from(std::sync::Arc::<str>::from(format!("/{n}")));
            let mut request = Request::new(());
            request.extensions_mut().insert(client);
            service.clone().oneshot(request).await.unwrap();
        }
    }
    while layer.tally().failures(Fate::Counted) < all {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn all_kinds_of_incidents_exist_at_0_from_the_start() {
    let telemetry = telemetry();
    let _layer = watched(&telemetry);
    let scrape = scrape(&telemetry).await;
    for kind in Kind::ALL {
        assert_eq!(
            scrape.values(INCIDENTS, &[("type", kind.as_str())]),
            [0.0],
            "{kind}"
        );
    }
    for fate in Fate::ALL {
        assert_eq!(scrape.values(FAILURES, &[("result", fate.as_str())]), [0.0]);
    }
    assert_eq!(scrape.values(INCIDENTS, &[]).len(), Kind::ALL.len());
}

#[tokio::test]
async fn incidents_are_counted_over_all_layers_and_no_client_makes_a_series() {
    let telemetry = telemetry();
    let layers = [watched(&telemetry), watched(&telemetry)];
    telemetry.watch_suspicion(layers[0].tally());
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
