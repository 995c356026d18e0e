//! One script of requests to the shop, on memory and on Redis: what it answers, what is scraped of it, what Redis
//! holds afterwards, and which scripts it was sent.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use palisade_tests::http::Client;
use palisade_tests::metrics::Scrape;
use palisade_tests::redis::RedisServer;
use palisade_tests::webstore::Webstore;

use crate::{recorded::compare, seen};

/// Every layer on; windows so long that nothing leaves one while the script runs.
const CONFIG: &str = "
[store]
deadline = '10s'
prefix = 'guard:'

[client]
trusted_proxies = ['127.0.0.0/8']

[rate_limit]
ip = '12/1h'
user = '5/1h'
exempt = { cidrs = ['198.51.100.0/24'], users = ['monitor'], routes = ['GET /{country}/cart'] }

[rate_limit.policies.user.by_segment]
vip = '7/1h'

[rate_limit.policies.checkout]
key = 'user'
quota = '1/1h'
routes = ['POST /{country}/orders']
mode = 'dry_run'

[suspicion]
credential_stuffing = '3/1h'
endpoint_scanning = '4/1h'
abuse = '9/1h'
password_spraying = '3/1h'
distributed_stuffing = '3/1h'
success_after_failures = '1h'

[suspicion.bans]
for = '1h'
longest = '1h'
jitter = 0
kinds = ['endpoint_scanning']
response = 'forbidden'

[funnel]
visitors = '24h'

[segments]
vip_orders = 1
sweep_every = '1h'
";

const LEGACY: &str = "
[store]
deadline = '10s'
prefix = 'guard:'
[client]
trusted_proxies = ['127.0.0.0/8']
[rate_limit]
ip = '2/1h'
headers = 'legacy'
";

/// What is said on the wire for one request of the client `from`.
#[derive(Clone, Copy)]
struct Step {
    from: &'static str,
    method: &'static str,
    path: &'static str,
    /// Lines of the head, each with its end.
    head: &'static str,
    body: &'static str,
}

const fn get(from: &'static str, path: &'static str) -> Step {
    step(from, "GET", path, "", "")
}

/// Ada orders.
const fn order(body: &'static str) -> Step {
    step("192.0.2.2", "POST", "/us/orders", ADA, body)
}

/// A login of somebody with a wrong password.
const fn guess(from: &'static str, body: &'static str) -> Step {
    step(from, "POST", "/login", "", body)
}

const fn step(
    from: &'static str,
    method: &'static str,
    path: &'static str,
    head: &'static str,
    body: &'static str,
) -> Step {
    Step {
        from,
        method,
        path,
        head,
        body,
    }
}

const ADA: &str = "authorization: Bearer user-token-ada\r\n";
const BOB: &str = "authorization: Bearer user-token-bob\r\n";
const ODD: &str = "authorization: Bearer user-token-odd..-id\r\n";
const MONITOR: &str = "authorization: Bearer user-token-monitor\r\n";
const GRPC: &str = "content-type: application/grpc\r\nte: trailers\r\n";
const CART: &str = r#"{"product_id":1,"quantity":2}"#;
const LOGIN: &str = r#"{"user":"ada","password":"palisade"}"#;
const WRONG: &str = r#"{"user":"ada","password":"wrong"}"#;

