//! A secret that is changed under two processes and their users.

use std::path::Path;

use palisade_tests::http::Client;
use palisade_tests::redis::RedisServer;
use palisade_tests::webstore::{PATIENT, Webstore};

const OFFICE: (&str, &str) = ("x-forwarded-for", "203.0.113.1");
const SCANNER: (&str, &str) = ("x-forwarded-for", "203.0.113.2");

/// A secret's file, and the previous one's.
fn start(redis: &RedisServer, secret: &Path, previous: Option<&Path>) -> Webstore {
    let previous = previous.map_or_else(String::new, |path| {
        format!("previous_secret_file = '{}'\n", path.display())
    });
    let config = format!(
        "{PATIENT}secret_file = '{}'\n[client]\ntrusted_proxies = ['127.0.0.0/8']\n[rate_limit]\nip = '1000000/1h'\n\
         [suspicion.bans]\nfor = '1h'\n[sessions]\n{previous}",
        secret.display()
    );
    Webstore::start(Some(&redis.url()), &config)
}

/// Users of one office, each with a session.
struct Office {
    tokens: Vec<String>,
}

impl Office {
    /// So many more users log in.
    async fn log_in(&mut self, shop: &Client, many: usize) {
        for _ in 0..many {
            let body = format!(
                r#"{{"user":"user{}","password":"palisade"}}"#,
                self.tokens.len()
            );
            let reply = shop.post("/login", &[OFFICE], &body).await;
            assert_eq!(reply.status, 200);
            let token = reply.json()["token"].as_str().unwrap().to_owned();
            self.tokens.push(token);
        }
    }

    /// Every session lives, as a cookie and as a bearer.
    async fn is_served(&self, what: &str, shop: &Client) {
        for (n, token) in self.tokens.iter().enumerate() {
            let bearer = ("authorization", &*format!("Bearer {token}"));
            let cookie = ("cookie", &*format!("__Host-session={token}"));
            for header in [bearer, cookie] {
                let path = "/api/v1/users/me/sessions/current";
                let reply = shop.get(path, &[header, OFFICE]).await;
                assert_eq!(reply.status, 200, "{what}: user{n} by {}", header.0);
            }
        }
    }
}

/// Scans until it is banned. What happened before has been judged by then.
async fn scan(shop: &Client) {
    for n in 0..1_000_000 {
        let reply = shop.get(&format!("/nothing{n}"), &[SCANNER]).await;
        if reply.status == 429 {
            return;
        }
    }
}

async fn bans(webstore: &Webstore) -> f64 {
    let scrape = webstore.scrape().await;
    scrape.sum("webstore_security_bans_total", &[])
}

#[tokio::test]
async fn by_the_documented_steps_every_session_lives_and_nobody_is_banned() {
    let redis = RedisServer::start();
    let files = tempfile::tempdir().unwrap();
    let [old, new] = ["old", "new"].map(|name| {
        let path = files.path().join(name);
        std::fs::write(&path, format!("the {name} secret of a shop")).unwrap();
        path
    });
    let mut office = Office { tokens: Vec::new() };
    let mut processes = [start(&redis, &old, None), start(&redis, &old, None)];
    office.log_in(&processes[0].client(), 12).await;
    let steps = [
        ("all accept the new one", &old, Some(&new)),
        ("all issue by the new one", &new, Some(&old)),
    ];
    for (what, secret, previous) in steps {
        for n in 0..2 {
            processes[n] = start(&redis, secret, previous.map(|path| &**path));
            // What either process makes now, both accept.
            for webstore in &processes {
                office.log_in(&webstore.client(), 1).await;
            }
            for webstore in &processes {
                office.is_served(what, &webstore.client()).await;
            }
        }
        for webstore in &processes {
            assert_eq!(bans(webstore).await, 0.0, "{what}");
        }
    }

    // The old one is dropped while its sessions live: they are worth nothing, and no attack.
    let after = start(&redis, &new, None);
    let shop = after.client();
    for token in &office.tokens[..12] {
        let cookie = format!("__Host-session={token}");
        let reply = shop
            .get("/us/products", &[("cookie", &cookie), OFFICE])
            .await;
        assert_eq!(reply.status, 200);
        let cleared = reply.headers["set-cookie"].to_str().unwrap();
        assert!(cleared.starts_with("__Host-session=;"), "{cleared}");
    }
    scan(&shop).await;
    assert_eq!(bans(&after).await, 1.0, "the scanner's alone");
    assert_eq!(shop.get("/us/products", &[OFFICE]).await.status, 200);
    // Sessions by the new one go on.
    office.tokens.drain(..18);
    office.is_served("the last steps", &shop).await;
}
