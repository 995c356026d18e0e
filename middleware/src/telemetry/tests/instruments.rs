use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use tower::{Layer, ServiceExt, service_fn};

use super::super::Telemetry;
use super::exposition::{Exposition, scrape, telemetry};
use super::store::Store;
use super::table;
use crate::funnel::{FunnelLayer, Stage, Steps, Visitors};
use crate::model::{Operation, Outcome, Route, Secret};
use crate::rate_limit::{Policy, RateLimitLayer};
use crate::segment::ClassifyLayer;
use crate::store::Calls;
use crate::store::memory::MemoryStore;
use crate::suspicion::SuspicionLayer;

#[test]
fn a_namespace_that_prometheus_would_change_is_refused() {
    for namespace in ["webstore", "shop2", "my_shop", &"a".repeat(63)] {
        assert!(Telemetry::builder(namespace).build().is_ok(), "{namespace}");
    }
    for namespace in [
        "",
        "Shop",
        "2shop",
        "_shop",
        "shop_",
        "my-shop",
        "my.shop",
        "shop ",
        "käse",
        "a\nb",
        &"a".repeat(64),
    ] {
        let error = Telemetry::builder(namespace).build().unwrap_err();
        assert_eq!(error.key(), "telemetry.namespace", "{namespace}");
    }
}

#[test]
fn an_empty_service_name_is_refused() {
    let error = Telemetry::builder("shop").service_name(" ").build();
    assert_eq!(error.unwrap_err().key(), "telemetry.service_name");
}

#[tokio::test]
async fn the_scrape_names_the_service() {
    let telemetry = Telemetry::builder("shop").service_name("Shop \"1\"");
    let scrape = scrape(&telemetry.build().unwrap()).await;
    let labels = [("service_name", "Shop \"1\"")];
    assert_eq!(scrape.values("target_info", &labels), [1.0]);
}

/// A service under load and a store in use: everything that the table names has a series.
async fn in_use() -> Telemetry {
    let telemetry = telemetry();
    let visitors = Visitors::embedded(MemoryStore::new(), Secret::from_bytes(b"secret"));
    let funnel = FunnelLayer::builder().stage(Stage::new("browse"));
    let funnel = funnel.visitors(visitors).build().unwrap();
    telemetry.watch(&funnel.tally());
    telemetry.watch(&funnel.visitor_tally().unwrap());
    telemetry.timer::<Steps>()("browse", "view", Duration::from_secs(5));
    let limit = RateLimitLayer::embedded(MemoryStore::new()).policy(Policy::ip());
    telemetry.watch(&limit.build().unwrap().tally());
    let suspicion = SuspicionLayer::embedded(MemoryStore::new());
    telemetry.watch(&suspicion.build().unwrap().tally());
    let segments = ClassifyLayer::builder(MemoryStore::new()).actions(["checkout"]);
    let segments = segments.build().unwrap();
    let tally = segments.tally().unwrap();
    telemetry.watch(&tally);
    let _customers = segments.customers();
    while tally.population().is_none() {
        tokio::task::yield_now().await;
    }
    telemetry.watch(&Arc::new(Store::default()));
    for operation in Operation::ALL {
        for outcome in Outcome::ALL {
            telemetry.timer::<Calls>()(operation, outcome, Duration::from_millis(1));
        }
    }
    for (status, content_type) in [(200, "text/plain"), (503, "application/grpc")] {
        let service = telemetry.http_layer().layer(service_fn(move |_| {
            let response = Response::builder().status(status);
            ready(response.body(Empty::<Bytes>::new()))
        }));
        let request = Request::post("/").header("content-type", content_type);
        service.oneshot(request.body(()).unwrap()).await.unwrap();
    }
    telemetry
}

#[tokio::test]
async fn prometheus_sees_the_table_and_nothing_else() {
    let Exposition(mut families) = scrape(&in_use().await).await;
    assert!(families.remove("target_info").is_some());
    for instrument in table::all() {
        let (name, kind, help, labels) = instrument.in_prometheus("shop_");
        let family = families.remove(&name).expect(&name);
        assert_eq!(family.kind, kind, "{name}");
        assert_eq!(family.help, help, "{name}");
        let seen: BTreeSet<_> = family
            .samples
            .iter()
            .flat_map(|sample| sample.labels.keys().map(String::as_str))
            .filter(|key| *key != "le")
            .collect();
        assert_eq!(seen, labels.iter().map(String::as_str).collect(), "{name}");
    }
    assert!(families.is_empty(), "{families:?}");
}

#[tokio::test]
async fn the_names_are_those_of_the_documentation() {
    let Exposition(families) = scrape(&in_use().await).await;
    let names: Vec<_> = families.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "http_server_active_requests",
            "http_server_request_duration_seconds",
            "shop_customer_changes_total",
            "shop_customer_segment_total",
            "shop_customer_swept_total",
            "shop_customer_unclassified_total",
            "shop_customer_unconverted_total",
            "shop_customers",
            "shop_funnel_reaches_total",
            "shop_funnel_stage_total",
            "shop_funnel_step_duration_seconds",
            "shop_funnel_visitors_total",
            "shop_rate_limit_exceeded_total",
            "shop_rate_limit_requests_total",
            "shop_security_banned_requests_total",
            "shop_security_bans_total",
            "shop_security_failures_total",
            "shop_security_suspicious_activity_total",
            "shop_store_breaker_open",
            "shop_store_corrupt_keys_total",
            "shop_store_operation_duration_seconds",
            "target_info",
        ]
    );
}

#[tokio::test]
async fn the_buckets_are_those_of_the_conventions() {
    let scrape = scrape(&in_use().await).await;
    let bounds = |name: &str, labels: &[(&str, &str)]| -> Vec<String> {
        let samples = scrape.0[name].samples.iter();
        samples
            .filter(|sample| {
                let has = |(key, value): &(&str, &str)| sample.labels[*key] == *value;
                sample.name.ends_with("_bucket") && labels.iter().all(has)
            })
            .map(|sample| sample.labels["le"].clone())
            .collect()
    };
    let http = bounds(
        "http_server_request_duration_seconds",
        &[("http_response_status_code", "200")],
    );
    assert_eq!(
        http.join(" "),
        "0.005 0.01 0.025 0.05 0.075 0.1 0.25 0.5 0.75 1 2.5 5 7.5 10 +Inf"
    );
}

#[tokio::test]
async fn a_flood_of_the_services_own_routes_ends_in_one_overflow_series() {
    let telemetry = telemetry();
    let layer =
        telemetry
            .http_layer()
            .route(|_: &http::Method, uri: &http::Uri, _: &http::Extensions| {
                Some(Route::from(Arc::<str>::from(uri.path())))
            });
    let service = layer.layer(service_fn(|_| {
        ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())))
    }));
    for path in 0..5_100 {
        let request = Request::builder().uri(format!("/{path}")).body(()).unwrap();
        service.clone().oneshot(request).await.unwrap();
    }
    let scrape = scrape(&telemetry).await;
    let count = "http_server_request_duration_seconds_count";
    assert_eq!(scrape.labels(count).len(), 5_001);
    assert_eq!(
        scrape.values(count, &[("otel_metric_overflow", "true")]),
        [100.0]
    );
}
