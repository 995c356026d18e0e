//! Visitors through the layer, without a network.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::ready;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use tower::{Layer, ServiceExt, service_fn};

use super::*;
use crate::config::{Config, CountVisitors};
use crate::funnel::store::{Journeys, Progress, Reach, Reply, VisitStore};
use crate::funnel::{FunnelLayer, Reached, Stage};
use crate::model::{Client, Country, StoreError, StoreErrorKind};
use crate::stack::Stack;
use crate::store::memory::{Hand, MemoryStore};

const STAGES: [&str; 3] = ["browse", "view", "buy"];
const DAY: Duration = Visitors::DEFAULT_WINDOW;

fn secret() -> Secret {
    Secret::from_bytes(b"a secret of the tests")
}

fn funnel(visitors: Visitors) -> FunnelLayer {
    let countries = ["US", "GB"].into_iter().map(|code| code.parse().unwrap());
    STAGES
        .into_iter()
        .fold(FunnelLayer::builder(), |builder, name| {
            builder.stage(Stage::new(name))
        })
        .countries(countries.collect())
        .visitors(visitors)
        .build()
        .unwrap()
}

fn embedded() -> FunnelLayer {
    funnel(Visitors::embedded(MemoryStore::new(), secret()))
}

fn client(n: u32, user: Option<&str>, country: &str) -> Client {
    let mut client = Client::new(Ipv4Addr::from_bits(n).into(), 64);
    client.user = user.map(|user| UserId::new(user, &secret()));
    client.country = country.parse().unwrap_or(Country::OTHER);
    client
}

async fn reach(layer: &FunnelLayer, client: Client, stage: usize) {
    let service = layer.layer(service_fn(move |_: Request<()>| {
        let mut response = Response::new(());
        response
            .extensions_mut()
            .insert(Reached::stage(STAGES[stage]));
        ready(Ok::<_, Infallible>(response))
    }));
    let mut request = Request::new(());
    request.extensions_mut().insert(client);
    service.oneshot(request).await.unwrap();
}

/// What became of the reaches, in the order of [`ReachResult::ALL`], once so many are settled.
async fn settled(layer: &FunnelLayer, reaches: u64) -> [u64; 5] {
    let tally = layer.visitor_tally().unwrap();
    loop {
        let results = ReachResult::ALL.map(|result| tally.reaches(result));
        if results.iter().sum::<u64>() >= reaches {
            assert_eq!(results.iter().sum::<u64>(), reaches);
            return results;
        }
        tokio::task::yield_now().await;
    }
}

/// The visitors, without the series at 0: `stage country`.
fn visitors_of(layer: &FunnelLayer) -> BTreeMap<String, u64> {
    let tally = layer.visitor_tally().unwrap();
    let counts = tally.counts().filter(|series| series.count > 0);
    counts
        .map(|series| (format!("{} {}", series.stage, series.country), series.count))
        .collect()
}

fn only<const N: usize>(series: [(&str, u64); N]) -> BTreeMap<String, u64> {
    series.map(|(name, count)| (name.to_owned(), count)).into()
}

#[test]
fn all_series_exist_at_0_from_the_start_and_none_without_visitors() {
    let layer = embedded();
    let tally = layer.visitor_tally().unwrap();
    assert_eq!(tally.counts().count(), 3 * 3);
    assert!(tally.counts().all(|series| series.count == 0));
    assert!(FunnelLayer::default().visitor_tally().is_none());
}

#[tokio::test]
async fn a_visitor_counts_once_for_each_stage_and_each_response_once_as_an_event() {
    let layer = embedded();
    for stage in [0, 0, 1, 1, 1, 2, 0, 2] {
        reach(&layer, client(1, None, "GB"), stage).await;
    }
    assert_eq!(settled(&layer, 8).await, [3, 5, 0, 0, 0]);
    let expected = only([("browse GB", 1), ("view GB", 1), ("buy GB", 1)]);
    assert_eq!(visitors_of(&layer), expected);
    let events = layer.tally();
    assert_eq!(events.counts().map(|series| series.count).sum::<u64>(), 8);
}

#[tokio::test]
async fn users_networks_and_countries_are_told_apart() {
    let layer = embedded();
    for (n, user, country) in [
        (1, None, "US"),
        (2, None, "US"),
        // Another visitor, though from the same network.
        (1, Some("ada"), "GB"),
        // The same visitor, though from another network: the country of the first reach counts.
        (3, Some("ada"), "US"),
        (3, Some("~evil\"}\n"), "FR"),
    ] {
        reach(&layer, client(n, user, country), 0).await;
    }
    assert_eq!(settled(&layer, 5).await, [4, 1, 0, 0, 0]);
    let expected = only([("browse US", 2), ("browse GB", 1), ("browse other", 1)]);
    assert_eq!(visitors_of(&layer), expected);
}

