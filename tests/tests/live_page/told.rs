//! What the page makes of a stream that the test writes itself.

use palisade_tests::browser::Browser;
use palisade_tests::webstore::Webstore;
use serde_json::{Value, json};

use super::contrast::assert_readable;
use super::{SOON, config};

/// The service's own page, whose stream is the test's.
struct Told {
    browser: Browser,
    _webstore: Webstore,
}

impl Told {
    async fn open() -> Self {
        Self::open_after("").await
    }

    /// Opens the page after a script that its browser runs first.
    async fn open_after(script: &str) -> Self {
        let webstore = Webstore::start(None, &config());
        let browser = Browser::start().await;
        browser.run_first(include_str!("told.js")).await;
        browser.run_first(script).await;
        browser.open(&format!("http://{}/", webstore.admin)).await;
        Self {
            browser,
            _webstore: webstore,
        }
    }

    /// Tells the page something, and returns what an expression is after it has drawn that.
    async fn after(&self, tell: &str, expression: &str) -> Value {
        let script = format!("{tell}; return drawn().then(() => ({expression}))");
        self.browser.run(&script).await
    }

    async fn text(&self, tell: &str, selector: &str) -> String {
        let expression = format!("document.querySelector({selector:?}).innerText");
        let text = self.after(tell, &expression).await;
        text.as_str().unwrap().to_owned()
    }
}

const RATE: &str = "#tile-requests .figure span";
const TOTAL: &str = "#legend tr:last-child .total";

#[tokio::test]
async fn claims_nothing_before_its_figures_came() {
    const VERDICT: &str = "#verdict-title";
    const WAITS: &str = "Waiting for the first figures";
    let shown = "[...document.querySelectorAll('.tiles, .row')].filter((it) => !it.hidden).length";
    let told = Told::open().await;
    let stand =
        "return ['tile-store', 'incidents', 'bans'].every((id) => document.getElementById(id))";
    told.browser.until("the panels stand", SOON, stand).await;
    assert_eq!(told.after("", shown).await, 0);
    assert_eq!(told.text("tell('hello', hello([]))", VERDICT).await, WAITS);
    assert_eq!(told.after("", shown).await, 0);
    // One figure of a process that is up for long tells no rate, and the store has not told of bans.
    let one =
        "tell('now', now(sample(900_000, 1_010), { bans: { list: [], total: 0, stale: true } }))";
    assert_eq!(told.text(one, VERDICT).await, WAITS);
    for tile in ["refused", "errors", "latency"] {
        let under = told.text("", &format!("#tile-{tile} .under")).await;
        assert_eq!(under, "waiting for figures", "{tile}");
    }
    let bans = told.text("", "#bans-empty").await;
    assert!(bans.starts_with("The store has not told"), "{bans}");
    let two = "tell('now', now(sample(901_000, 1_020)))";
    assert_eq!(told.text(two, VERDICT).await, "All quiet");
    assert!(told.text("", "#bans-empty").await.starts_with("No bans."));
    assert_eq!(told.text("", "#tile-errors .under").await, "none in 5 min");
    // Another process begins anew.
    let other = "tell('hello', hello([], { started: 1_790_000_900_000 }))";
    assert_eq!(told.text(other, VERDICT).await, WAITS);
    assert_eq!(told.after("", shown).await, 0);
}

#[tokio::test]
async fn rates_are_differences_of_samples_by_uptime() {
    let told = Told::open().await;
    let tell = "tell('hello', hello(steady(1, 100))); tell('now', now(sample(101_000, 1_010)))";
    assert_eq!(told.text(tell, RATE).await, "10");
    // Half a second with 100 requests, whatever the wall clock says meanwhile.
    let tell = "tell('now', now(sample(101_500, 1_110, { at: 5 })))";
    assert_eq!(told.text(tell, RATE).await, "19");
    // A message that is told again changes nothing.
    assert_eq!(told.text(tell, RATE).await, "19");
}

