//! What fails is said.

use std::io::{Read, Write};
use std::net::TcpStream;

use palisade_tests::browser::Browser;
use palisade_tests::redis::RedisServer;
use palisade_tests::webstore::Webstore;

use super::contrast::assert_readable;
use super::{IS_LIVE, SOON, config, get, live, picture, scan, traffic};

#[tokio::test]
async fn says_that_it_reconnects_while_the_service_is_away_and_recovers() {
    let mut webstore = Webstore::start(None, &config());
    let browser = live(&webstore).await;
    traffic(&webstore).await;
    let counted =
        "return document.querySelector('#legend tr:last-child .total').textContent !== '0'";
    browser.until("requests are counted", SOON, counted).await;

    webstore.kill();
    let away = "return document.getElementById('connection-text').textContent.startsWith('Reconnecting: no news for ')";
    browser
        .until("it says that it reconnects", SOON, away)
        .await;
    let verdict = "return document.getElementById('verdict-title').textContent === 'No news from the service'";
    browser.until("the verdict says so", SOON, verdict).await;
    assert_readable(&browser).await;
    browser
        .save_picture(&picture("reconnecting-light-1600"))
        .await;

    webstore.restart();
    browser.until("it is live again", SOON, IS_LIVE).await;
    let afresh =
        "return document.querySelector('#legend tr:last-child .total').textContent === '0'";
    browser
        .until("the new process begins at zero", SOON, afresh)
        .await;

    // The page holds the token of the process before; the new one has another.
    let client = webstore.client();
    scan(&client, "203.0.113.7").await;
    let lift = "const button = document.querySelector('#bans-list .lift'); button?.click(); return Boolean(button)";
    browser.until("there is a ban again", SOON, lift).await;
    browser
        .run("document.querySelector('#bans-list .yes').click()")
        .await;
    let lifted = "return document.getElementById('answer').textContent === 'The ban of 203.0.113.7 is lifted.'";
    browser.until("the ban is lifted", SOON, lifted).await;
    assert_eq!(
        get(&client, "203.0.113.7", "/us/products").await.status,
        200
    );

    // The browser itself notes each connection that broke or was refused; nothing else may be there.
    let console = browser.console().await;
    let other = console.iter().filter(|it| !it.contains("\"network\": "));
    assert_eq!(other.collect::<Vec<_>>(), Vec::<&String>::new());
}

#[tokio::test]
async fn says_that_it_is_stale_while_the_service_hangs() {
    let webstore = Webstore::start(None, &config());
    let browser = live(&webstore).await;
    webstore.signal("STOP");
    let stale = "return document.getElementById('connection-text').textContent.startsWith('Stale: no news for ')";
    browser.until("it says that it is stale", SOON, stale).await;
    webstore.signal("CONT");
    browser.until("it is live again", SOON, IS_LIVE).await;
    assert_eq!(browser.console().await, Vec::<String>::new());
}

#[tokio::test]
async fn says_that_the_store_fails_and_what_the_limits_then_do() {
    let mut redis = RedisServer::start();
    let config = format!(
        "{}[rate_limit.policies.checkout]\nkey = 'user'\nquota = '5/1m'\nroutes = ['POST /{{country}}/orders']\non_store_failure = 'closed'\n",
        config()
    );
    let webstore = Webstore::start(Some(&redis.url()), &config);
    let browser = live(&webstore).await;
    let client = webstore.client();
    assert_eq!(get(&client, "192.0.2.1", "/us/products").await.status, 200);
    let fine = "return document.getElementById('store-kind').textContent === 'redis' && document.getElementById('verdict').dataset.level === 'quiet'";
    browser.until("all is quiet", SOON, fine).await;

    redis.kill();
    for _ in 0..10 {
        assert_eq!(get(&client, "192.0.2.1", "/us/products").await.status, 200);
    }
    let failing = "
        return document.getElementById('verdict').dataset.level === 'bad'
          && document.getElementById('verdict-title').textContent === 'The store is failing'
          && document.getElementById('verdict-detail').textContent";
    let detail = browser.until("the banner is there", SOON, failing).await;
    let detail = detail.as_str().unwrap();
    assert!(
        detail.contains("ip, user: kept in each process alone"),
        "{detail}"
    );
    assert!(
        detail.contains("checkout: every request refused"),
        "{detail}"
    );
    let fallback = "
        const cell = document.querySelector('#limits-list tr td:last-child .total');
        return cell.textContent !== '0' && cell.textContent";
    browser
        .until("the fallback is counted", SOON, fallback)
        .await;
    assert_readable(&browser).await;
    browser.save_picture(&picture("failing-light-1600")).await;
    browser.prefer(&[("prefers-color-scheme", "dark")]).await;
    assert_readable(&browser).await;
    browser.save_picture(&picture("failing-dark-1600")).await;

    redis.restart();
    let mended = "return document.querySelector('#tile-store .under').textContent.startsWith('redis') && document.getElementById('verdict').dataset.level !== 'bad'";
    browser.until("the store answers again", SOON, mended).await;
    assert_eq!(browser.console().await, Vec::<String>::new());
}

#[tokio::test]
async fn says_why_when_too_many_pages_are_open_and_recovers() {
    let webstore = Webstore::start(None, &config());
    let open = |_| {
        let mut stream = TcpStream::connect(&webstore.admin).unwrap();
        let request = b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n";
        stream.write_all(request).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 200");
        stream
    };
    let pages: Vec<_> = (0..8).map(open).collect();
    let browser = Browser::start().await;
    browser.open(&format!("http://{}/", webstore.admin)).await;
    let why = "return document.getElementById('verdict-detail').textContent.startsWith('The service says: 8 pages are open')";
    browser.until("it says why", SOON, why).await;
    drop(pages);
    browser.until("it is live", SOON, IS_LIVE).await;
}