#[tokio::test]
async fn a_stage_without_the_one_before_does_not_count_until_it_is_reached_again() {
    let layer = embedded();
    for stage in [2, 1, 0] {
        reach(&layer, client(1, None, "US"), stage).await;
    }
    assert_eq!(settled(&layer, 3).await, [1, 0, 2, 0, 0]);
    assert_eq!(visitors_of(&layer), only([("browse US", 1)]));
    for stage in [1, 2] {
        reach(&layer, client(1, None, "US"), stage).await;
    }
    assert_eq!(settled(&layer, 5).await, [3, 0, 2, 0, 0]);
}

#[tokio::test]
async fn steps_are_told_with_their_stages_and_the_time_between() {
    let steps = Arc::new(Mutex::new(Vec::new()));
    let hand = Hand::default();
    let store = MemoryStore::builder().clock(hand.clone()).build().unwrap();
    let told = Arc::clone(&steps);
    let layer = funnel(
        Visitors::embedded(store, secret()).observer(move |from, to, took| {
            told.lock()
                .unwrap()
                .push((from.to_owned(), to.to_owned(), took.as_secs_f64()));
        }),
    );
    for stage in 0..3 {
        reach(&layer, client(1, None, "US"), stage).await;
        settled(&layer, stage as u64 + 1).await;
        hand.advance(Duration::from_secs(90));
    }
    let steps = steps.lock().unwrap();
    let names: Vec<_> = steps.iter().map(|(from, to, _)| (&**from, &**to)).collect();
    assert_eq!(names, [("browse", "view"), ("view", "buy")]);
    // The store's clock stands between the calls, and each reach waits for some microseconds.
    assert!(
        steps.iter().all(|(.., took)| (took - 90.0).abs() < 5.0),
        "{steps:?}"
    );
}

/// A store that answers as it is told.
#[derive(Clone, Default)]
struct Told {
    answers: Arc<Mutex<Vec<Result<Progress, StoreErrorKind>>>>,
    calls: Arc<Mutex<Vec<Vec<Reach>>>>,
}

impl VisitStore for Told {
    fn reach(&self, journeys: Journeys, reaches: &[Reach]) -> Reply<Vec<Progress>> {
        assert_eq!(journeys.window, DAY);
        self.calls.lock().unwrap().push(reaches.to_vec());
        let answers: Result<Vec<_>, _> = {
            let mut answers = self.answers.lock().unwrap();
            reaches.iter().map(|_| answers.remove(0)).collect()
        };
        Reply::Ready(answers.map_err(StoreError::new))
    }
}

