//! Security events, and what the service is told beside requests.

use std::net::IpAddr;
use std::sync::Mutex;

use http::header::USER_AGENT;

use super::*;
use crate::log::Lines;
use crate::model::{AlertKind, Network};

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0";
const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36";
const HOME: &str = "192.0.2.1";
const AWAY: &str = "198.51.100.9";

/// What was heard, in its order.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn note(&self, text: String) {
        self.0.lock().unwrap().push(text);
    }

    /// Waits until it is so; the clock, which stands still, moves on a little.
    async fn wait(&self, is_so: impl Fn(&[String]) -> bool) {
        for _ in 0..10_000 {
            if is_so(&self.0.lock().unwrap()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("heard {:?}", self.0.lock().unwrap());
    }

    /// All that was heard, once it is so much.
    async fn until(&self, many: usize) -> Vec<String> {
        self.wait(|heard| heard.len() >= many).await;
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Notify for Heard {
    fn notify(&self, notice: &Notice<'_>) {
        match notice {
            Notice::NewDevice { session, others } => {
                self.note(format!("{} has a new device beside {others}", session.user));
            }
            Notice::Alert(alert) => self.note(format!("{} {}", alert.user, alert.kind)),
        }
    }
}

struct Watched {
    bench: Bench,
    heard: Heard,
}

impl Watched {
    fn new(settings: SessionsConfig, listeners: Listeners) -> Self {
        let heard = Heard::default();
        let note = heard.clone();
        let listeners = listeners.observe(move |alert| note.note(told(alert)));
        let bench = Bench::listening(settings, listeners);
        Self { bench, heard }
    }

    async fn log_in(&self, name: &str, agent: &str, from: &str) -> Result<Issued, CreateError> {
        let begun = self.bench.sessions.begin(&user(name)).await.unwrap();
        let client = Client::new(from.parse().unwrap(), 64);
        let agent = HeaderValue::from_str(agent).unwrap();
        let new = NewSession::new().user_agent(Some(&agent)).from(&client);
        self.bench.sessions.create(begun, new).await
    }

    async fn ask(&self, issued: &Issued, agent: &str, from: &str) {
        let mut request = with_bearer(issued.token.expose());
        let agent = HeaderValue::from_str(agent).unwrap();
        request.headers_mut().insert(USER_AGENT, agent);
        let client = Client::new(from.parse().unwrap(), 64);
        let response = ask_from(&self.bench.layer, request, client).await;
        assert_eq!(response.status(), 200);
    }

    /// An alert of another user, after which nothing is under way that came before.
    async fn heard(&self) -> Vec<String> {
        let last = self.log_in("last", FIREFOX, HOME).await.unwrap();
        self.ask(&last, CHROME, HOME).await;
        let last = format!("user_agent_changed last {}", last.session.id);
        self.heard.wait(|heard| heard.contains(&last)).await;
        let mut heard = std::mem::take(&mut *self.heard.0.lock().unwrap());
        heard.retain(|it| *it != last);
        heard
    }
}

fn told(alert: &Alert) -> String {
    let id = alert.session.map_or("none".to_owned(), |id| id.to_string());
    format!("{} {} {id}", alert.kind, alert.user)
}

fn one_a_user(on_max: OnMax) -> SessionsConfig {
    SessionsConfig {
        max_per_user: 1,
        on_max,
        ..SessionsConfig::default()
    }
}

#[tokio::test(start_paused = true)]
async fn another_browser_or_system_is_told_once_and_its_text_never() {
    let (lines, _guard) = Lines::capture();
    let shop = Watched::new(SessionsConfig::default(), Listeners::new());
    let ada = shop.log_in("ada", FIREFOX, HOME).await.unwrap();
    // A newer version of the same is no other.
    for agent in [
        FIREFOX,
        "Mozilla/5.0 (X11; Linux x86_64) Firefox/132.0",
        FIREFOX,
    ] {
        shop.ask(&ada, agent, HOME).await;
    }
    assert!(shop.heard().await.is_empty());
    let id = ada.session.id;
    for n in 0..1_000 {
        // Known and newly proved.
        tokio::time::advance(Duration::from_millis(100)).await;
        shop.ask(&ada, &format!("canary {n}"), HOME).await;
    }
    assert_eq!(shop.heard().await, [format!("user_agent_changed ada {id}")]);
    let lines = lines.take().join("\n");
    assert!(!lines.contains("canary"), "{lines}");
    let line = format!(
        "WARN session_alert client={HOME} kind=user_agent_changed represents=1 session_id={id} user=ada"
    );
    assert!(lines.contains(&line), "{lines}");
    let tally = shop.bench.layer.tally().unwrap();
    assert_eq!(tally.alerts(AlertKind::UserAgentChanged), 3);
    // After an hour it is told again.
    tokio::time::advance(Duration::from_secs(3_600)).await;
    shop.ask(&ada, CHROME, HOME).await;
    assert_eq!(shop.heard().await, [format!("user_agent_changed ada {id}")]);
}

#[tokio::test(start_paused = true)]
async fn a_session_without_an_agent_has_no_other() {
    let shop = Watched::new(SessionsConfig::default(), Listeners::new());
    let ada = shop.log_in("ada", "ada's own client", HOME).await.unwrap();
    shop.ask(&ada, CHROME, HOME).await;
    assert!(shop.heard().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_session_in_two_networks_is_told_and_a_walk_is_not() {
    let shop = Watched::new(SessionsConfig::default(), Listeners::new());
    let ada = shop.log_in("ada", FIREFOX, HOME).await.unwrap();
    let bob = shop.log_in("bob", FIREFOX, HOME).await.unwrap();
    for session in [&ada, &bob] {
        shop.ask(session, FIREFOX, HOME).await;
        tokio::time::advance(Duration::from_secs(2)).await;
        shop.ask(session, FIREFOX, AWAY).await;
    }
    tokio::time::advance(Duration::from_secs(54)).await;
    shop.ask(&ada, FIREFOX, HOME).await;
    tokio::time::advance(Duration::from_secs(5)).await;
    shop.ask(&bob, FIREFOX, HOME).await;
    let id = ada.session.id;
    assert_eq!(
        shop.heard().await,
        [format!("concurrent_networks ada {id}")]
    );
}

#[tokio::test(start_paused = true)]
async fn a_journey_that_nobody_makes_is_told_where_places_are_known() {
    // London, Sydney, and a place that makes the resolver panic.
    let locate = |address: IpAddr| match address.to_string().as_str() {
        "192.0.2.0" => Some((51.507, -0.128)),
        "198.51.100.0" => Some((-33.869, 151.209)),
        "203.0.113.0" => panic!("no such place"),
        _ => None,
    };
    let shop = Watched::new(SessionsConfig::default(), Listeners::new().locate(locate));
    let journey = async |name: &str, to: &str, hours: u64| {
        let session = shop.log_in(name, FIREFOX, HOME).await.unwrap();
        shop.ask(&session, FIREFOX, HOME).await;
        // Used all the way, so that it does not idle out; from nowhere that is known.
        for _ in 0..4 * hours {
            shop.bench.clock.advance(Duration::from_secs(900));
            tokio::time::advance(Duration::from_secs(900)).await;
            let request = with_bearer(session.token.expose());
            let used = ask_from(&shop.bench.layer, request, Client::new([0; 16].into(), 64)).await;
            assert_eq!(used.status(), 200);
        }
        shop.ask(&session, FIREFOX, to).await;
        session.session.id
    };
    let ada = journey("ada", AWAY, 1).await;
    journey("bob", "203.0.113.7", 1).await;
    journey("eve", "100.64.0.1", 1).await;
    let heard = shop.heard().await;
    let told: Vec<_> = heard
        .iter()
        .filter(|it| it.starts_with("impossible"))
        .collect();
    assert_eq!(told, [&format!("impossible_travel ada {ada}")]);
}

#[tokio::test(start_paused = true)]
async fn a_login_that_finds_as_many_sessions_as_may_live_is_told() {
    for (on_max, is_created) in [
        (OnMax::EvictOldest, true),
        (OnMax::Alert, true),
        (OnMax::Deny, false),
    ] {
        let shop = Watched::new(one_a_user(on_max), Listeners::new());
        shop.log_in("ada", FIREFOX, HOME).await.unwrap();
        let second = shop.log_in("ada", FIREFOX, HOME).await.ok();
        assert_eq!(second.is_some(), is_created);
        let id = second.map_or("none".into(), |it| it.session.id.to_string());
        let heard = shop.heard.until(1).await;
        assert_eq!(
            heard,
            [format!("concurrent_sessions ada {id}")],
            "{on_max:?}"
        );
        let tally = shop.bench.layer.tally().unwrap();
        let evicted = u64::from(on_max == OnMax::EvictOldest);
        assert_eq!(tally.ends(EndReason::Evicted), evicted);
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_hears_of_a_new_device_and_of_alerts() {
    let mail = Heard::default();
    let shop = Watched::new(
        one_a_user(OnMax::Alert),
        Listeners::new().notify(mail.clone()),
    );
    for (agent, heard) in [
        (FIREFOX, &["ada has a new device beside 0"][..]),
        (FIREFOX, &["ada concurrent_sessions"]),
        (
            CHROME,
            &["ada concurrent_sessions", "ada has a new device beside 2"],
        ),
    ] {
        shop.bench.clock.advance(Duration::from_secs(1));
        shop.log_in("ada", agent, HOME).await.unwrap();
        assert_eq!(mail.until(heard.len()).await, heard);
    }
    // Two logins of one device at once: the user hears of one.
    let [one, other] = [(); 2].map(|()| shop.log_in("bob", CHROME, HOME));
    let (one, other) = tokio::join!(one, other);
    assert!(one.is_ok() && other.is_ok());
    shop.log_in("eve", CHROME, HOME).await.unwrap();
    let mut heard = mail.until(3).await;
    heard.sort();
    let new = |of: &str| {
        heard
            .iter()
            .filter(|it| it.contains(of) && it.contains("new"))
            .count()
    };
    assert_eq!((new("bob"), new("eve")), (1, 1), "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_who_is_told_harms_nobody() {
    struct Panics;
    impl Notify for Panics {
        fn notify(&self, _: &Notice<'_>) {
            panic!("of the service");
        }
    }
    let listeners = Listeners::new().observe(|_| panic!("too")).notify(Panics);
    let shop = Watched::new(one_a_user(OnMax::Alert), listeners);
    for _ in 0..2 {
        shop.log_in("ada", FIREFOX, HOME).await.unwrap();
    }
    assert_eq!(shop.heard.until(1).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn where_hashes_are_wanted_the_log_has_neither_the_user_nor_the_client() {
    let (lines, _guard) = Lines::capture();
    let secret = Secret::from_bytes(SECRET);
    let listeners = Listeners::new().hash_clients(secret.clone());
    let shop = Watched::new(SessionsConfig::default(), listeners);
    let ada = shop.log_in("ada", FIREFOX, HOME).await.unwrap();
    shop.ask(&ada, CHROME, HOME).await;
    shop.heard.until(1).await;
    let line = lines.take().join("\n");
    let hash = |domain: &[u8], text: &str| secret.hash(domain, text.as_bytes());
    assert!(
        line.contains(&format!("user={}", hash(b"user", "ada"))),
        "{line}"
    );
    assert!(line.contains(&format!("client={}", hash(b"client", HOME))));
    assert!(!line.contains("ada") && !line.contains(HOME));
}

#[tokio::test(start_paused = true)]
async fn the_sessions_of_a_convicted_client_are_told_or_ended_those_under_way_too() {
    for on_conviction in [OnConviction::Alert, OnConviction::Terminate] {
        let settings = SessionsConfig {
            on_conviction,
            ..SessionsConfig::default()
        };
        let shop = Watched::new(settings, Listeners::new());
        let client = Network::of(AWAY.parse().unwrap(), 64);
        let old = shop.log_in("old", FIREFOX, AWAY).await.unwrap();
        shop.bench.clock.advance(Duration::from_secs(301));
        let ada = shop.log_in("ada", FIREFOX, AWAY).await.unwrap();
        let other = shop.log_in("bob", FIREFOX, HOME).await.unwrap();
        // It began before the conviction, and ends after it.
        let begun = shop.bench.sessions.begin(&user("eve")).await.unwrap();
        shop.bench
            .sessions
            .convicted(client, Duration::from_secs(300));
        let kind = "session_from_convicted_client";
        let heard = shop.heard.until(1).await;
        assert_eq!(heard, [format!("{kind} ada {}", ada.session.id)]);
        let new = NewSession::new().from(&Client::new(AWAY.parse().unwrap(), 64));
        let eve = shop.bench.sessions.create(begun, new).await.unwrap();
        shop.bench.clock.advance(Duration::from_secs(30));
        tokio::time::advance(Duration::from_secs(30)).await;
        let heard = shop.heard.until(1).await;
        assert_eq!(heard, [format!("{kind} eve {}", eve.session.id)]);
        tokio::time::advance(Duration::from_secs(30)).await;
        let ends = on_conviction == OnConviction::Terminate;
        for (issued, ended) in [(&old, false), (&other, false), (&ada, ends), (&eve, ends)] {
            let response = shop.bench.ask(with_bearer(issued.token.expose())).await;
            assert_eq!(response.status() == 401, ended, "{}", issued.session.user);
        }
        let tally = shop.bench.layer.tally().unwrap();
        assert_eq!(tally.ends(EndReason::Conviction), 2 * u64::from(ends));
        assert_eq!(tally.alerts(AlertKind::SessionFromConvictedClient), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_conviction_while_the_store_fails_is_looked_into_again() {
    let settings = SessionsConfig {
        on_conviction: OnConviction::Terminate,
        ..SessionsConfig::default()
    };
    let shop = Watched::new(settings, Listeners::new());
    let ada = shop.log_in("ada", FIREFOX, AWAY).await.unwrap();
    shop.bench.fail();
    let client = Network::of(AWAY.parse().unwrap(), 64);
    shop.bench
        .sessions
        .convicted(client, Duration::from_secs(300));
    tokio::time::sleep(Duration::from_secs(1)).await;
    shop.bench.store.fails.store(false, Ordering::Relaxed);
    assert_eq!(shop.heard.until(1).await.len(), 1);
    let response = shop.bench.ask(with_bearer(ada.token.expose())).await;
    assert_eq!(response.status(), 401);
}

/// ASVS 7.4.3: after a change of a factor, all other sessions can be ended.
#[tokio::test(start_paused = true)]
async fn after_a_change_of_a_factor_all_others_end_and_the_kept_one_has_another_token() {
    let bench = Bench::new(SessionsConfig::default());
    let (laptop, phone) = (bench.log_in("ada").await, bench.log_in("ada").await);
    let bob = bench.log_in("bob").await;
    let renewal = Renewal {
        authenticated: true,
        aal: Some(2),
    };
    // Another's session is not kept.
    let (claim, ada) = (bench.claim(&laptop), user("ada"));
    let bobs = user("bob");
    let change = bench.sessions.factor_changed(&bobs, Some(&claim), &renewal);
    let changed = change.await.unwrap();
    assert!(changed.ended == 1 && changed.kept.is_none());
    assert_eq!(
        bench.ask(with_bearer(bob.token.expose())).await.status(),
        401
    );

    let change = bench.sessions.factor_changed(&ada, Some(&claim), &renewal);
    let changed = change.await.unwrap();
    assert_eq!(changed.ended, 1);
    let kept = changed.kept.unwrap();
    assert_eq!(
        (kept.session.id, kept.session.details.aal),
        (laptop.session.id, 2)
    );
    for (issued, status) in [(&laptop, 401), (&phone, 401), (&kept, 200)] {
        let response = bench.ask(with_bearer(issued.token.expose())).await;
        assert_eq!(response.status(), status);
    }
    let changed = bench.sessions.factor_changed(&ada, None, &renewal);
    assert_eq!(changed.await.unwrap().ended, 1);
    assert!(bench.sessions.list(&ada).await.unwrap().is_empty());
    let tally = bench.layer.tally().unwrap();
    assert_eq!(tally.ends(EndReason::FactorChanged), 3);
}

#[tokio::test(start_paused = true)]
async fn the_sessions_that_live_are_counted_and_no_count_stands_for_long_without_the_store() {
    let bench = Bench::new(SessionsConfig::default());
    let tally = bench.layer.tally().unwrap();
    assert_eq!(tally.active(), None);
    bench.log_in("ada").await;
    tokio::time::sleep(Duration::from_secs(16)).await;
    assert_eq!(tally.active(), Some(1));
    bench.sessions.end_all(&user("ada"), None).await.unwrap();
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(tally.active(), Some(0));
    bench.fail();
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(tally.active(), Some(0));
    tokio::time::sleep(Duration::from_secs(16)).await;
    assert_eq!(tally.active(), None);
}

#[tokio::test]
async fn listeners_come_before_anybody_has_the_layer() {
    let bench = Bench::new(SessionsConfig::default());
    let refused = bench.layer.listening(Listeners::new()).unwrap_err();
    let why = "allowed is before the layer is cloned and its handle is taken";
    assert!(refused.to_string().ends_with(why), "{refused}");
    assert!(SessionLayer::default().listening(Listeners::new()).is_ok());
}