#[tokio::test]
async fn a_process_that_restarted_starts_afresh() {
    let told = Told::open().await;
    told.after(
        "tell('hello', hello(steady(1, 100))); tell('now', now(sample(101_000, 9_000)))",
        "1",
    )
    .await;
    let restart = "tell('hello', hello([sample(1_000, 4)], { started: 1_790_000_200_000 })); tell('now', now(sample(2_000, 6)))";
    assert_eq!(told.text(restart, RATE).await, "3.0");
    assert_eq!(told.text("", TOTAL).await, "6");
    // Also one that says nothing of it.
    assert_eq!(
        told.text("tell('now', now(sample(1_000, 2)))", RATE).await,
        "2.0"
    );
    let runs = "document.querySelector('#chart-svg .o-ok').getAttribute('d')";
    assert_eq!(told.after("", runs).await, json!(""));
}

#[tokio::test]
async fn time_that_nobody_told_of_is_not_drawn_as_zero() {
    let told = Told::open().await;
    let tell = "tell('hello', hello([...steady(1, 60), ...steady(90, 119)])); tell('now', now(sample(120_000, 1_200)))";
    let drawn = "[
        document.querySelector('#chart-svg .o-ok').getAttribute('d').split('M').length - 1,
        document.querySelector('#chart-svg .gap').getBBox().width / document.querySelector('#chart-svg .grid path').getBBox().width,
        document.querySelector('#tile-requests .line').getAttribute('d').split('M').length - 1,
    ]";
    let drawn = told.after(tell, drawn).await;
    assert_eq!([&drawn[0], &drawn[2]], [&json!(2), &json!(2)]);
    let gap = drawn[1].as_f64().unwrap();
    assert!((gap - 0.1).abs() < 0.005, "30 s of 300 s are {gap}");
    // Ten a second before and after, so the height is one throughout.
    let heights = "[...new Set(document.querySelector('#tile-requests .line').getAttribute('d').match(/,[\\d.]+/g))].length";
    assert_eq!(told.after("", heights).await, json!(1));
}

#[tokio::test]
async fn maintenance_leads_the_verdict_while_it_is_on_and_is_not_there_otherwise() {
    let told = Told::open().await;
    let requests = "requests: { ...requests(0), total: 9, refused: 9 }, maintenance: { refused: 9, exempt: 1 }";
    let on = format!(
        "tell('hello', hello([sample(1_000, 0)], {{ maintenance: '10m' }})); tell('now', now(sample(2_000, 0, {{ {requests} }})))"
    );
    let verdict = told.text(&on, "#verdict").await;
    assert!(verdict.contains("Maintenance is on"), "{verdict}");
    assert!(verdict.contains("9 requests refused"), "{verdict}");
    assert!(verdict.contains("come back in 10m"), "{verdict}");
    assert_eq!(
        told.text("", "#maintenance-requests").await,
        "9 refused, 1 exempt"
    );
    let off = "tell('hello', hello([])); tell('now', now(sample(3_000, 30)))";
    let verdict = told.text(off, "#verdict").await;
    assert!(!verdict.contains("Maintenance"), "{verdict}");
    let shown = "document.getElementById('maintenance').checkVisibility()";
    assert_eq!(told.after("", shown).await, json!(false));
}

