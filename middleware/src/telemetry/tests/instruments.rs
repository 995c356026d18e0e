use super::super::Telemetry;
use super::exposition::scrape;

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
