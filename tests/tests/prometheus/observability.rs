//! What operators see: a real Prometheus reads the service, and no client can make it see more.

use std::collections::BTreeSet;

use palisade_tests::prometheus::Prometheus;
use palisade_tests::redis::RedisServer;
use palisade_tests::webstore::{PATIENT, Webstore};

/// The contract's metrics so far: name, type, labels.
const METRICS: &[(&str, &str, &[&str])] = &[
    (
        "webstore_rate_limit_requests_total",
        "counter",
        &["policy", "result"],
    ),
    (
        "webstore_rate_limit_exceeded_total",
        "counter",
        &["limit_type"],
    ),
    (
        "webstore_security_suspicious_activity_total",
        "counter",
        &["type"],
    ),
    ("webstore_security_failures_total", "counter", &["result"]),
    (
        "webstore_store_operation_duration_seconds",
        "histogram",
        &["operation", "outcome"],
    ),
    (
        "http_server_request_duration_seconds",
        "histogram",
        &[
            "http_request_method",
            "http_response_status_code",
            "http_route",
            "network_protocol_version",
            "url_scheme",
        ],
    ),
    (
        "http_server_active_requests",
        "gauge",
        &["http_request_method", "url_scheme"],
    ),
    (
        "webstore_funnel_stage_total",
        "counter",
        &["country", "payment_method", "stage"],
    ),
    (
        "webstore_funnel_visitors_total",
        "counter",
        &["country", "stage"],
    ),
    ("webstore_funnel_reaches_total", "counter", &["result"]),
    (
        "webstore_funnel_step_duration_seconds",
        "histogram",
        &["from", "to"],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_real_prometheus_finds_every_metric_with_its_name_type_help_and_labels() {
    let redis = RedisServer::start();
    let webstore = Webstore::start(Some(&redis.url()), PATIENT);
    let client = webstore.client();
    let user = [("authorization", "Bearer user-token-ada")];
    let visitor = [("authorization", "Bearer user-token-bob")];
    for path in ["/us/products", "/us/products/1"] {
        client.get(path, &visitor).await;
    }
    for _ in 0..61 {
        client.get("/us/products", &user).await;
    }
    let prometheus = Prometheus::start(&[&webstore.admin]).await;
    let up = prometheus
        .ask("/api/v1/query?query=up", |data| {
            data["result"][0]["value"][1] == "1"
        })
        .await;
    assert_eq!(up["result"][0]["metric"]["job"], "webstore");

    let metadata = prometheus
        .ask("/api/v1/metadata", |data| {
            METRICS.iter().all(|(name, ..)| data[*name].is_array())
        })
        .await;
    for &(name, kind, labels) in METRICS {
        assert_eq!(metadata[name][0]["type"], kind, "{name}");
        assert!(
            metadata[name][0]["help"]
                .as_str()
                .is_some_and(|help| help.len() > 10),
            "{name} has no help"
        );
        let sample = if kind == "histogram" {
            format!("{name}_count")
        } else {
            name.to_owned()
        };
        let found = prometheus
            .ask(&format!("/api/v1/query?query={sample}"), |data| {
                data["result"].as_array().is_some_and(|r| !r.is_empty())
            })
            .await;
        let mut of_any = BTreeSet::new();
        for series in found["result"].as_array().unwrap() {
            let found: BTreeSet<_> = series["metric"]
                .as_object()
                .unwrap()
                .keys()
                .map(String::as_str)
                .collect();
            let known = labels
                .iter()
                .copied()
                .chain(["__name__", "job", "instance", "error_type"])
                .collect();
            assert!(found.is_subset(&known), "{name} has labels {found:?}");
            // Prometheus keeps no empty label, which this is on stages without a payment.
            let kept = |label: &&str| found.contains(label) || *label == "payment_method";
            assert!(labels.iter().all(kept), "{name} has labels {found:?}");
            of_any.extend(found);
        }
        assert!(
            labels.iter().all(|label| of_any.contains(label)),
            "{name} has labels {of_any:?}"
        );
    }
    let query =
        "/api/v1/query?query=webstore_rate_limit_exceeded_total%7Blimit_type%3D%22user%22%7D";
    let denied = prometheus
        .ask(query, |data| data["result"][0]["value"][1] == "1")
        .await;
    assert_eq!(denied["result"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn every_series_with_a_known_set_of_values_is_there_at_zero_from_the_start() {
    let webstore = Webstore::start(None, "");
    let scrape = webstore.scrape().await;
    for policy in ["ip", "user"] {
        for result in [
            "admitted",
            "denied",
            "dry_run_denied",
            "fallback_admitted",
            "fallback_denied",
        ] {
            let labels = [("policy", policy), ("result", result)];
            let found: Vec<_> = scrape
                .matching("webstore_rate_limit_requests_total", &labels)
                .collect();
            assert_eq!((found.len(), found[0].value), (1, 0.0), "{labels:?}");
        }
        let labels = [("limit_type", policy)];
        assert_eq!(
            scrape
                .matching("webstore_rate_limit_exceeded_total", &labels)
                .count(),
            1
        );
    }
    for (name, label, values) in [
        (
            "webstore_security_suspicious_activity_total",
            "type",
            &[
                "credential_stuffing",
                "endpoint_scanning",
                "abuse",
                "credential_stuffing_slow",
                "password_spraying",
                "distributed_stuffing",
                "success_after_failures",
            ][..],
        ),
        (
            "webstore_security_failures_total",
            "result",
            &["counted", "counted_locally", "dropped"],
        ),
    ] {
        for value in values {
            let labels = [(label, *value)];
            let found: Vec<_> = scrape.matching(name, &labels).collect();
            assert_eq!((found.len(), found[0].value), (1, 0.0), "{labels:?}");
        }
        assert_eq!(scrape.matching(name, &[]).count(), values.len());
    }
    assert!(scrape.matching("http_server_active_requests", &[]).count() > 0);
}

#[tokio::test]
async fn nothing_that_a_client_chooses_makes_a_new_series_once_its_kind_was_seen() {
    let config = format!(
        "{PATIENT}[client]\ntrusted_proxies = ['127.0.0.0/8']\n\
         [rate_limit]\nip = '1000000/1m'\nuser = '1000000/1m'\n"
    );
    let redis = RedisServer::start();
    let webstore = Webstore::start(Some(&redis.url()), &config);
    let client = webstore.client();
    let hostile = async |n: usize| {
        let method = http::Method::from_bytes(format!("EVIL{n}").as_bytes()).unwrap();
        client.send(method, "/us/products", &[], "").await;
        client.get(&format!("/wp-admin/{n}/x.php"), &[]).await;
        client
            .get(&format!("/us/products/{n}{n}{n}{n}{n}{n}"), &[])
            .await;
        client
            .get(&format!("/us/products/%22%0a{{}}{n}"), &[])
            .await;
        client.get(&format!("/c{n}/products"), &[]).await;
        client
            .get(
                &format!("/us/products?q={n}"),
                &[("host", &format!("evil{n}.example"))],
            )
            .await;
        let header = format!("\"{n}\\, le=\"1");
        let address = format!("203.0.113.{n}");
        let headers = [
            ("x-forwarded-for", &*address),
            ("x-forwarded-proto", &*header),
            ("user-agent", &*header),
            ("content-type", &*header),
            ("traceparent", &*header),
        ];
        client.get("/us/products", &headers).await;
        let token = format!("Bearer user-token-u{n}");
        client
            .get("/us/products", &[("authorization", &token)])
            .await;
        client
            .get(
                "/us/products",
                &[("authorization", &format!("Bearer {header}"))],
            )
            .await;
        client
            .post(
                "/us/orders",
                &[],
                &format!(r#"{{"order_id":"{n}","payment_method":"evil{n}"}}"#),
            )
            .await;
        client.post("/us/cart", &[], "{{{").await;
        client
            .post(
                "/login",
                &[],
                &format!(r#"{{"user":"u{n}","password":"{n}"}}"#),
            )
            .await;
    };
    for n in 0..3 {
        hostile(n).await;
    }
    let before = webstore.scrape().await.series();
    for n in 3..100 {
        hostile(n).await;
    }
    let after = webstore.scrape().await.series();
    let new: Vec<_> = after.difference(&before).collect();
    assert!(new.is_empty(), "new series: {new:?}");
    assert!(
        !after
            .iter()
            .any(|series| series.to_ascii_lowercase().contains("evil"))
    );
}
