use std::convert::Infallible;
use std::future::ready;

use http::{Request, Response};
use tower::{Layer, ServiceExt, service_fn};

use super::super::Telemetry;
use super::exposition::{scrape, telemetry};
use crate::funnel::{FunnelLayer, Reached, Stage};

const STAGE: &str = "shop_funnel_stage_total";

fn watched(telemetry: &Telemetry) -> FunnelLayer {
    let layer = FunnelLayer::builder()
        .stage(Stage::new("browse"))
        .stage(Stage::new("checkout").payment_methods(["paypal"]))
        .countries(["GB".parse().unwrap()].into_iter().collect())
        .build()
        .unwrap();
    telemetry.watch_funnel(layer.tally());
    layer
}

async fn reach(layer: &FunnelLayer, reached: Reached) {
    let service = layer.layer(service_fn(move |_: Request<()>| {
        let mut response = Response::new(());
        response.extensions_mut().insert(reached.clone());
        ready(Ok::<_, Infallible>(response))
    }));
    service.oneshot(Request::new(())).await.unwrap();
}

#[tokio::test]
async fn all_series_of_a_funnel_exist_at_0_from_the_start() {
    let telemetry = telemetry();
    let _layer = watched(&telemetry);
    let scrape = scrape(&telemetry).await;
    let series = [
        ("GB", "", "browse"),
        ("other", "", "browse"),
        ("GB", "other", "checkout"),
        ("GB", "paypal", "checkout"),
        ("other", "other", "checkout"),
        ("other", "paypal", "checkout"),
    ];
    for (country, method, stage) in series {
        let labels = [
            ("country", country),
            ("payment_method", method),
            ("stage", stage),
        ];
        assert_eq!(scrape.values(STAGE, &labels), [0.0], "{labels:?}");
    }
    assert_eq!(scrape.values(STAGE, &[]).len(), series.len());
}

#[tokio::test]
async fn the_largest_funnel_fits_without_overflow() {
    let telemetry = telemetry();
    let methods = (0..1_999).map(|n| format!("method_{n}"));
    let layer = FunnelLayer::builder()
        .stage(Stage::new("checkout").payment_methods(methods))
        .build()
        .unwrap();
    telemetry.watch_funnel(layer.tally());
    reach(&layer, Reached::payment("checkout", "method_1998")).await;
    // The second scrape finds the first one's series.
    scrape(&telemetry).await;
    let scrape = scrape(&telemetry).await;
    assert_eq!(scrape.values(STAGE, &[]).len(), 2_000);
    assert_eq!(
        scrape.values(STAGE, &[("payment_method", "method_1998")]),
        [1.0]
    );
    let overflow = [("otel_metric_overflow", "true")];
    assert!(scrape.values(STAGE, &overflow).is_empty());
}

#[tokio::test]
async fn funnels_that_share_a_stages_name_are_added_up_and_one_watched_twice_counts_once() {
    let telemetry = telemetry();
    let layers = [(); 2].map(|()| watched(&telemetry));
    telemetry.watch_funnel(layers[0].tally());
    for layer in &layers {
        reach(layer, Reached::stage("browse")).await;
        reach(layer, Reached::payment("checkout", "paypal")).await;
    }
    let scrape = scrape(&telemetry).await;
    let of = |stage, method| {
        let labels = [("stage", stage), ("payment_method", method)];
        scrape.values(STAGE, &labels).into_iter().sum::<f64>()
    };
    assert_eq!(of("browse", ""), 2.0);
    assert_eq!(of("checkout", "paypal"), 2.0);
    assert_eq!(of("checkout", "other"), 0.0);
}