const SHOPPING: &[Step] = &[
    get("192.0.2.1", "/us/products"),
    get("192.0.2.1", "/uk/products/3"),
    get("192.0.2.1", "/us/products/999"),
    get("192.0.2.1", "/xx/products"),
    step("192.0.2.1", "HEAD", "/us/products", "", ""),
    step("192.0.2.1", "OPTIONS", "/us/products", "", ""),
    step("192.0.2.1", "BREW", "/us/products", "", ""),
    step("192.0.2.1", "POST", "/us/cart", "", "{"),
    step("192.0.2.1", "POST", "/login", "", LOGIN),
    get("2001:db8::1", "/de/products"),
    get("2001:db8::2", "/fr/products"),
    get("not an address", "/jp/products"),
    step(
        "192.0.2.1",
        "GET",
        "/us/products",
        "authorization: Bearer nobody\r\n",
        "",
    ),
    // A customer orders, twice; the second is a VIP's.
    step("192.0.2.2", "POST", "/us/cart", ADA, CART),
    order(r#"{"order_id":"a1","payment_method":"paypal"}"#),
    order(r#"{"order_id":"a1","payment_method":"paypal"}"#),
    order(r#"{"order_id":"a2","payment_method":"paypal"}"#),
    step("192.0.2.2", "POST", "/us/cart", ADA, CART),
    order(r#"{"order_id":"a3","payment_method":"credit_card"}"#),
    step("192.0.2.2", "GET", "/us/products", ADA, ""),
    step("192.0.2.2", "GET", "/us/products", ADA, ""),
    // A user's limit, with the address's room unspent by denials; then the same by gRPC.
    step("192.0.2.3", "GET", "/br/products", BOB, ""),
    step("192.0.2.3", "GET", "/br/products", BOB, ""),
    step("192.0.2.3", "GET", "/br/products", BOB, ""),
    step("192.0.2.3", "GET", "/br/products", BOB, ""),
    step("192.0.2.3", "GET", "/br/products", BOB, ""),
    step("192.0.2.3", "GET", "/br/products", BOB, ""),
    step("192.0.2.3", "GET", "/br/products", BOB, ""),
    step("192.0.2.3", "HEAD", "/br/products", BOB, ""),
    get("192.0.2.3", "/br/products"),
    step("192.0.2.3", "GET", "/in/cart", BOB, ""),
    step("192.0.2.4", "GET", "/br/products", ODD, ""),
    step("192.0.2.4", "GET", "/br/products", MONITOR, ""),
    get("198.51.100.1", "/us/products"),
];

/// One more than an address's limit of twelve.
const FLOOD: [Step; 13] = [get("192.0.2.9", "/us/products"); 13];

/// The same denial over gRPC.
const FLOOD_OF_GRPC: &[Step] = &[
    step("192.0.2.9", "POST", "/us/cart", GRPC, ""),
    step(
        "192.0.2.9",
        "POST",
        "/us/cart",
        "content-type: application/grpc-web+proto\r\n",
        "",
    ),
];

const GUESSING: &[Step] = &[
    guess("203.0.113.1", WRONG),
    guess("203.0.113.1", r#"{"user":"bob","password":"x"}"#),
    guess("203.0.113.1", r#"{"user":"cy","password":"x"}"#),
    guess("203.0.113.2", WRONG),
    guess("203.0.113.3", WRONG),
];

const SCANNING: &[Step] = &[
    get("203.0.113.66", "/.env"),
    get("203.0.113.66", "/wp-login.php"),
    get("203.0.113.66", "/admin"),
    get("203.0.113.66", "/.git/config"),
];

const BANNED: &[Step] = &[
    get("203.0.113.66", "/us/products"),
    step("203.0.113.66", "POST", "/us/cart", GRPC, ""),
    get("203.0.113.67", "/us/products"),
];

fn exchange(shop: &str, step: &Step) -> String {
    let Step {
        from,
        method,
        path,
        head,
        body,
    } = step;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\nx-forwarded-for: {from}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n{head}\r\n{body}",
        body.len()
    );
    let request = match head.contains("content-type") {
        true => request.replacen("content-type: application/json\r\n", "", 1),
        false => request,
    };
    let mut stream = TcpStream::connect(shop).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw).unwrap();
    let head = head.replace("\r\n", "");
    format!(
        "> {from} {method} {path} {head} {body}\n{}",
        seen::response(&raw)
    )
}

fn run(webstore: &Webstore, steps: &[Step]) -> String {
    let run = steps.iter().map(|step| exchange(&webstore.shop, step));
    run.collect()
}

async fn until(webstore: &Webstore, wanted: &str, name: &str, labels: &[(&str, &str)], sum: f64) {
    let within = Duration::from_secs(60);
    let enough = |scrape: &Scrape| scrape.sum(name, labels) >= sum;
    webstore.scrape_until(wanted, within, enough).await;
}

const INCIDENTS: &str = "webstore_security_suspicious_activity_total";

async fn responses(webstore: &Webstore) -> String {
    let mut all = run(webstore, SHOPPING);
    all += &run(webstore, &FLOOD);
    all += &run(webstore, FLOOD_OF_GRPC);
    all += &run(webstore, GUESSING);
    until(webstore, "guesses are told", INCIDENTS, &[], 3.0).await;
    all += &run(
        webstore,
        &[step("203.0.113.1", "POST", "/login", "", LOGIN)],
    );
    all += &run(webstore, SCANNING);
    until(webstore, "a ban", "webstore_security_bans_total", &[], 1.0).await;
    all += &run(webstore, BANNED);
    all
}

/// The scrape, once what is counted beside the requests has been.
async fn settled_scrape(webstore: &Webstore) -> String {
    let metrics = Client::new(&webstore.admin);
    let (mut before, mut alike) = (String::new(), 0);
    for _ in 0..240 {
        let now = metrics.get("/metrics", &[]).await;
        let now = seen::scrape(&now.body);
        alike = if now == before { alike + 1 } else { 0 };
        if alike == 8 {
            return now;
        }
        before = now;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("the scrape never settles:\n{before}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shop_on_memory_answers_and_is_scraped_as_recorded() {
    let webstore = Webstore::start(None, CONFIG);
    compare("responses-memory.txt", &responses(&webstore).await);
    compare("scrape-memory.txt", &settled_scrape(&webstore).await);
    let legacy = Webstore::start(None, LEGACY);
    let steps = [
        get("192.0.2.9", "/us/products"),
        get("192.0.2.9", "/us/products"),
        get("192.0.2.9", "/us/products"),
    ];
    compare("responses-legacy.txt", &run(&legacy, &steps));
}

/// What a Redis server is sent, by its own MONITOR.
struct Monitor(Child);

impl Monitor {
    fn of(server: &RedisServer) -> Self {
        let mut child = Command::new("redis-cli")
            .args(["-p", &server.port().to_string(), "monitor"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("redis-cli runs");
        let mut first = [0; 2];
        child
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut first)
            .unwrap();
        Self(child)
    }

    /// The commands, and of EVALSHA also the script.
    fn sent(mut self, server: &RedisServer) -> String {
        server.cli(&["echo", "the end"]);
        let mut sent = BTreeSet::new();
        for line in BufReader::new(self.0.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let words: Vec<_> = line.split('"').skip(1).step_by(2).collect();
            match words[..] {
                ["echo", "the end"] => break,
                // What a script calls itself.
                [command, ..] if line.contains(" lua] ") => {
                    sent.insert(format!("in a script: {}", command.to_uppercase()));
                }
                [command, sha, ..] if command.eq_ignore_ascii_case("evalsha") => {
                    sent.insert(format!("EVALSHA {sha}"));
                }
                [command, ..] => {
                    sent.insert(command.to_uppercase());
                }
                [] => {}
            }
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
        sent.iter().map(|line| format!("{line}\n")).collect()
    }
}

/// Every key with its kind, whether it goes by itself, and its value where that is text.
fn keys(server: &RedisServer) -> String {
    let mut names: Vec<_> = server.cli(&["--scan"]).lines().map(str::to_owned).collect();
    names.sort();
    let mut all = String::new();
    for name in names {
        let kind = server.cli(&["type", &name]);
        let ttl: i64 = server.cli(&["ttl", &name]).parse().unwrap();
        let goes = match ttl {
            -1 => "stays".to_owned(),
            // With the last of what it counts, rounded up by a sixteenth of its life: by chance an hour more or less.
            _ if name.contains(":ledger:") => "goes".to_owned(),
            ttl => format!("goes in {} h", (ttl as f64 / 3_600.0).ceil()),
        };
        let value = match &*kind {
            // Five bytes a hit, whatever the time; other values are longer or shorter by the moments in them.
            "string" if name.contains(":rate:") => {
                format!("{} bytes", server.cli(&["strlen", &name]))
            }
            "string" => "bytes".to_owned(),
            "hash" => {
                let text = server.cli(&["hgetall", &name]);
                let lines: Vec<_> = text.lines().collect();
                let mut fields: Vec<_> = lines
                    .chunks(2)
                    .map(|pair| match pair {
                        ["counted", _] => "counted=<bytes>".to_owned(),
                        pair => pair.join("="),
                    })
                    .collect();
                fields.sort();
                fields.join(" ")
            }
            // Hashes, by a secret that is random.
            "zset" if name.contains("-things:") => {
                format!("{} things", server.cli(&["zcard", &name]))
            }
            "zset" => {
                let text = server.cli(&["zrange", &name, "0", "-1", "withscores"]);
                let lines: Vec<_> = text.lines().collect();
                let mut members: Vec<_> = lines.chunks(2).map(|pair| pair.join("=")).collect();
                members.sort();
                members.join(" ")
            }
            other => panic!("{name} is a {other}"),
        };
        all += &format!("{name} ({kind}, {goes}): {}\n", seen::value(&value));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shop_on_redis_answers_is_scraped_and_leaves_keys_as_recorded() {
    let server = RedisServer::start();
    let monitor = Monitor::of(&server);
    let webstore = Webstore::start(Some(&server.admin_url()), CONFIG);
    compare("responses-redis.txt", &responses(&webstore).await);
    compare("scrape-redis.txt", &settled_scrape(&webstore).await);
    compare("commands.txt", &monitor.sent(&server));
    compare("keys.txt", &keys(&server));
}
