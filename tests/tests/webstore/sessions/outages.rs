//! What each kind of request is answered while Redis fails, in each of its ways, for each `on_store_failure`.

use std::time::{Duration, Instant};

use palisade_tests::SOON;
use palisade_tests::http::Client;
use palisade_tests::redis::RedisServer;
use palisade_tests::time::until;
use palisade_tests::webstore::Webstore;

use super::{CURRENT, NO_SUSPICION, PRODUCTS, SESSIONS, WIDE, end, forged, log_in, status};

/// A way in which Redis fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Killed,
    Hung,
    /// As after a failover that left the service with a replica.
    ReadOnly,
    /// It takes no writes, and no limit asks for one.
    Full,
    /// It takes no writes, and the limits fail, which opens the breaker.
    FullUnderLimits,
    Flushed,
    /// As after a failover to a replica that had nothing.
    Empty,
    /// Every key was evicted.
    Evicted,
}

use Fault::{Empty, Evicted, Flushed, Full, FullUnderLimits, Hung, Killed, ReadOnly};

impl Fault {
    fn begin(self, redis: &mut RedisServer) {
        let set = |key, value| redis.cli(&["CONFIG", "SET", key, value]);
        match self {
            Killed => redis.kill(),
            Hung => redis.pause(),
            ReadOnly => {
                // A replica of nobody: port 1 is never a Redis server.
                redis.cli(&["REPLICAOF", "127.0.0.1", "1"]);
            }
            Full | FullUnderLimits => {
                set("maxmemory-policy", "noeviction");
                set("maxmemory", "1");
            }
            Flushed => {
                redis.cli(&["FLUSHALL"]);
            }
            Empty => redis.restart(),
            Evicted => {
                set("maxmemory-policy", "allkeys-lru");
                set("maxmemory", "1");
                // A write evicts all that there is.
                redis.cli(&["SET", "other", "value"]);
                assert_eq!(redis.cli(&["DBSIZE"]), "0");
                set("maxmemory", "0");
            }
        }
    }

    fn mend(self, redis: &mut RedisServer) {
        match self {
            Killed => redis.restart(),
            Hung => redis.resume(),
            ReadOnly => {
                redis.cli(&["REPLICAOF", "NO", "ONE"]);
            }
            Full | FullUnderLimits => {
                redis.cli(&["CONFIG", "SET", "maxmemory", "0"]);
            }
            Flushed | Empty | Evicted => {}
        }
    }

    /// Whether Redis proves nothing meanwhile.
    fn is_outage(self) -> bool {
        matches!(self, Killed | Hung | ReadOnly | FullUnderLimits)
    }

    /// Whether it loses what Redis had.
    fn loses(self) -> bool {
        matches!(self, Killed | Flushed | Empty | Evicted)
    }
}

/// The statuses of requests: of a session that the process knows, by bearer and by cookie; of one that it does not know; of a
/// forged token; of nobody.
type Row = [u16; 5];

struct Tokens {
    known: String,
    unknown: String,
    leaving: String,
    ended: String,
}

impl Tokens {
    async fn new(shop: &Client) -> Self {
        let (known, _) = log_in(shop, "ada").await;
        let (unknown, _) = log_in(shop, "bob").await;
        let (leaving, _) = log_in(shop, "eve").await;
        let (ended, id) = log_in(shop, "ada").await;
        for token in [&known, &leaving, &ended] {
            assert_eq!(status(shop, CURRENT, token).await, 200);
        }
        end(shop, &ended, &id).await;
        assert_eq!(status(shop, CURRENT, &ended).await, 401);
        Self {
            known,
            unknown,
            leaving,
            ended,
        }
    }

    async fn row(&self, shop: &Client) -> Row {
        let cookie = format!("__Host-session={}", self.known);
        let by_cookie = shop.get(CURRENT, &[("cookie", &cookie)]).await;
        // In every state of the store, and whatever the mode.
        let of_the_ended = status(shop, PRODUCTS, &self.ended).await;
        assert!(
            matches!(of_the_ended, 401 | 503),
            "an ended session: {of_the_ended}"
        );
        [
            status(shop, PRODUCTS, &self.known).await,
            by_cookie.status.as_u16(),
            status(shop, PRODUCTS, &self.unknown).await,
            status(shop, PRODUCTS, &forged(&self.known)).await,
            shop.get(PRODUCTS, &[]).await.status.as_u16(),
        ]
    }

