use http::{Request, Response};
use tower::{Layer, ServiceExt, service_fn};

use super::super::Telemetry;
use super::exposition::{scrape, telemetry};
use crate::model::{Client, Countries, Secret, UserId};
use crate::segment::{ChangeKind, ChangeResult, ClassifyLayer, CustomerEvents};
use crate::store::memory::MemoryStore;

const COUNTED: &str = "shop_customer_segment_total";
const CHANGES: &str = "shop_customer_changes_total";

fn watched(telemetry: &Telemetry) -> ClassifyLayer {
    let countries: Countries = ["GB"].map(|it| it.parse().unwrap()).into_iter().collect();
    let layer = ClassifyLayer::builder(MemoryStore::new())
        .countries(countries)
        .actions(["checkout"])
        .build()
        .unwrap();
    telemetry.watch(&layer.tally().unwrap());
    layer
}

async fn check_out(layer: &ClassifyLayer, name: &str) {
    let service = layer.layer(service_fn(|_| async {
        let mut response = Response::new(());
        let events = CustomerEvents::new().action("checkout");
        response.extensions_mut().insert(events);
        Ok::<_, std::convert::Infallible>(response)
    }));
    let mut client = Client::new([192, 0, 2, 1].into(), 64);
    client.user = Some(UserId::new(name, &Secret::from_bytes(b"secret")));
    client.country = "GB".parse().unwrap();
    let mut request = Request::new(());
    request.extensions_mut().insert(client);
    service.oneshot(request).await.unwrap();
}

#[tokio::test]
async fn all_series_exist_at_0_from_the_start_but_the_population() {
    let telemetry = telemetry();
    let _layer = watched(&telemetry);
    let scrape = scrape(&telemetry).await;
    // Five segments, one action, one country and `other`.
    assert_eq!(scrape.values(COUNTED, &[]), [0.0; 10]);
    let changes = ChangeKind::ALL.len() * ChangeResult::ALL.len();
    assert_eq!(scrape.values(CHANGES, &[]), vec![0.0; changes]);
    assert_eq!(scrape.values("shop_customer_swept_total", &[]), [0.0; 2]);
    for name in [
        "shop_customer_unclassified_total",
        "shop_customer_unconverted_total",
    ] {
        assert_eq!(scrape.values(name, &[]), [0.0], "{name}");
    }
    // Nobody holds the sweep before the first request.
    assert!(scrape.labels("shop_customers").is_empty());
}

#[tokio::test]
async fn customers_are_counted_over_all_layers_and_none_makes_a_series() {
    let telemetry = telemetry();
    let layers = [watched(&telemetry), watched(&telemetry)];
    telemetry.watch(&layers[0].tally().unwrap());
    let first = scrape(&telemetry).await;
    let before = first.labels(COUNTED);
    for layer in &layers {
        for n in 0..100 {
            let name = format!("user {n}\"\n");
            check_out(layer, &name).await;
            check_out(layer, &name).await;
        }
    }
    for layer in &layers {
        let tally = layer.tally().unwrap();
        while tally.population().is_none() {
            tokio::task::yield_now().await;
        }
        let all = || tally.changes(ChangeKind::Activity, ChangeResult::Written);
        while all() < 100 {
            tokio::task::yield_now().await;
        }
    }
    let scrape = scrape(&telemetry).await;
    assert_eq!(scrape.labels(COUNTED), before);
    for segment in ["new", "returning"] {
        let labels = [("segment", segment), ("country", "GB")];
        assert_eq!(scrape.values(COUNTED, &labels), [200.0], "{segment}");
    }
    assert_eq!(scrape.labels("shop_customers").len(), 4);
}
