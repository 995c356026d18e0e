//! A canary in every secret: none is in what Redis keeps, the metrics, the log, the live page or an answer. No address is there
//! either, but on the live page, in its list of bans, and in the names of what limits, suspicion and bans keep of it.

use std::io::Write;

use palisade_tests::SOON;
use palisade_tests::events::Events;
use palisade_tests::http::Client;
use palisade_tests::redis::{PASSWORD, RedisServer};
use palisade_tests::webstore::{PATIENT, Webstore};

use super::{CURRENT, PRODUCTS, SECRET, SESSIONS, WIDE, ask, bytes, end, forged, log_in};

const PREVIOUS: &str = "canary-of-the-previous-secret-5d1";
const OPERATOR: &str = "canary-of-the-operators-token-9b4";
const GUESS: &str = "canary-of-a-password-e27";
const HOME: [u8; 4] = [198, 51, 100, 23];
const AWAY: [u8; 4] = [203, 0, 113, 77];

fn text([a, b, c, d]: [u8; 4]) -> String {
    format!("{a}.{b}.{c}.{d}")
}

fn file(content: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "{content}").unwrap();
    file
}

fn has(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|it| it == wanted)
}

/// All keys and values, as they are.
fn dump(redis: &RedisServer) -> Vec<u8> {
    assert_eq!(redis.cli(&["CONFIG", "SET", "rdbcompression", "no"]), "OK");
    assert_eq!(redis.cli(&["SAVE"]), "OK");
    let folder = redis.cli(&["CONFIG", "GET", "dir"]);
    let folder = folder.lines().last().unwrap();
    std::fs::read(format!("{folder}/dump.rdb")).unwrap()
}

#[tokio::test]
async fn no_secret_is_kept_or_told() {
    let redis = RedisServer::start();
    let (previous, operator) = (file(PREVIOUS), file(OPERATOR));
    let config = format!(
        "{PATIENT}[client]\ntrusted_proxies = ['127.0.0.0/8']\n{WIDE}[log]\naccess = 1000\n\
         [suspicion]\nhash_clients = true\nsuccess_after_failures = 'on'\n[suspicion.bans]\n\
         [sessions]\nmax_per_user = 2\nprevious_secret_file = '{}'\noperator_token_file = '{}'\n",
        previous.path().display(),
        operator.path().display()
    );
    let mut webstore = Webstore::start(Some(&redis.url()), &config);
    let shop = webstore.client();
    let admin = Client::new(&webstore.admin);
    let (home, away) = (text(HOME), text(AWAY));

    let mut tokens = vec![];
    let mut ids = vec![];
    for user in ["ada", "ada", "ada", "bob"] {
        let (token, id) = log_in(&shop, user).await;
        tokens.push(token);
        ids.push(id);
    }
    let mut answers = vec![];
    for token in &tokens {
        for path in [CURRENT, SESSIONS, PRODUCTS, "/us/cart"] {
            answers.push(ask(&shop, path, token, &home).await);
            answers.push(ask(&shop, path, token, &away).await);
            answers.push(ask(&shop, path, &forged(token), &home).await);
        }
    }
    let statistics = format!("{SESSIONS}/statistics");
    answers.push(ask(&shop, &statistics, &tokens[1], &home).await);
    end(&shop, &tokens[2], &ids[2]).await;
    let wrong = format!(r#"{{"user":"ada","password":"{GUESS}"}}"#);
    for _ in 0..8 {
        let headers = [("x-forwarded-for", &*away)];
        answers.push(shop.post("/login", &headers, &wrong).await);
    }
    let bearer = format!("Bearer {OPERATOR}");
    for token in [&*bearer, "Bearer wrong"] {
        answers.push(
            admin
                .get("/sessions?user=ada", &[("authorization", token)])
                .await,
        );
    }
    webstore
        .log_until("an incident", SOON, |lines| {
            lines
                .iter()
                .any(|line| line["target"] == "palisade::security")
        })
        .await;

    let mut secrets: Vec<Vec<u8>> = [PREVIOUS, OPERATOR, GUESS, PASSWORD]
        .map(|it| it.as_bytes().to_vec())
        .into();
    secrets.push(SECRET.to_vec());
    for token in &tokens {
        let secret = token.rsplit('.').next().unwrap();
        let raw = bytes(secret);
        secrets.push(secret.as_bytes()[..20].to_vec());
        secrets.push(raw[..32].to_vec());
        secrets.push(raw[32..].to_vec());
    }
    let mut said = vec![];
    for path in ["/metrics", "/readyz", "/"] {
        said.push((
            path.to_owned(),
            admin.get(path, &[]).await.body.into_bytes(),
        ));
    }
    let mut page = Events::open(&webstore.admin).await;
    let frame = page.until("a frame", SOON, |_| true).await;
    said.push(("the live page".to_owned(), frame.to_string().into_bytes()));
    for line in webstore.log() {
        said.push(("the log".to_owned(), line.to_string().into_bytes()));
    }
    for answer in &answers {
        let all = format!("{:?} {}", answer.headers, answer.body);
        said.push(("an answer".to_owned(), all.into_bytes()));
    }
    // It writes no more.
    webstore.kill();
    let kept = dump(&redis);
    // The search finds what is there, in the names of limits an address too.
    assert!(has(&kept, b"palisade:session:{ada}:") && has(&kept, home.as_bytes()));
    is_clean("Redis", &kept, &secrets);
    let addresses = [home.into_bytes(), away.into_bytes()];
    for (what, text) in &said {
        is_clean(what, text, &secrets);
        // Operators lift bans on the live page, by the address.
        if what != "the live page" {
            is_clean(what, text, &addresses);
        }
    }
    // What sessions keep has no address, nor its four bytes.
    let keys = redis.cli(&["KEYS", "*"]);
    for key in keys
        .lines()
        .filter(|key| !key.starts_with("palisade:session"))
    {
        redis.cli(&["DEL", key]);
    }
    let kept = dump(&redis);
    assert!(has(&kept, b"palisade:session:{ada}:") && has(&kept, b"palisade:sessions-from:"));
    is_clean("Redis", &kept, &addresses);
    is_clean("Redis", &kept, &[HOME.to_vec(), AWAY.to_vec()]);
}

#[track_caller]
fn is_clean(what: &str, text: &[u8], canaries: &[Vec<u8>]) {
    for canary in canaries {
        let shown = String::from_utf8_lossy(canary);
        let all = String::from_utf8_lossy(text);
        assert!(!has(text, canary), "{what} has {shown:?}: {all}");
    }
}
