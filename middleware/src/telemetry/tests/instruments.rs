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
use crate::funnel::Steps;
use crate::model::{Operation, Outcome, Route};
use crate::server::Server;
use crate::store::Calls;

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
    let stack = table::everything();
    stack.measure(&telemetry);
    telemetry.timer::<Steps>()("browse", "view", Duration::from_secs(5));
    let tally = stack.segment_tally().unwrap();
    let _customers = stack.customers();
    while tally.population().is_none() {
        tokio::task::yield_now().await;
    }
    telemetry.watch(&Arc::new(Store::default()));
    telemetry.watch(&Server::new().counts());
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
    let documented = include_str!("../mod.rs").lines().filter_map(|line| {
        let (name, _) = line.strip_prefix("//! | `")?.split_once('`')?;
        ["shop_", "http_server_"]
            .iter()
            .any(|it| name.starts_with(it))
            .then_some(name)
    });
    let documented: BTreeSet<_> = documented.chain(["target_info"]).collect();
    let exported: BTreeSet<_> = families.keys().map(String::as_str).collect();
    assert_eq!(exported, documented);
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
