//! Takes the README's pictures of the live page, `docs/images/live-light.png` and `live-dark.png`, and of the webstore's account
//! page, `docs/images/account.png`.
//!
//! `cargo run -p palisade-tests --example live_page_pictures [-- SECONDS]` lets the webstore's own demo visit it on a Redis
//! of its own for so many seconds, 320 when nothing is said, so that the chart is full.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use palisade_tests::browser::Browser;
use palisade_tests::redis::RedisServer;
use palisade_tests::webstore::{PATIENT, Webstore};

/// As wide as the page becomes.
const WIDTH: u32 = 1_600;
/// Bytes that a README's reader should not have to wait for.
const MOST: u64 = 300_000;

#[tokio::main]
async fn main() {
    let seconds = std::env::args().nth(1).map_or(320, |it| {
        it.parse().expect("SECONDS is a whole number of seconds")
    });
    let redis = RedisServer::start();
    // A busy machine's late answers are not what the picture is about.
    let webstore = Webstore::start_with(Some(&redis.url()), PATIENT, &["--demo"]);
    let browser = Browser::start().await;
    browser.open(&format!("http://{}/", webstore.admin)).await;
    println!("visiting http://{}/ for {seconds} s", webstore.admin);
    account(&webstore).await;
    tokio::time::sleep(Duration::from_secs(seconds)).await;

    // The demo's bans are short; without one the picture would not show how they are lifted.
    let banned = "return document.querySelectorAll('#bans-list tr').length >= 2
        && document.getElementById('connection-text').textContent === 'Live'";
    let patience = Duration::from_secs(120);
    for theme in ["light", "dark"] {
        browser.prefer(&[("prefers-color-scheme", theme)]).await;
        let height = "return document.documentElement.scrollHeight";
        let height = browser.run(height).await.as_u64().expect("a page is high");
        let height = u32::try_from(height).expect("and not that high");
        browser.resize(WIDTH, height).await;
        browser.until("two bans", patience, banned).await;
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/images/live-{theme}.png"));
        browser.save_picture(&path).await;
        compress(&path);
        println!("{}", path.display());
    }
}

/// The account page of the demo's first user, who has two devices beside this browser.
async fn account(webstore: &Webstore) {
    let browser = Browser::start().await;
    browser.resize(1_000, 480).await;
    let page = format!("http://{}/account", webstore.shop);
    browser.open(&page).await;
    let sign_in = "
        const form = document.getElementById('form');
        if (document.getElementById('sign-in').hidden) return false;
        [form.user.value, form.password.value] = ['ada', 'palisade'];
        form.requestSubmit();
        return true";
    let patience = Duration::from_secs(120);
    browser.until("the form", patience, sign_in).await;
    let both = "return document.querySelectorAll('#list tr').length >= 3
        && document.getElementById('connection-text').textContent === 'Live'";
    browser
        .until("two devices beside this", patience, both)
        .await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/images/account.png");
    browser.save_picture(&path).await;
    compress(&path);
    println!("{}", path.display());
}

/// Leaves the picture 256 colours, of which the page has few enough.
fn compress(path: &Path) {
    let status = Command::new("pngquant")
        .args([
            "--force",
            "--skip-if-larger",
            "--strip",
            "--ext",
            ".png",
            "--speed",
            "1",
        ])
        .arg(path)
        .status();
    let status = status.expect("pngquant: `apt-get install pngquant`");
    assert!(status.success(), "pngquant failed");
    let size = path.metadata().expect("the picture is there").len();
    assert!(size < MOST, "{} is {size} bytes", path.display());
}
