use std::convert::Infallible;
use std::future::ready;

use http::{Request, Response};
use tower::{Layer, ServiceExt, service_fn};

use super::super::Telemetry;
use super::exposition::{scrape, telemetry};
use crate::funnel::{FunnelLayer, ReachResult, Reached, Stage, Steps, Visitors};
use crate::model::{Client, Secret};
use crate::store::memory::MemoryStore;

const STAGE: &str = "shop_funnel_stage_total";

fn watched(telemetry: &Telemetry) -> FunnelLayer {
    let layer = FunnelLayer::builder()
        .stage(Stage::new("browse"))
        .stage(Stage::new("checkout").payment_methods(["paypal"]))
        .countries(["GB".parse().unwrap()].into_iter().collect())
        .build()
        .unwrap();
    telemetry.watch(&layer.tally());
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
    telemetry.watch(&layer.tally());
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
    telemetry.watch(&layers[0].tally());
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

#[tokio::test]
async fn visitors_of_funnels_that_share_a_stages_name_are_added_up_and_all_exist_at_0() {
    let telemetry = telemetry();
    let secret = Secret::from_bytes(b"a secret of the tests");
    let layers = [(); 2].map(|()| {
        let visitors = Visitors::embedded(MemoryStore::new(), secret.clone());
        let layer = FunnelLayer::builder()
            .stage(Stage::new("browse"))
            .stage(Stage::new("view"))
            .visitors(visitors.observer(telemetry.timer::<Steps>()));
        let layer = layer.build().unwrap();
        telemetry.watch(&layer.visitor_tally().unwrap());
        layer
    });
    telemetry.watch(&layers[0].visitor_tally().unwrap());
    let empty = scrape(&telemetry).await;
    assert_eq!(empty.values("shop_funnel_visitors_total", &[]), [0.0; 2]);
    assert_eq!(empty.values("shop_funnel_reaches_total", &[]), [0.0; 5]);
    for layer in &layers {
        for stage in ["browse", "view"] {
            let service = layer.layer(service_fn(move |_: Request<()>| {
                let mut response = Response::new(());
                response.extensions_mut().insert(Reached::stage(stage));
                ready(Ok::<_, Infallible>(response))
            }));
            let mut request = Request::new(());
            let client = Client::new([192, 0, 2, 1].into(), 64);
            request.extensions_mut().insert(client);
            service.oneshot(request).await.unwrap();
        }
        let tally = layer.visitor_tally().unwrap();
        while tally.reaches(ReachResult::Counted) < 2 {
            tokio::task::yield_now().await;
        }
    }
    let scrape = scrape(&telemetry).await;
    assert_eq!(scrape.values("shop_funnel_visitors_total", &[]), [2.0; 2]);
    let step = [("from", "browse"), ("to", "view")];
    let steps = scrape.values("shop_funnel_step_duration_seconds_count", &step);
    assert_eq!(steps, [2.0]);
}
