//! What is counted, under which labels, and what never becomes one.

use super::*;

#[tokio::test]
async fn every_series_is_there_at_zero_from_the_start_and_no_other() {
    let webstore = Webstore::start(None, "");
    let scrape = webstore.scrape().await;
    for segment in ["new", "returning", "at_risk", "churned", "vip"] {
        for action in ["browse_catalog", "view_product", "add_to_cart", "checkout"] {
            for country in ["US", "GB", "DE", "FR", "JP", "BR", "IN", "other"] {
                let labels = [
                    ("segment", segment),
                    ("action", action),
                    ("country", country),
                ];
                let values: Vec<_> = scrape.matching(COUNTED, &labels).collect();
                assert!(matches!(values[..], [it] if it.value == 0.0), "{labels:?}");
            }
        }
    }
    assert_eq!(scrape.matching(COUNTED, &[]).count(), 5 * 4 * 8);
    let unclassified = "webstore_customer_unclassified_total";
    assert_eq!(scrape.matching(unclassified, &[]).count(), 1);
    // Known from the start too, without a visit.
    webstore
        .scrape_until("the population is counted", SOON, |scrape| {
            population(scrape) == Some([0.0; 4])
        })
        .await;
}

#[tokio::test]
async fn segments_that_are_off_have_no_series_and_write_nothing() {
    let redis = RedisServer::start();
    let config = format!("{PATIENT}[segments]\nenabled = false\n");
    let webstore = Webstore::start(Some(&redis.url()), &config);
    visit(&webstore.client(), "ada").await;
    let scrape = webstore.scrape().await;
    assert_eq!(scrape.matching(COUNTED, &[]).count(), 0);
    assert_eq!(redis.cli(&["KEYS", "*customer*"]), "");
}

#[tokio::test]
async fn the_four_actions_count_by_what_the_customer_was_before() {
    for redis in [None, Some(RedisServer::start())] {
        let url = redis.as_ref().map(RedisServer::url);
        let webstore = Webstore::start(url.as_deref(), &config());
        let client = webstore.client();
        visit(&client, "ada").await;
        visit(&client, "ada").await;
        let token = [("authorization", "Bearer user-token-ada")];
        assert_eq!(client.get("/us/products/1", &token).await.status, 200);
        order(&client, "ada", "A-1", 1).await;
        // A repeat is no checkout, nor is what fails; an anonymous visitor is no customer.
        checkout(&client, "ada", "A-1").await;
        assert_eq!(client.get("/us/products/999", &token).await.status, 404);
        assert_eq!(client.get("/us/products", &[]).await.status, 200);
        let scrape = webstore.scrape().await;
        let expected = [
            ("new", "browse_catalog", 1.0),
            ("returning", "browse_catalog", 1.0),
            ("returning", "view_product", 1.0),
            ("returning", "add_to_cart", 1.0),
            ("returning", "checkout", 1.0),
        ];
        for (segment, action, count) in expected {
            assert_eq!(
                counted(&scrape, segment, action),
                count,
                "{segment} {action}"
            );
        }
        assert_eq!(scrape.sum(COUNTED, &[]), 5.0);
        assert_eq!(scrape.sum(COUNTED, &[("country", "US")]), 1.0);
        assert_eq!(scrape.sum(COUNTED, &[("country", "GB")]), 4.0);
    }
}

#[tokio::test]
async fn the_request_after_an_order_of_more_than_500_is_a_vips() {
    let webstore = Webstore::start(None, &config());
    let client = webstore.client();
    let price = order(&client, "bob", "B-0", 1).await;
    let enough = u32::try_from(50_000 / price + 1).unwrap();
    order(&client, "ada", "A-1", enough).await;
    visit(&client, "ada").await;
    visit(&client, "bob").await;
    let scrape = webstore.scrape().await;
    assert_eq!(counted(&scrape, "vip", "browse_catalog"), 1.0);
    assert_eq!(counted(&scrape, "returning", "browse_catalog"), 1.0);
    for n in 1..6 {
        order(&client, "bob", &format!("B-{n}"), 1).await;
    }
    visit(&client, "bob").await;
    let scrape = webstore.scrape().await;
    assert_eq!(counted(&scrape, "vip", "browse_catalog"), 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_users_makes_no_series() {
    let redis = RedisServer::start();
    let webstore = Webstore::start(Some(&redis.url()), &config());
    let client = webstore.client();
    // The histogram of the first request, and the population.
    visit(&client, "ada").await;
    let first = webstore
        .scrape_until("the population is counted", SOON, |scrape| {
            population(scrape).is_some_and(|it| it[0] == 1.0)
        })
        .await;
    for n in 0..2_000 {
        let country = ["us", "uk", "xx", "zz"][n % 4];
        let path = format!("/{country}/products");
        let token = format!("Bearer user-token-{n}.{}", "x".repeat(n % 50));
        client.get(&path, &[("authorization", &token)]).await;
    }
    let scrape = webstore
        .scrape_until("all are known", SOON, |scrape| {
            population(scrape).is_some_and(|it| it[0] == 2_001.0)
        })
        .await;
    let names = [COUNTED, POPULATION, "webstore_customer_changes_total"];
    for name in names {
        let of = |scrape: &Scrape| scrape.matching(name, &[]).count();
        assert_eq!(of(&scrape), of(&first), "{name}");
    }
    assert_eq!(counted(&scrape, "new", "browse_catalog"), 1_001.0);
    let lost = [("result", "lost")];
    assert_eq!(scrape.sum("webstore_customer_changes_total", &lost), 0.0);
}
