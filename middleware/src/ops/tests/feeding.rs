use tokio::time::timeout;

use super::*;

#[tokio::test(start_paused = true)]
async fn numbers_are_what_became_of_requests() {
    let ops = Ops::new("shop");
    let config = config("rate_limit.ip = '4/1m'");
    let stack = Stack::builder().config(config).ops(&ops).build().unwrap();
    let service = statuses(&stack);
    for status in [200, 302, 404, 503, 200, 200] {
        service
            .clone()
            .oneshot(from("192.0.2.1", status))
            .await
            .unwrap();
    }
    // One that its client gives up, and one that is under way.
    drop(
        timeout(
            Duration::from_millis(1),
            service.clone().oneshot(from("192.0.2.2", 999)),
        )
        .await,
    );
    let mut waiting = Box::pin(service.oneshot(from("192.0.2.3", 999)));
    assert!(
        timeout(Duration::from_millis(1), &mut waiting)
            .await
            .is_err()
    );

    let mut events = Events::open(&ops.service()).await;
    let (name, hello) = events.next().await.unwrap();
    assert_eq!(name, "hello");
    assert_eq!(hello["service"], "shop");
    assert_eq!(hello["fed"], true);
    assert_eq!(hello["store"], "memory");
    assert_eq!(hello["policies"][0]["quota"], "4/1m");
    assert_eq!(hello["bans"], Value::Null);
    assert_eq!(hello["watches"][1]["kind"], "endpoint_scanning");
    assert_eq!(hello["top"]["counters"], 256);

    let (name, now) = events.next().await.unwrap();
    assert_eq!(name, "now");
    let sample = &now["sample"];
    let wanted = serde_json::json!({
        "total": 7, "ok": 2, "client_error": 1, "denied": 2, "banned": 0, "refused": 0, "server_error": 1, "cancelled": 1,
    });
    assert_eq!(sample["requests"], wanted);
    assert_eq!(sample["active"], 1);
    assert_eq!(sample["decisions"][0]["denied"], 2);
    // Those that wait were admitted too.
    assert_eq!(sample["decisions"][0]["admitted"], 6);
    assert_eq!(now["limited"]["clients"][0]["client"], "192.0.2.1");
    assert_eq!(now["limited"]["clients"][0]["count"], 2);
    assert_eq!(now["suspicious"]["clients"][0]["count"], 1);
    assert_eq!(now["suspicious"]["total"], 1);
    assert_eq!(now["store"]["state"], "ok");
    assert_eq!(now["bans"], Value::Null);
}

#[tokio::test]
async fn an_incident_and_its_ban_appear_and_the_ban_can_be_lifted() {
    let ops = Ops::new("shop");
    let config = config("suspicion.bans = {}\nsuspicion.endpoint_scanning = '3/5m'");
    let stack = Stack::builder().config(config).ops(&ops).build().unwrap();
    let service = statuses(&stack);
    let page = ops.service();
    let mut events = Events::open(&page).await;
    let (_, hello) = events.next().await.unwrap();
    assert_eq!(hello["bans"]["first"], "10m");
    for _ in 0..3 {
        service
            .clone()
            .oneshot(from("192.0.2.1", 404))
            .await
            .unwrap();
    }
    let has_ban = |now: &Value| now["bans"]["total"] == 1;
    let now = timeout(LONG, events.until(has_ban)).await.unwrap();
    assert_eq!(now["bans"]["list"][0]["client"], "192.0.2.1");
    assert_eq!(now["bans"]["list"][0]["reason"], "endpoint_scanning");
    assert_eq!(now["bans"]["stale"], false);
    assert_eq!(now["suspicious"]["clients"][0]["banned"], true);
    assert_eq!(now["events"][0]["event"], "client_banned");
    assert_eq!(now["events"][1]["event"], "suspicious_activity");
    assert_eq!(now["events"][1]["detail"], "3 in 5m, last 404, unmatched");
    let scanning = serde_json::json!(["endpoint_scanning", 1]);
    assert!(now["incidents"].as_array().unwrap().contains(&scanning));

    let banned = service
        .clone()
        .oneshot(from("192.0.2.1", 200))
        .await
        .unwrap();
    assert_eq!(banned.status(), StatusCode::TOO_MANY_REQUESTS);
    let lifted = serving::lift(&ops, &page, r#"{"client": "192.0.2.1"}"#).await;
    assert_eq!(
        (lifted.status, &*lifted.body),
        (StatusCode::OK, r#"{"lifted":true}"#)
    );
    let lifted = serving::lift(&ops, &page, r#"{"client": "192.0.2.1"}"#).await;
    assert_eq!(lifted.body, r#"{"lifted":false}"#);
    let free = service.oneshot(from("192.0.2.1", 200)).await.unwrap();
    assert_eq!(free.status(), StatusCode::OK);
    let is_lifted = |now: &Value| now["bans"]["total"] == 0;
    let now = timeout(LONG, events.until(is_lifted)).await.unwrap();
    assert_eq!(now["events"][0]["event"], "ban_lifted");
    assert_eq!(now["sample"]["requests"]["banned"], 1);
}

#[tokio::test(start_paused = true)]
async fn history_is_a_sample_a_second_of_the_last_five_minutes() {
    let ops = Ops::new("shop");
    let stack = Stack::builder().ops(&ops).build().unwrap();
    tokio::time::sleep(Duration::from_millis(5_500)).await;
    let (_, hello) = Events::open(&ops.service()).await.next().await.unwrap();
    assert_eq!(hello["history"].as_array().unwrap().len(), 6);
    tokio::time::sleep(Duration::from_secs(400)).await;
    let (_, hello) = Events::open(&ops.service()).await.next().await.unwrap();
    assert_eq!(hello["history"].as_array().unwrap().len(), 300);
    drop(stack);
}

#[test]
fn one_page_is_fed_by_one_stack() {
    let ops = Ops::new("shop");
    let first = Stack::builder().ops(&ops).build();
    assert!(first.is_ok());
    let error = Stack::builder().ops(&ops).build().unwrap_err();
    assert_eq!(error.key(), "ops");
}

#[tokio::test(start_paused = true)]
async fn the_sampler_ends_with_the_page_whatever_stack_goes_on() {
    let ops = Ops::new("shop");
    let config = config("suspicion.bans = {}");
    let stack = Stack::builder().config(config).ops(&ops).build().unwrap();
    let hub = std::sync::Arc::downgrade(&ops.0);
    let mut events = Events::open(&ops.service()).await;
    events.until(|_| true).await;
    drop((ops, events));
    assert!(hub.upgrade().is_none(), "something of the stack holds it");
    let answered = statuses(&stack).oneshot(from("192.0.2.1", 200)).await;
    assert_eq!(answered.unwrap().status(), StatusCode::OK);
}

#[test]
fn a_page_whose_runtime_ended_goes_on_in_the_next() {
    let ops = Ops::new("shop");
    for _ in 0..2 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut events = Events::open(&ops.service()).await;
            events.until(|_| true).await;
        });
    }
}
