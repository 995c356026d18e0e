//! Visitors of the whole service: each counts once for each stage, in order, whatever the process and however often the
//! page is refreshed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use http::Method;
use palisade_tests::SOON;
use palisade_tests::http::Client;
use palisade_tests::metrics::Scrape;
use palisade_tests::redis::RedisServer;
use palisade_tests::time::undisturbed;
use palisade_tests::webstore::{PATIENT, Webstore};

const VISITORS: &str = "webstore_funnel_visitors_total";
const REACHES: &str = "webstore_funnel_reaches_total";
const EVENTS: &str = "webstore_funnel_stage_total";
const STEPS: &str = "webstore_funnel_step_duration_seconds_count";
const STAGES: [&str; 4] = [
    "browse_catalog",
    "view_product",
    "add_to_cart",
    "checkout_complete",
];
const COUNTRIES: [&str; 8] = ["US", "GB", "DE", "FR", "JP", "BR", "IN", "other"];
const FATES: [&str; 5] = ["counted", "repeated", "out_of_order", "dropped", "failed"];
/// Clients behind a trusted proxy, none of them near its limit.
const UNLIMITED: &str = "[client]\ntrusted_proxies = ['127.0.0.0/8']\n\
                         [rate_limit]\nip = '1000000/1m'\nuser = '1000000/1m'\n";

/// What became of the reaches, in the order of [`FATES`].
fn fates(scrape: &Scrape) -> [u64; 5] {
    FATES.map(|fate| {
        let labels = [("result", fate)];
        assert_eq!(scrape.matching(REACHES, &labels).count(), 1, "{fate}");
        scrape.sum(REACHES, &labels) as u64
    })
}

/// A scrape after every reach of the funnel so far was settled: within one scrape, some metrics are read before others.
async fn settled(webstore: &Webstore) -> Scrape {
    webstore
        .scrape_until("every reach is settled", SOON, |scrape| {
            scrape.sum(REACHES, &[]) == scrape.sum(EVENTS, &[])
        })
        .await;
    webstore.scrape().await
}

/// Visitors by stage, of all countries.
fn by_stage(scrape: &Scrape) -> [u64; 4] {
    STAGES.map(|stage| scrape.sum(VISITORS, &[("stage", stage)]) as u64)
}

/// Visitors by stage and country, without those at 0.
fn visitors(scrape: &Scrape) -> BTreeMap<(String, String), u64> {
    let series: Vec<_> = scrape.matching(VISITORS, &[]).collect();
    assert_eq!(series.len(), STAGES.len() * COUNTRIES.len());
    let counted = series.into_iter().filter(|sample| sample.value > 0.0);
    counted
        .map(|sample| {
            assert_eq!(sample.labels.len(), 2, "{sample:?}");
            let labels = &sample.labels;
            let key = (labels["stage"].clone(), labels["country"].clone());
            (key, sample.value as u64)
        })
        .collect()
}

/// How many steps were measured, for each pair of consecutive stages.
fn steps(scrape: &Scrape) -> [u64; 3] {
    let pairs = [0, 1, 2].map(|from| {
        let labels = [("from", STAGES[from]), ("to", STAGES[from + 1])];
        scrape.sum(STEPS, &labels) as u64
    });
    assert_eq!(scrape.sum(STEPS, &[]) as u64, pairs.iter().sum::<u64>());
    pairs
}

/// A visitor of the shop, by the address or the user.
struct Person<'a> {
    client: &'a Client,
    header: (&'static str, String),
    country: &'a str,
}

impl<'a> Person<'a> {
    fn user(client: &'a Client, id: &str, country: &'a str) -> Self {
        let header = ("authorization", format!("Bearer user-token-{id}"));
        Self {
            client,
            header,
            country,
        }
    }

    fn at(client: &'a Client, address: &str, country: &'a str) -> Self {
        let header = ("x-forwarded-for", address.to_owned());
        Self {
            client,
            header,
            country,
        }
    }

    async fn send(&self, method: Method, path: &str, body: &str) -> u16 {
        let path = format!("/{}/{path}", self.country);
        let headers = [(self.header.0, &*self.header.1)];
        let reply = self.client.send(method, &path, &headers, body).await;
        reply.status.as_u16()
    }

    async fn browse(&self) {
        assert_eq!(self.send(Method::GET, "products", "").await, 200);
    }

    async fn view(&self) {
        assert_eq!(self.send(Method::GET, "products/7", "").await, 200);
    }