    /// Waits until requests are answered so: what was proved a moment ago is believed for a second.
    async fn until_row(&self, shop: &Client, what: &str, wanted: Row) {
        let started = Instant::now();
        loop {
            let row = self.row(shop).await;
            if row == wanted {
                return;
            }
            assert!(started.elapsed() < SOON, "{what}: {row:?}, not {wanted:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn login(shop: &Client, user: &str, password: &str) -> u16 {
    let body = format!(r#"{{"user":"{user}","password":"{password}"}}"#);
    shop.post("/login", &[], &body).await.status.as_u16()
}

async fn logout(shop: &Client, token: &str) -> u16 {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", &*bearer)];
    let path = "/profiles/me/logout";
    shop.post(path, &headers, "").await.status.as_u16()
}

async fn meets(fault: Fault, mode: &str, wanted: Row, [right, wrong, leaves]: [u16; 3]) {
    let what = format!("{fault:?} with {mode}");
    let mut redis = RedisServer::start();
    let exempt = match fault {
        Full => "exempt = { cidrs = ['127.0.0.0/8'] }\n",
        _ => "",
    };
    let known_for = match mode {
        "known" => "known_for = '1h'",
        _ => "",
    };
    let config = format!(
        "[store]\ndeadline = '1s'\n{WIDE}{exempt}{NO_SUSPICION}[sessions]\non_store_failure = '{mode}'\n{known_for}"
    );
    let webstore = Webstore::start(Some(&redis.url()), &config);
    let shop = webstore.client();
    let tokens = Tokens::new(&shop).await;
    let living = tokens.row(&shop).await;
    assert_eq!(living, [200, 200, 200, 401, 200], "{what}");
    // Another process's, so that this one has never proved it.
    let (unknown, _) = {
        let other = Webstore::start(Some(&redis.url()), &config);
        log_in(&other.client(), "bob").await
    };
    let tokens = Tokens { unknown, ..tokens };

    fault.begin(&mut redis);
    if fault.is_outage() {
        until("the breaker is open", async || {
            shop.get(PRODUCTS, &[]).await;
            webstore
                .scrape()
                .await
                .sum("webstore_store_breaker_open", &[])
                == 1.0
        })
        .await;
    }
    tokens.until_row(&shop, &what, wanted).await;
    assert_eq!(login(&shop, "mallory", "palisade").await, right, "{what}");
    assert_eq!(login(&shop, "mallory", "wrong").await, wrong, "{what}");
    assert_eq!(logout(&shop, &tokens.leaving).await, leaves, "{what}");
    if leaves != 200 {
        // It is not told that it has left, and need not be known any more.
        let still = status(&shop, PRODUCTS, &tokens.leaving).await;
        assert!(matches!(still, 401 | 503), "{what}: {still}");
    }

    fault.mend(&mut redis);
    webstore.until_breaker_closes().await;
    let lives = if fault.loses() { 401 } else { 200 };
    let mended = [lives, lives, lives, 401, 200];
    tokens.until_row(&shop, &what, mended).await;
    for user in ["ada", "carol"] {
        let (again, _) = log_in(&shop, user).await;
        assert_eq!(status(&shop, CURRENT, &again).await, 200, "{what}");
    }
    // Whoever logs in again brings no session back.
    assert_eq!(tokens.row(&shop).await, mended, "{what}");
    let bearer = format!("Bearer {}", tokens.ended);
    let listed = shop.get(SESSIONS, &[("authorization", &bearer)]).await;
    assert_eq!(listed.status, 401, "{what}");
}

const OUTAGES: [Fault; 4] = [Killed, Hung, ReadOnly, FullUnderLimits];

#[tokio::test(flavor = "multi_thread")]
async fn known_lets_in_whom_the_process_knows_and_nobody_else() {
    for fault in OUTAGES {
        let row = [200, 200, 503, 401, 200];
        meets(fault, "known", row, [503, 401, 503]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_lets_in_no_session() {
    for fault in OUTAGES {
        let row = [503, 503, 503, 401, 200];
        meets(fault, "closed", row, [503, 401, 503]).await;
    }
}

/// A bearer is then refused by the shop, which takes no other; the page of a browser is a stranger's.
#[tokio::test(flavor = "multi_thread")]
async fn anonymous_takes_every_session_for_a_strangers() {
    for fault in OUTAGES {
        let row = [401, 401, 401, 401, 200];
        meets(fault, "anonymous", row, [503, 401, 401]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_proves_and_ends_sessions_and_takes_none() {
    for mode in ["known", "closed", "anonymous"] {
        let row = [200, 200, 200, 401, 200];
        meets(Full, mode, row, [503, 401, 200]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_redis_has_lost_is_no_session_any_more_in_any_mode() {
    for mode in ["known", "closed", "anonymous"] {
        for fault in [Flushed, Empty, Evicted] {
            let row = [401, 401, 401, 401, 200];
            meets(fault, mode, row, [200, 401, 401]).await;
        }
    }
}