#[tokio::test]
async fn odd_text_stays_text() {
    let told = Told::open().await;
    let tell = r#"
        const odd = '<img src=x onerror="document.title=1">';
        const top = { clients: [{ client: odd, count: 5, error: 2, banned: true }], total: 9, error: 2, missing: 3 };
        tell('hello', hello([], { service: odd, watches: [{ kind: odd, count: 2, window: odd }], stages: [odd] }));
        tell('now', now(sample(2_000, 1), {
          limited: top, suspicious: top, incidents: [[odd, 1]], segments: [[odd, 1]],
          events: [{ number: 1, at: 1, event: odd, kind: odd, client: odd, detail: odd }],
          bans: { list: [{ ...ban(odd), reason: odd }], total: 1, stale: false },
          store: { state: 'failing', last_error: odd, corrupt_keys: 1, calls: 1, failed: 1, seconds: 0 },
        }))"#;
    let expression =
        "[document.images.length, document.body.innerText.split('<img src=x').length > 12]";
    assert_eq!(told.after(tell, expression).await, json!([0, true]));
    assert_eq!(told.browser.console().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_panel_whose_module_throws_is_named_and_the_others_go_on() {
    // The funnel's module makes a template when it is loaded.
    let throws = "
        const { set } = Object.getOwnPropertyDescriptor(Element.prototype, 'innerHTML');
        Object.defineProperty(Element.prototype, 'innerHTML', { set(html) {
          if (html.includes('neck')) throw new Error('no neck <b>');
          set.call(this, html);
        } });";
    let told = Told::open_after(throws).await;
    let tell = "tell('hello', hello(steady(1, 100))); tell('now', now(sample(101_000, 1_010)))";
    assert_eq!(told.text(tell, RATE).await, "10");
    let verdict = told.text("", "#verdict").await;
    assert!(verdict.contains("The panel “funnel” failed"), "{verdict}");
    assert!(
        verdict.contains("no neck <b>. The other panels go on"),
        "{verdict}"
    );
    let shown = "['traffic', 'limits', 'bans', 'segments'].every((it) => document.getElementById(it).checkVisibility())";
    assert_eq!(told.after("", shown).await, json!(true));
    let funnel = "document.getElementById('funnel')";
    assert_eq!(told.after("", funnel).await, json!(null));
    assert_readable(&told.browser).await;
}

#[tokio::test]
async fn a_panel_that_cannot_be_loaded_is_named_and_the_others_go_on() {
    let webstore = Webstore::start(None, &config());
    let browser = Browser::start().await;
    browser.run_first(include_str!("told.js")).await;
    browser.devtools("Network.enable", &json!({})).await;
    let blocked = json!({"urls": ["*/panels/suspicion.js"]});
    browser.devtools("Network.setBlockedURLs", &blocked).await;
    browser.open(&format!("http://{}/", webstore.admin)).await;
    let told = Told {
        browser,
        _webstore: webstore,
    };
    let tell = "tell('hello', hello(steady(1, 100))); tell('now', now(sample(101_000, 1_010)))";
    assert_eq!(told.text(tell, RATE).await, "10");
    let named = "return document.getElementById('verdict').innerText.includes('The panel “suspicion” failed')";
    let browser = &told.browser;
    browser.until("the panel is named", SOON, named).await;
}

#[tokio::test]
async fn a_panel_that_cannot_draw_is_named_until_it_can_again() {
    let told = Told::open().await;
    let broken =
        "tell('hello', hello([], { policies: null })); tell('now', now(sample(2_000, 20)))";
    assert_eq!(told.text(broken, TOTAL).await, "20");
    let verdict = told.text("", "#verdict").await;
    assert!(
        verdict.contains("The panel “rate_limit” failed"),
        "{verdict}"
    );
    let mended = "tell('hello', hello([])); tell('now', now(sample(3_000, 30)))";
    let verdict = told.text(mended, "#verdict").await;
    assert!(!verdict.contains("failed"), "{verdict}");
    assert!(told.text("", "#limits-list").await.contains("200/1m"));
}

#[tokio::test]
async fn counts_say_in_words_how_wrong_they_may_be() {
    let told = Told::open().await;
    let tell = "
        const top = { clients: [
          { client: '192.0.2.1', count: 90, error: 12, banned: true },
          { client: '192.0.2.2', count: 40, error: 0, banned: false },
        ], total: 210, error: 12, missing: 30 };
        tell('hello', hello([]));
        tell('now', now(sample(2_000, 1), { limited: top }))";
    let rows = "[...document.querySelectorAll('#limited-list tr')].map((it) => it.innerText.split(/\\s+/).join(' '))";
    assert_eq!(
        told.after(tell, rows).await,
        json!([
            "192.0.2.1 banned 90 at most 12 too high",
            "192.0.2.2 40 exact"
        ])
    );
    assert_eq!(
        told.text("", "#limited-foot").await,
        "210 denied in all; no count is more than 12 too high, and nobody missing has more than 30."
    );
}

#[tokio::test]
async fn what_is_off_is_said_or_left_out() {
    let told = Told::open().await;
    let tell = "
        const off = { bans: null, watches: [], policies: [], stages: [], segments: false };
        tell('hello', hello([], off));
        tell('now', now({ ...sample(2_000, 1), decisions: [], stages: [] },
          { bans: null, population: null, segments: [], incidents: [] }))";
    let hidden = "['funnel', 'segments', 'customers'].map((it) => document.getElementById(it).checkVisibility())";
    assert_eq!(told.after(tell, hidden).await, json!([false, false, false]));
    let page = told.text("", "main").await;
    for text in [
        "Bans are off. With [suspicion.bans] in the configuration,",
        "No limits are active.",
        "Nothing is watched for.",
        "Suspicious activity is not watched for; one appears when a client is banned",
    ] {
        assert!(page.contains(text), "{text:?} is not in {page}");
    }
    let elsewhere = "
        tell('hello', hello([]));
        tell('now', now(sample(2_000, 1), { population: null }))";
    let foot = told.text(elsewhere, "#segments-foot").await;
    assert!(
        foot.starts_with("One process at a time counts the population"),
        "{foot}"
    );
    assert_readable(&told.browser).await;
}

#[tokio::test]
async fn a_page_that_nothing_feeds_does_not_call_it_quiet() {
    let told = Told::open().await;
    let tell = "
        const off = { fed: false, bans: null, watches: [], policies: [], stages: [], segments: false };
        tell('hello', hello([], off));
        tell('now', now({ ...sample(2_000, 0), decisions: [], stages: [] },
          { bans: null, population: null, segments: [], incidents: [] }))";
    let verdict = told.text(tell, "#verdict").await;
    assert!(verdict.contains("Nothing is counted here"), "{verdict}");
    assert!(!verdict.contains("uiet"), "{verdict}");
    assert_eq!(
        told.text("", "#chart-empty").await,
        "Requests are not counted."
    );
    assert_readable(&told.browser).await;
}

#[tokio::test]
async fn a_ban_that_could_not_be_lifted_says_why_and_keeps_the_focus() {
    let told = Told::open().await;
    let tell = "
        window.sent = [];
        window.fetch = async (url, { headers, body }) => {
          sent.push([url, body, headers['x-palisade-token'].length]);
          return new Response('{\"detail\": \"The store did not answer.\"}', { status: 503 });
        };
        tell('hello', hello([]));
        tell('now', now(sample(2_000, 1), { bans: { list: [ban('192.0.2.1'), ban('192.0.2.2')], total: 2, stale: true } }))";
    told.after(tell, "1").await;
    let lift = "
        const row = document.querySelector('#bans-list tr');
        row.querySelector('.lift').click();
        row.querySelector('.yes').click()";
    let shown = "[
        document.querySelector('#bans-list .outcome').innerText,
        document.activeElement.getAttribute('aria-label'),
        sent,
        document.getElementById('bans-note').innerText,
    ]";
    assert_eq!(
        told.after(lift, shown).await,
        json!([
            "The store did not answer.",
            "Lift the ban of 192.0.2.1",
            [["bans/lift", r#"{"client":"192.0.2.1"}"#, 32]],
            "The store does not tell now: this is what was last known, and what this process imposed alone since."
        ])
    );
    assert_readable(&told.browser).await;
    // What comes each second takes neither the text nor the focus away, whatever order the bans are in.
    let tell = "tell('now', now(sample(3_000, 1), { bans: { list: [ban('192.0.2.3'), ban('192.0.2.2'), ban('192.0.2.1')], total: 3, stale: false } }))";
    let kept = "[document.querySelector('#bans-list tr:last-child .outcome').innerText, document.activeElement.getAttribute('aria-label')]";
    assert_eq!(
        told.after(tell, kept).await,
        json!(["The store did not answer.", "Lift the ban of 192.0.2.1"])
    );
    // A user is lifted as one, whatever its id looks like.
    let tell = "
        const { client, ...of } = ban('192.0.2.1');
        tell('now', now(sample(4_000, 1), { bans: { list: [ban('192.0.2.1'), { ...of, user: '192.0.2.1' }], total: 2, stale: false } }))";
    let names = "[...document.querySelectorAll('#bans-list .client')].map((it) => it.textContent)";
    let named = json!(["192.0.2.1", "user 192.0.2.1"]);
    assert_eq!(told.after(tell, names).await, named);
    let tell = "
        sent.length = 0;
        const row = document.querySelector('#bans-list tr:last-child');
        row.querySelector('.lift').click();
        row.querySelector('.yes').click()";
    let shown = "[document.activeElement.getAttribute('aria-label'), sent[0][1]]";
    assert_eq!(
        told.after(tell, shown).await,
        json!(["Lift the ban of user 192.0.2.1", r#"{"user":"192.0.2.1"}"#])
    );
}

#[tokio::test]
async fn a_hidden_page_draws_nothing_and_catches_up_when_it_is_seen() {
    let told = Told::open().await;
    told.after(
        "tell('hello', hello([])); tell('now', now(sample(2_000, 20)))",
        "1",
    )
    .await;
    let hide = "
        let hidden = true;
        Object.defineProperty(document, 'hidden', { get: () => hidden });
        window.reveal = () => { hidden = false; document.dispatchEvent(new Event('visibilitychange')); };
        tell('now', now(sample(3_000, 40)))";
    assert_eq!(told.text(hide, TOTAL).await, "20");
    assert_eq!(told.text("reveal()", TOTAL).await, "40");
}

#[tokio::test]
async fn less_motion_is_none_where_it_is_wanted() {
    let told = Told::open().await;
    let event = |number: u32| {
        format!(
            "tell('now', now(sample({number}000, 1), {{ events: [{{ number: {number}, at: 1_790_000_000_000 + {number}000, \
             event: 'client_banned', kind: 'abuse', client: '192.0.2.1', detail: 'x' }}] }}))"
        )
    };
    let moving = "document.getAnimations().length";
    let first = format!("tell('hello', hello([])); {}", event(2));
    assert_eq!(told.after(&first, moving).await, json!(1));
    told.browser
        .prefer(&[("prefers-reduced-motion", "reduce")])
        .await;
    assert_eq!(told.after(&event(3), moving).await, json!(0));
}

/// Megabytes that the page keeps: the lowest of a few figures, since it draws once a second, perhaps between a collection
/// and the figure.
async fn kept(browser: &Browser) -> f64 {
    let mut lowest = f64::INFINITY;
    for _ in 0..5 {
        let nothing = json!({});
        browser
            .devtools("HeapProfiler.collectGarbage", &nothing)
            .await;
        let heap = browser.devtools("Runtime.getHeapUsage", &nothing).await;
        lowest = lowest.min(heap["usedSize"].as_f64().unwrap() / 1e6);
    }
    lowest
}

#[tokio::test]
async fn hours_take_no_more_memory_than_minutes() {
    let told = Told::open().await;
    // Each second has other clients, events and bans, as many as there may be.
    let script = "
        window.hours = (from, to) => {
          if (from === 1) tell('hello', hello([]));
          for (let i = from; i <= to; i += 1) {
            const of = (n, make) => Array.from({ length: n }, (_, k) => make(i * 100 + k));
            const clients = of(10, (k) => ({ client: `client ${k}`, count: k, error: 0, banned: false }));
            const top = { clients, total: 1, error: 0, missing: 0 };
            tell('now', now(sample(i * 1_000, i), {
              limited: top, suspicious: top, bans: { list: of(100, (k) => ban(`client ${k}`)), total: 100, stale: false },
              events: of(50, (k) => ({ number: i * 100 - k, at: 1, event: 'client_banned', kind: 'abuse', client: 'x', detail: `${k}` })),
            }));
          }
        };
        window.frame = async (from, to) => { for (let i = from; i <= to; i += 30) { hours(i, i + 29); await drawn(); } }";
    told.after(script, "1").await;
    let mut sizes = Vec::new();
    for (from, to) in [(1, 330), (331, 660), (661, 1_980)] {
        let run =
            format!("return frame({from}, {to}).then(() => document.querySelectorAll('*').length)");
        let nodes = told.browser.run(&run).await.as_u64().unwrap();
        sizes.push((nodes, kept(&told.browser).await));
    }
    let [_, (nodes, heap), (nodes_later, heap_later)] = sizes[..] else {
        panic!("{sizes:?}");
    };
    assert_eq!(nodes, nodes_later, "{sizes:?}");
    assert!(heap_later < heap + 1.0, "megabytes: {sizes:?}");
}
