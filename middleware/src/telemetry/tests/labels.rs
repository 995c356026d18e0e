//! What a client sends never becomes a label.
use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::Empty;
use tower::{Layer, ServiceExt, service_fn};

use super::exposition::{scrape, telemetry};
use crate::model::Route;

const COUNT: &str = "http_server_request_duration_seconds_count";
const ACTIVE: &str = "http_server_active_requests";

#[tokio::test]
async fn the_route_is_the_resolvers_template() {
    let telemetry = telemetry();
    let template: Arc<str> = "/{country}/products/{id}".into();
    let layer = telemetry.http_layer().route(
        move |_: &http::Method, uri: &http::Uri, _: &http::Extensions| {
            uri.path()
                .starts_with("/us/products/")
                .then(|| Route::from(Arc::clone(&template)))
        },
    );
    let service = layer.layer(service_fn(|_| {
        ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())))
    }));
    for path in ["/us/products/1", "/us/products/2", "/.env", "/wp-admin"] {
        let request = Request::builder().uri(path).body(()).unwrap();
        service.clone().oneshot(request).await.unwrap();
    }
    let scrape = scrape(&telemetry).await;
    let of = |route| scrape.values(COUNT, &[("http_route", route)]);
    assert_eq!(of("/{country}/products/{id}"), [2.0]);
    assert_eq!(of("unmatched"), [2.0]);
}

#[tokio::test]
async fn the_scheme_is_the_layers_setting_and_not_the_requests_target() {
    let telemetry = telemetry();
    let ok = service_fn(|_| ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))));
    let request = || Request::builder().uri("gopher://evil.example/");
    let plain = telemetry.http_layer().layer(ok);
    plain.oneshot(request().body(()).unwrap()).await.unwrap();
    let tls = telemetry.http_layer().https().layer(ok);
    tls.oneshot(request().body(()).unwrap()).await.unwrap();
    let scrape = scrape(&telemetry).await;
    assert_eq!(scrape.values(COUNT, &[("url_scheme", "http")]), [1.0]);
    assert_eq!(scrape.values(COUNT, &[("url_scheme", "https")]), [1.0]);
    assert_eq!(scrape.values(COUNT, &[]).len(), 2);
    assert_eq!(scrape.values(ACTIVE, &[]), [0.0; 22]);
}

#[tokio::test]
async fn methods_are_known_ones_or_other() {
    let telemetry = telemetry();
    let ok = service_fn(|_| ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))));
    let service = telemetry.http_layer().layer(ok);
    let ask = async |method| {
        let request = Request::builder().method(method).body(()).unwrap();
        service.clone().oneshot(request).await.unwrap();
    };
    let known = [
        "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE",
    ];
    for method in known {
        ask(method).await;
    }
    for method in ["get", "EVIL0", "EVIL1", "PROPFIND", "_OTHER"] {
        ask(method).await;
    }
    let scrape = scrape(&telemetry).await;
    for method in known {
        assert_eq!(
            scrape.values(COUNT, &[("http_request_method", method)]),
            [1.0]
        );
    }
    assert_eq!(
        scrape.values(COUNT, &[("http_request_method", "_OTHER")]),
        [5.0]
    );
    assert_eq!(scrape.values(ACTIVE, &[]), [0.0; 11]);
}

#[tokio::test]
async fn the_number_of_series_stays_once_each_kind_of_input_was_seen() {
    let telemetry = telemetry();
    let not_found = service_fn(|_| {
        let response = Response::builder().status(404);
        ready(Ok::<_, Infallible>(
            response.body(Empty::<Bytes>::new()).unwrap(),
        ))
    });
    let service = telemetry.http_layer().layer(not_found);
    let attack = async |round: usize| {
        let methods = ["GET".into(), format!("EVIL{round}"), format!("get{round}")];
        for method in &methods {
            for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
                for uri in [
                    format!("/{round}/.env?session={round}"),
                    format!("http://host-{round}.example/%00%0a\"{round}"),
                    format!("ftp://evil-{round}.example:{}/x", 1000 + round),
                ] {
                    let request = Request::builder()
                        .method(&**method)
                        .version(version)
                        .uri(uri.replace('"', "%22"))
                        .header("host", format!("host-{round}"))
                        .header("user-agent", format!("agent-{round}\t\u{e9}"))
                        .header("x-forwarded-proto", format!("proto{round}"))
                        .body(())
                        .unwrap();
                    service.clone().oneshot(request).await.unwrap();
                }
            }
        }
    };
    attack(0).await;
    let seen = scrape(&telemetry).await;
    for round in 1..50 {
        attack(round).await;
    }
    let after = scrape(&telemetry).await;
    assert_eq!(after.series(), seen.series());
    let requests: f64 = after.values(COUNT, &[]).into_iter().sum();
    assert_eq!(requests, 50.0 * 27.0, "and none was lost");
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn with_axum_the_route_is_the_matched_path() {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;

    let telemetry = telemetry();
    let router = Router::new()
        .route("/{country}/products/{id}", get(async || "a teapot"))
        .layer(telemetry.http_layer());
    for path in [
        "/us/products/1",
        "/gb/products/2",
        "/.env",
        "/us/products/1/.git",
    ] {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        axum::body::to_bytes(response.into_body(), 64)
            .await
            .unwrap();
    }
    let scrape = scrape(&telemetry).await;
    let of = |route, status| {
        let labels = [("http_route", route), ("http_response_status_code", status)];
        scrape.values(COUNT, &labels)
    };
    assert_eq!(of("/{country}/products/{id}", "200"), [2.0]);
    assert_eq!(of("unmatched", "404"), [2.0]);
    assert_eq!(scrape.values(ACTIVE, &[]), [0.0; 11]);
}