#[tokio::test]
async fn a_store_that_fails_counts_nobody_and_the_reach_is_tried_again() {
    let told = Told::default();
    *told.answers.lock().unwrap() = vec![
        Err(StoreErrorKind::Timeout),
        Err(StoreErrorKind::Rejected),
        Ok(Progress {
            before: 0,
            steps: [Duration::ZERO].into_iter().collect(),
            left: DAY,
            refused: false,
        }),
    ];
    let layer = funnel(Visitors::shared(told.clone(), secret()));
    for n in 1..=2 {
        reach(&layer, client(n, None, "US"), 0).await;
        let expected = [0, 0, 0, 0, u64::from(n)];
        assert_eq!(settled(&layer, n.into()).await, expected);
    }
    assert_eq!(visitors_of(&layer), only([]));
    // Not at once, lest refreshing hits a store that is down.
    reach(&layer, client(1, None, "US"), 0).await;
    assert_eq!(settled(&layer, 3).await, [0, 1, 0, 0, 2]);
    reach(&layer, client(3, None, "US"), 0).await;
    assert_eq!(settled(&layer, 4).await, [1, 1, 0, 0, 2]);
    assert_eq!(told.calls.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn what_a_late_reach_unlocked_counts_with_it_in_its_country() {
    let told = Told::default();
    let steps = Arc::new(Mutex::new(Vec::new()));
    let seconds = Duration::from_secs;
    *told.answers.lock().unwrap() = vec![Ok(Progress {
        before: 1,
        steps: [seconds(5), seconds(7)].into_iter().collect(),
        left: DAY,
        refused: false,
    })];
    let heard = Arc::clone(&steps);
    let visitors = Visitors::shared(told.clone(), secret()).observer(move |from, to, took| {
        let step = format!("{from} {to} {}", took.as_secs());
        heard.lock().unwrap().push(step);
    });
    let layer = funnel(visitors);
    reach(&layer, client(1, None, "GB"), 1).await;
    assert_eq!(settled(&layer, 1).await, [1, 0, 0, 0, 0]);
    assert_eq!(visitors_of(&layer), only([("view GB", 1), ("buy GB", 1)]));
    assert_eq!(*steps.lock().unwrap(), ["browse view 5", "view buy 7"]);
    // All three are known now, and the store is asked no more.
    for stage in 0..3 {
        reach(&layer, client(1, None, "GB"), stage).await;
    }
    assert_eq!(settled(&layer, 4).await, [1, 3, 0, 0, 0]);
    assert_eq!(told.calls.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn the_store_hears_of_users_by_their_id_and_of_networks_by_a_hash() {
    let told = Told::default();
    *told.answers.lock().unwrap() = vec![Ok(Progress::default()), Ok(Progress::default())];
    let layer = funnel(Visitors::shared(told.clone(), secret()));
    reach(&layer, client(0xcb00_7101, None, "US"), 0).await;
    reach(&layer, client(0xcb00_7101, Some("ada"), "US"), 0).await;
    settled(&layer, 2).await;
    let calls = told.calls.lock().unwrap().concat();
    let names: Vec<_> = calls
        .iter()
        .map(|reach| reach.visitor.to_string())
        .collect();
    assert_eq!(names[1], "ada");
    let other = Visitor::anonymous(client(0xcb00_7102, None, "US").network, &secret());
    assert!(names[0].len() == 33 && names[0].starts_with('~') && names[0] != other.to_string());
}

/// A store that never answers.
struct Hung;

impl VisitStore for Hung {
    fn reach(&self, _: Journeys, _: &[Reach]) -> Reply<Vec<Progress>> {
        Reply::pending(std::future::pending())
    }
}

#[test]
fn a_full_queue_drops_and_counts_and_what_the_end_cuts_short_has_failed() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let layer = funnel(Visitors::shared(Hung, secret()).queue(5));
    let tally = layer.visitor_tally().unwrap();
    runtime.block_on(async {
        reach(&layer, client(0, None, "US"), 0).await;
        tokio::task::yield_now().await;
        for n in 1..=100 {
            reach(&layer, client(n, None, "US"), 0).await;
        }
        assert_eq!(settled(&layer, 95).await, [0, 0, 0, 95, 0]);
    });
    drop(runtime);
    assert_eq!(tally.reaches(ReachResult::Failed), 1);
}

#[test]
fn without_a_runtime_a_server_counts_nobody() {
    let layer = funnel(Visitors::shared(Hung, secret()));
    let reached = reach(&layer, client(1, None, "US"), 0);
    let mut reached = std::pin::pin!(reached);
    let waker = std::task::Waker::noop();
    let mut context = std::task::Context::from_waker(waker);
    assert!(reached.as_mut().poll(&mut context).is_ready());
    assert_eq!(
        layer.visitor_tally().unwrap().reaches(ReachResult::Failed),
        1
    );
}

#[test]
fn the_stack_counts_visitors_as_the_configuration_says_or_else_as_the_service_does() {
    let hour = CountVisitors::Within(Duration::from_secs(3_600));
    for (configured, service, counted) in [
        (CountVisitors::Unsaid, CountVisitors::Unsaid, false),
        (CountVisitors::Unsaid, CountVisitors::Off, false),
        (CountVisitors::Unsaid, hour, true),
        (CountVisitors::Off, hour, false),
        (hour, CountVisitors::Off, true),
    ] {
        let mut config = Config::default();
        config.funnel.visitors = configured;
        let stack = Stack::builder().config(config).visitors(service);
        let stack = stack.funnel([Stage::new("browse")]).build().unwrap();
        assert_eq!(
            stack.visitor_tally().is_some(),
            counted,
            "{configured:?} {service:?}"
        );
    }
    assert!(Stack::builder().build().unwrap().visitor_tally().is_none());
    let never = CountVisitors::Within(Duration::ZERO);
    let error = Stack::builder().visitors(never).build().unwrap_err();
    assert_eq!(error.key(), "funnel.visitors");
}

#[test]
fn a_window_or_a_queue_out_of_range_is_refused() {
    let build = |visitors: Visitors| {
        let built = FunnelLayer::builder().visitors(visitors).build();
        built.err().map(|error| error.to_string())
    };
    let visitors = || Visitors::embedded(MemoryStore::new(), secret());
    for seconds in [60, 86_400, 30 * 86_400] {
        assert_eq!(build(visitors().window(Duration::from_secs(seconds))), None);
    }
    for (seconds, value) in [(59, "59s"), (30 * 86_400 + 1, "30d1s")] {
        assert_eq!(
            build(visitors().window(Duration::from_secs(seconds))),
            Some(format!(
                "`visitors` cannot be `{value}`: allowed is 1m to 30d"
            ))
        );
    }
    assert!(build(visitors().queue(0)).is_some_and(|error| error.contains("visitors.queue")));
}
