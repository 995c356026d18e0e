use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceExt, service_fn};

use super::*;
use crate::client::Peer;
use crate::log::Lines;
use crate::model::{
    Class, Client, Exchange, Exemptions, PolicyResult, Reason, Rejected, UserId, Written,
};
use crate::stack::Stack;

fn on() -> MaintenanceConfig {
    MaintenanceConfig {
        on: true,
        retry_after: Duration::from_millis(90_500),
        ..MaintenanceConfig::default()
    }
}

/// What the inner service got to answer: its name.
async fn inner(_: Request<()>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new("inner".into()))
}

fn from(octet: u8) -> Request<()> {
    let mut request = Request::new(());
    let mut client = Client::new([192, 0, 2, octet].into(), 64);
    client.route = "/products/{id}".into();
    request.extensions_mut().insert(client);
    request
}

async fn ask(layer: &MaintenanceLayer, request: Request<()>) -> Response<Bytes> {
    let response = layer.layer(service_fn(inner)).oneshot(request).await;
    let (head, body) = response.unwrap().into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn refuses_with_503_and_says_when_to_come_back() {
    let layer = MaintenanceLayer::new(on()).unwrap();
    let refused = ask(&layer, from(1)).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()[RETRY_AFTER], "91");
    assert_eq!(refused.headers()[CONTENT_TYPE], "application/problem+json");
    let problem: serde_json::Value = serde_json::from_slice(refused.body()).unwrap();
    let wanted = serde_json::json!({
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "The service is closed for maintenance. Try again later.",
    });
    assert_eq!(problem, wanted);
    let rejected = refused.extensions().get::<Rejected>().unwrap();
    assert_eq!(rejected.reason, Reason::MAINTENANCE);
    assert_eq!((layer.tally().refused(), layer.tally().exempt()), (1, 0));
}

#[tokio::test]
async fn a_grpc_call_ends_with_unavailable() {
    let layer = MaintenanceLayer::new(on()).unwrap();
    let mut call = from(1);
    *call.method_mut() = Method::POST;
    let kind = HeaderValue::from_static("application/grpc");
    call.headers_mut().insert(CONTENT_TYPE, kind);
    let refused = ask(&layer, call).await;
    assert_eq!(refused.status(), 200);
    assert_eq!(refused.headers()["grpc-status"], "14");
    assert!(refused.headers().contains_key("grpc-status-details-bin"));
}

#[tokio::test]
async fn exempt_networks_users_and_routes_pass_and_are_counted() {
    let mut settings = on();
    settings.exempt = Exemptions::new()
        .cidrs(["192.0.2.7"])
        .unwrap()
        .users(["operator"])
        .unwrap()
        .routes(["GET /healthz".parse().unwrap()]);
    let layer = MaintenanceLayer::new(settings).unwrap();
    let mut operator = from(1);
    let user = UserId::new("operator", &crate::model::Secret::from_bytes(b"key"));
    operator.extensions_mut().get_mut::<Client>().unwrap().user = Some(user);
    let mut health = from(1);
    health.extensions_mut().get_mut::<Client>().unwrap().route = "/healthz".into();
    for request in [from(7), operator, health] {
        assert_eq!(ask(&layer, request).await.body(), "inner");
    }
    assert_eq!(ask(&layer, from(8)).await.status(), 503);
    assert_eq!((layer.tally().refused(), layer.tally().exempt()), (1, 3));
}

#[tokio::test]
async fn off_it_lets_everything_pass_and_counts_nothing() {
    for layer in [
        MaintenanceLayer::default(),
        MaintenanceLayer::new(MaintenanceConfig::default()).unwrap(),
    ] {
        assert_eq!(ask(&layer, from(1)).await.body(), "inner");
        assert_eq!((layer.tally().refused(), layer.tally().exempt()), (0, 0));
        assert!(!layer.tally().is_on());
    }
}

#[tokio::test]
async fn without_a_client_nothing_is_exempt_and_a_line_says_why() {
    let (lines, _guard) = Lines::capture();
    let mut settings = on();
    settings.exempt = Exemptions::new().cidrs(["0.0.0.0/0"]).unwrap();
    let layer = MaintenanceLayer::new(settings).unwrap();
    for _ in 0..2 {
        assert_eq!(ask(&layer, Request::new(())).await.status(), 503);
    }
    assert_eq!(
        lines.take(),
        [
            "WARN maintenance_on retry_after=1m30s500ms",
            "WARN maintenance_without_client",
        ]
    );
}