    async fn fill_cart(&self) {
        let body = r#"{"product_id": 1, "quantity": 1}"#;
        assert_eq!(self.send(Method::POST, "cart", body).await, 200);
    }

    async fn order(&self, id: &str, payment_method: &str) {
        let body = format!(r#"{{"order_id": "{id}", "payment_method": "{payment_method}"}}"#);
        assert_eq!(self.send(Method::POST, "orders", &body).await, 201);
    }
}

#[tokio::test]
async fn every_series_of_the_visitors_is_there_at_zero_from_the_start() {
    let webstore = Webstore::start(None, "");
    let scrape = webstore.scrape().await;
    assert!(visitors(&scrape).is_empty());
    assert_eq!(fates(&scrape), [0; 5]);
    assert_eq!(steps(&scrape), [0; 3]);
}

#[tokio::test]
async fn the_four_stages_count_visitors_by_country_whatever_they_paid_with() {
    let redis = RedisServer::start();
    for url in [None, Some(redis.url())] {
        let webstore = Webstore::start(url.as_deref(), &format!("{PATIENT}{UNLIMITED}"));
        let client = webstore.client();
        let mut expected = BTreeMap::new();
        let mut pays = ["credit_card", "paypal", "bank_transfer"]
            .into_iter()
            .cycle();
        for (n, country) in COUNTRIES[..7].iter().enumerate() {
            // Fewer at each stage; half of them known by a token, half by their address.
            for visitor in 0..n + 4 {
                let id = format!("{country}-{visitor}");
                let person = if visitor % 2 == 0 {
                    Person::user(&client, &id, country)
                } else {
                    Person::at(&client, &format!("203.0.{n}.{visitor}"), country)
                };
                let stages = 4 - visitor.min(3);
                person.browse().await;
                if stages > 1 {
                    person.view().await;
                }
                if stages > 2 {
                    person.fill_cart().await;
                }
                if stages > 3 {
                    person.order(&id, pays.next().unwrap()).await;
                }
                for stage in &STAGES[..stages] {
                    let key = ((*stage).to_owned(), (*country).to_owned());
                    *expected.entry(key).or_insert(0) += 1;
                }
            }
        }
        let scrape = settled(&webstore).await;
        assert_eq!(visitors(&scrape), expected);
        let total = expected.values().sum();
        assert_eq!(fates(&scrape), [total, 0, 0, 0, 0]);
        let [_, viewed, filled, ordered] = by_stage(&scrape);
        assert_eq!(steps(&scrape), [viewed, filled, ordered]);
    }
}

#[tokio::test]
async fn refreshing_a_page_raises_the_events_and_not_the_visitors() {
    let redis = RedisServer::start();
    for url in [None, Some(redis.url())] {
        let webstore = Webstore::start(url.as_deref(), &format!("{PATIENT}{UNLIMITED}"));
        let client = webstore.client();
        let ada = Person::user(&client, "ada", "us");
        ada.browse().await;
        settled(&webstore).await;
        ada.view().await;
        settled(&webstore).await;
        for _ in 0..50 {
            ada.view().await;
            ada.browse().await;
        }
        let scrape = settled(&webstore).await;
        assert_eq!(by_stage(&scrape), [1, 1, 0, 0]);
        let events = |stage| scrape.sum(EVENTS, &[("stage", stage), ("country", "US")]);
        assert_eq!((events(STAGES[0]), events(STAGES[1])), (51.0, 51.0));
        assert_eq!(fates(&scrape), [2, 100, 0, 0, 0]);
        if url.is_some() {
            let calls = scrape.sum(
                "webstore_store_operation_duration_seconds_count",
                &[("operation", "reach")],
            );
            assert_eq!(calls, 2.0);
        }
    }
}

#[tokio::test]
async fn two_processes_on_one_redis_count_the_first_touch_in_order_and_once() {
    let redis = RedisServer::start();
    let config = format!("{PATIENT}{UNLIMITED}");
    let processes = [(), ()].map(|()| Webstore::start(Some(&redis.url()), &config));
    let clients = processes.each_ref().map(Webstore::client);
    let [a, b] = clients
        .each_ref()
        .map(|client| Person::user(client, "ada", "de"));
    let [at_a, at_b] = &processes;
    a.browse().await;
    settled(at_a).await;
    b.view().await;
    settled(at_b).await;
    a.fill_cart().await;
    settled(at_a).await;
    // The carts are each process's own.
    b.fill_cart().await;
    b.order("A-1", "paypal").await;
    settled(at_b).await;
    // And all of it again, on the other process, to which it is new.
    b.browse().await;
    a.view().await;
    a.order("A-1", "paypal").await;
    let [of_a, of_b] = [settled(at_a).await, settled(at_b).await];
    assert_eq!(by_stage(&of_a), [1, 0, 1, 0]);
    assert_eq!(by_stage(&of_b), [0, 1, 0, 1]);
    assert_eq!(fates(&of_a), [2, 2, 0, 0, 0]);
    assert_eq!(fates(&of_b), [2, 2, 0, 0, 0]);
    assert_eq!(steps(&of_a), [0, 1, 0]);
    assert_eq!(steps(&of_b), [1, 0, 1]);
    let keys = redis.cli(&["KEYS", "palisade:funnel:*"]);
    assert_eq!(keys, "palisade:funnel:86400s:ccbecae0:ada");
    let ttl: u64 = redis.cli(&["TTL", &keys]).parse().unwrap();
    assert!((86_000..=86_460).contains(&ttl), "{ttl} seconds");
}

#[tokio::test]
async fn out_of_order_does_not_count() {
    let redis = RedisServer::start();
    for url in [None, Some(redis.url())] {
        let webstore = Webstore::start(url.as_deref(), &format!("{PATIENT}{UNLIMITED}"));
        let client = webstore.client();
        let ada = Person::user(&client, "ada", "fr");
        ada.fill_cart().await;
        ada.order("A-1", "paypal").await;
        ada.view().await;
        ada.browse().await;
        let scrape = settled(&webstore).await;
        assert_eq!(by_stage(&scrape), [1, 0, 0, 0]);
        assert_eq!(fates(&scrape), [1, 0, 3, 0, 0]);
        // Again, in order: the visitor goes on.
        ada.view().await;
        ada.fill_cart().await;
        ada.order("A-2", "paypal").await;
        let scrape = settled(&webstore).await;
        assert_eq!(by_stage(&scrape), [1, 1, 1, 1]);
        assert_eq!(steps(&scrape), [1, 1, 1]);
    }
}

#[tokio::test]
async fn a_repeated_order_reaches_nothing() {
    let webstore = Webstore::start(None, UNLIMITED);
    let client = webstore.client();
    let ada = Person::user(&client, "ada", "us");
    let [bob, eve] = ["bob", "eve"].map(|id| Person::user(&client, id, "us"));
    for person in [&ada, &bob] {
        person.browse().await;
        person.view().await;
        person.fill_cart().await;
    }
    ada.order("A-1", "paypal").await;
    for _ in 0..3 {
        ada.order("A-1", "paypal").await;
    }
    let scrape = settled(&webstore).await;
    assert_eq!(by_stage(&scrape), [2, 2, 2, 1]);
    assert_eq!(fates(&scrape), [7, 0, 0, 0, 0]);
    // A visitor who logs in midway is another one.
    let anonymous = Person::at(&client, "203.0.113.1", "us");
    anonymous.browse().await;
    eve.view().await;
    let scrape = settled(&webstore).await;
    assert_eq!(by_stage(&scrape), [3, 2, 2, 1]);
}

#[tokio::test]
async fn switched_off_nothing_is_kept_of_visitors() {
    let redis = RedisServer::start();
    let config = format!("{PATIENT}{UNLIMITED}[funnel]\nvisitors = 'off'\n");
    let webstore = Webstore::start(Some(&redis.url()), &config);
    let client = webstore.client();
    let ada = Person::user(&client, "ada", "us");
    ada.browse().await;
    ada.view().await;
    let scrape = webstore.scrape().await;
    assert_eq!(scrape.sum(EVENTS, &[]), 2.0);
    for name in [VISITORS, REACHES, STEPS] {
        assert_eq!(scrape.matching(name, &[]).count(), 0, "{name}");
    }
    assert_eq!(redis.cli(&["KEYS", "palisade:funnel:*"]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_killed_reaches_fail_and_after_its_return_nobody_counts_twice() {
    let mut redis = RedisServer::start();
    let webstore = Webstore::start(Some(&redis.url()), &format!("{PATIENT}{UNLIMITED}"));
    let client = webstore.client();
    let ada = Person::user(&client, "ada", "us");
    ada.browse().await;
    assert_eq!(fates(&settled(&webstore).await), [1, 0, 0, 0, 0]);
    redis.kill();
    for n in 0..20 {
        Person::at(&client, &format!("203.0.113.{n}"), "us")
            .browse()
            .await;
    }
    let scrape = settled(&webstore).await;
    assert_eq!(fates(&scrape), [1, 0, 0, 0, 20]);
    redis.restart();
    webstore.until_breaker_closes().await;
    // What this process knows to be counted stays so, though the server has forgotten.
    ada.browse().await;
    let scrape = settled(&webstore).await;
    assert_eq!(by_stage(&scrape), [1, 0, 0, 0]);
    assert_eq!(fates(&scrape), [1, 1, 0, 0, 20]);
    Person::user(&client, "bob", "us").browse().await;
    assert_eq!(by_stage(&settled(&webstore).await), [2, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_redis_delays_no_response_and_what_it_counts_late_counts_once() {
    let redis = RedisServer::start();
    let config = format!("[store]\ndeadline = '1s'\n{UNLIMITED}");
    let shared = Webstore::start(Some(&redis.url()), &config);
    let alone = Webstore::start(None, UNLIMITED);
    let clients = [shared.client(), alone.client()];
    Person::user(&clients[0], "ada", "us").browse().await;
    settled(&shared).await;
    redis.pause();
    for n in 0..8 {
        Person::at(&clients[0], &format!("203.0.112.{n}"), "us")
            .browse()
            .await;
    }
    shared.until_breaker_opens().await;
    let mut latencies = [Vec::new(), Vec::new()];
    // Alternately, so that whatever else this machine does meets both alike; each a new visitor.
    for n in 0..500 {
        for (client, latencies) in clients.iter().zip(&mut latencies) {
            let visitor = Person::at(client, &format!("198.51.{}.{}", n / 250, n % 250), "us");
            let start = Instant::now();
            visitor.browse().await;
            latencies.push(start.elapsed());
        }
    }
    let [hung, memory] = latencies.map(undisturbed);
    println!("{hung:?}, on memory {memory:?}");
    assert!(
        hung < memory * 3 / 2 + Duration::from_millis(1),
        "{hung:?}, on memory {memory:?}"
    );
    let [_, _, _, dropped, failed] = fates(&settled(&shared).await);
    assert_eq!((dropped, failed), (0, 508));
    assert_eq!(by_stage(&settled(&alone).await), [500, 0, 0, 0]);

    redis.resume();
    shared.until_breaker_closes().await;
    let before = fates(&settled(&shared).await);
    // Some of these the server counted when it went on, without anybody to hear of it: they are repeats now.
    let again = ["203.0.112.0", "203.0.112.1", "198.51.0.7", "198.51.1.7"];
    for address in again {
        Person::at(&clients[0], address, "us").browse().await;
    }
    let scrape = settled(&shared).await;
    let after = fates(&scrape);
    assert_eq!(after[4], before[4]);
    assert_eq!(
        after[0] + after[1],
        before[0] + before[1] + again.len() as u64
    );
    let keys = redis.cli(&["KEYS", "palisade:funnel:*"]).lines().count() as u64;
    assert!(
        by_stage(&scrape)[0] <= keys,
        "more visitors than the server knows: {keys}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_flood_of_visitors_countries_routes_and_methods_makes_no_series() {
    let redis = RedisServer::start();
    let webstore = Webstore::start(Some(&redis.url()), &format!("{PATIENT}{UNLIMITED}"));
    let client = webstore.client();
    let ada = Person::user(&client, "ada", "us");
    ada.browse().await;
    ada.view().await;
    ada.fill_cart().await;
    ada.order("A-1", "paypal").await;
    settled(&webstore).await;
    let names = |scrape: &Scrape| -> Vec<String> {
        let all = scrape.series().into_iter();
        all.filter(|series| series.contains("webstore_funnel"))
            .collect()
    };
    let before = names(&webstore.scrape().await);
    for n in 0..200 {
        let address = format!("203.{}.{}.1", n / 250, n % 250);
        let id = format!("evil{n}");
        for person in [
            Person::at(&client, &address, "us"),
            Person::user(&client, &id, "us"),
        ] {
            person.browse().await;
            person.send(Method::GET, &format!("evil{n}"), "").await;
            let paid = format!(r#"{{"order_id": "E-{n}", "payment_method": "evil{n}"}}"#);
            person.send(Method::POST, "orders", &paid).await;
            let method = Method::from_bytes(format!("EVIL{n}").as_bytes()).unwrap();
            person.send(method, "products", "").await;
        }
        let country = format!("evil{n}");
        let person = Person::at(&client, &address, &country);
        person.send(Method::GET, "products", "").await;
    }
    let scrape = settled(&webstore).await;
    assert_eq!(names(&scrape), before);
    assert!(!before.iter().any(|series| series.contains("evil")));
    assert_eq!(by_stage(&scrape), [401, 1, 1, 1]);
}