#[tokio::test]
async fn a_place_that_the_service_inside_reserved_is_given_back() {
    let inner = tower::limit::ConcurrencyLimit::new(service_fn(inner), 1);
    let mut other = inner.clone();
    let layer = MaintenanceLayer::new(on()).unwrap();
    let mut service = layer.layer(inner);
    service.ready().await.unwrap().call(from(1)).await.unwrap();
    other.ready().await.unwrap();
}

/// What an observer was told of a request: its verdict, and how it is counted.
type Told = Arc<Mutex<Vec<(&'static str, PolicyResult, Class)>>>;

#[tokio::test]
async fn in_a_stack_a_refusal_is_observed_by_its_name_and_charges_nothing() {
    let config = crate::config::Config {
        maintenance: on(),
        ..Default::default()
    };
    let told = Told::default();
    let seen = Arc::clone(&told);
    let stack = Stack::builder()
        .config(config)
        .observe(move |exchange: &Exchange<'_>| {
            let verdict = (exchange.verdict(), exchange.result, exchange.class());
            seen.lock().unwrap().push(verdict);
        })
        .build()
        .unwrap();
    let mut request = Request::new(());
    let peer = Peer(([192, 0, 2, 1], 5000).into());
    request.extensions_mut().insert(peer);
    let response = stack.layer(service_fn(inner)).oneshot(request).await;
    let response = response.unwrap();
    assert_eq!(response.status(), 503);
    assert!(!response.headers().contains_key("ratelimit"));
    let wanted = ("maintenance", PolicyResult::None, Class::Refused);
    assert_eq!(*told.lock().unwrap(), [wanted]);
    assert!(
        stack
            .tally()
            .policies()
            .all(|(_, counts)| counts.admitted == 0)
    );
}

#[cfg(feature = "otel")]
#[tokio::test]
async fn the_http_metrics_name_a_refusal_whether_of_http_or_of_grpc() {
    let config = crate::config::Config {
        maintenance: on(),
        ..Default::default()
    };
    let telemetry = crate::telemetry::Telemetry::builder("shop")
        .build()
        .unwrap();
    let stack = Stack::builder().config(config);
    let stack = stack.build_measured(&telemetry).unwrap();
    for kind in ["text/plain", "application/grpc"] {
        let request = Request::post("/").header(CONTENT_TYPE, kind);
        let service = stack.layer(service_fn(inner));
        let response = service.oneshot(request.body(()).unwrap()).await.unwrap();
        response.into_body().collect().await.unwrap();
    }
    let metrics = telemetry.prometheus().unwrap().scrape().await.unwrap();
    let metrics = str::from_utf8(&metrics).unwrap();
    let counts: Vec<_> = metrics
        .lines()
        .filter(|line| line.starts_with("http_server_request_duration_seconds_count"))
        .collect();
    assert_eq!(counts.len(), 2, "{counts:#?}");
    for count in counts {
        assert!(count.contains(r#"error_type="maintenance""#), "{count}");
    }
    assert!(metrics.contains("shop_maintenance_requests_total{result=\"refused\"} 2"));
}

#[test]
fn a_time_to_come_back_that_cannot_be_used_is_refused_by_name() {
    for bad in [Duration::from_millis(999), Duration::from_secs(604_801)] {
        let mut settings = on();
        settings.retry_after = bad;
        let error = MaintenanceLayer::new(settings).unwrap_err().to_string();
        let told = Written(bad);
        let wanted = format!("`maintenance.retry_after` cannot be `{told}`: allowed is 1s to 7d");
        assert_eq!(error, wanted);
    }
}

#[cfg(feature = "serde")]
#[test]
fn the_section_is_read_and_a_mistake_is_told_by_its_key() {
    use crate::config::Config;
    let read = |text: &str| Config::from_toml(text).map(|config| config.maintenance);
    assert!(!read("").unwrap().on);
    assert!(!read("[maintenance]\nmode = 'off'").unwrap().on);
    let settings = read("[maintenance]\nmode = 'on'\nretry_after = '2h'").unwrap();
    assert!(settings.on);
    assert_eq!(settings.retry_after, Duration::from_secs(7_200));
    for (text, key) in [
        ("maintenance.mode = 'closed'", "maintenance.mode"),
        (
            "maintenance.retry_after = 'soon'",
            "maintenance.retry_after",
        ),
        (
            "maintenance.exempt.cidrs = ['x']",
            "maintenance.exempt.cidrs",
        ),
        ("maintenance.until = '2h'", "until"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(key), "{error}");
    }
}
