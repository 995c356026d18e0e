use std::time::Duration;

use super::*;
use crate::session::{EndReason, Renewal};

type Stream = Body<SessionsBody>;

fn events() -> Ask {
    ask("GET", &format!("{SESSIONS}/events"))
}

impl Shop {
    /// The status of a stream, which may have no end.
    async fn opened(&self, issued: &Issued) -> u16 {
        let response = self.open(events().bearer(issued).request()).await;
        response.status().as_u16()
    }

    async fn stream(&self, issued: &Issued) -> Stream {
        let response = self.open(events().bearer(issued).request()).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()[CONTENT_TYPE], "text/event-stream");
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        let mut stream = response.into_body();
        assert_eq!(next(&mut stream).await.unwrap(), "retry: 3000\n\n");
        stream
    }
}

/// The next text; `None` where the stream has closed.
async fn next(stream: &mut Stream) -> Option<String> {
    let frame = stream.frame().await?.unwrap();
    let text = frame.into_data().unwrap();
    Some(String::from_utf8(text.to_vec()).unwrap())
}

const BY_USER: &str = "\"user_request\"";

fn ended(issued: &Issued, reason: &str) -> String {
    let id = issued.session.id;
    format!("event: ended\ndata: {{\"session_id\":\"{id}\",\"reason\":{reason}}}\n\n")
}

#[tokio::test(start_paused = true)]
async fn a_stream_tells_what_begins_and_ends_within_a_second() {
    let shop = Shop::new(SessionsConfig::default());
    let ada = shop.log_in("ada").await;
    let mut stream = shop.stream(&ada).await;
    shop.log_in("bob").await;
    let phone = shop.log_in("ada").await;
    let begun = tokio::time::Instant::now();
    let text = next(&mut stream).await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 1);
    let data = text.strip_prefix("event: created\ndata: ").unwrap();
    let told: Value = serde_json::from_str(data.trim_end()).unwrap();
    assert_eq!(told["session_id"], phone.session.id.to_string());
    assert_eq!(told["is_current"], false);
    shop.bench
        .sessions
        .end(&user("ada"), phone.session.id)
        .await
        .unwrap();
    assert_eq!(next(&mut stream).await.unwrap(), ended(&phone, BY_USER));
}

#[tokio::test(start_paused = true)]
async fn a_stream_tells_the_alerts_of_its_user_and_why_others_ended_its_sessions() {
    let shop = Shop::new(SessionsConfig::default());
    let (ada, phone) = (shop.log_in("ada").await, shop.log_in("ada").await);
    let sessions = &shop.bench.sessions;
    let client = "192.0.2.1".parse().unwrap();
    sessions.succeeded_after_failures(&user("ada"), client);
    tokio::task::yield_now().await;
    let mut stream = shop.stream(&ada).await;
    // Of another user, and of one who was told so before the stream began.
    sessions.succeeded_after_failures(&user("bob"), client);
    sessions.succeeded_after_failures(&user("ada"), client);
    sessions.convicted(client, Duration::from_secs(60));
    let reason = EndReason::Conviction;
    let ended_one = sessions
        .end_for(&user("ada"), phone.session.id, reason)
        .await;
    assert!(ended_one.unwrap());
    let text = next(&mut stream).await.unwrap();
    assert_eq!(text, ended(&phone, "\"conviction\""));
    tokio::time::advance(Duration::from_secs(3_600)).await;
    sessions.succeeded_after_failures(&user("ada"), client);
    let text = next(&mut stream).await.unwrap();
    let data = text.strip_prefix("event: alert\ndata: ").unwrap();
    let told: Value = serde_json::from_str(data.trim_end()).unwrap();
    assert_eq!(told["type"], "success_after_failures");
    assert_eq!(told["session_id"], Value::Null);
    let at = humantime::parse_rfc3339(told["at"].as_str().unwrap()).unwrap();
    assert!(at.elapsed().unwrap() < Duration::from_secs(3_600));
    assert_eq!(told.as_object().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_stream_closes_with_its_session_and_tells_nothing_more() {
    let shop = Shop::new(SessionsConfig::default());
    for all in [false, true] {
        let (ada, _other) = (shop.log_in("ada").await, shop.log_in("ada").await);
        let mut stream = shop.stream(&ada).await;
        let begun = tokio::time::Instant::now();
        if all {
            shop.bench
                .sessions
                .end_all(&user("ada"), None)
                .await
                .unwrap();
        } else {
            shop.bench
                .sessions
                .end(&user("ada"), ada.session.id)
                .await
                .unwrap();
        }
        assert_eq!(next(&mut stream).await.unwrap(), ended(&ada, BY_USER));
        assert_eq!(next(&mut stream).await, None);
        assert!(begun.elapsed() <= Duration::from_millis(1_010));
    }
    let ada = shop.log_in("ada").await;
    let mut stream = shop.stream(&ada).await;
    let claim = shop.bench.claim(&ada);
    shop.bench
        .sessions
        .rotate(&claim, &Renewal::default())
        .await
        .unwrap();
    assert_eq!(next(&mut stream).await, None, "the old token opens nothing");
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_no_activity_and_neither_is_opening_it_again() {
    let shop = Shop::new(SessionsConfig::default());
    let ada = shop.log_in("ada").await;
    let mut stream = shop.stream(&ada).await;
    // Twice within the idle time, so that one touch would move the end.
    for minutes in [20, 9] {
        shop.bench.clock.advance(Duration::from_secs(minutes * 60));
        assert_eq!(next(&mut stream).await.unwrap(), ":\n\n");
        let other = shop.bench.elsewhere();
        let again = events()
            .bearer(&ada)
            .with("accept", "text/event-stream")
            .request();
        let response = other.layer(shop.api.clone()).oneshot(again).await.unwrap();
        assert_eq!(response.status(), 200);
    }
    shop.bench.clock.advance(Duration::from_secs(60));
    assert_eq!(next(&mut stream).await.unwrap(), ended(&ada, "null"));
    assert_eq!(next(&mut stream).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_session_has_four_streams_and_one_that_is_left_makes_room() {
    let shop = Shop::new(SessionsConfig::default());
    let (ada, phone) = (shop.log_in("ada").await, shop.log_in("ada").await);
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(shop.stream(&ada).await);
    }
    assert_eq!(shop.opened(&ada).await, 429);
    // Another service over the same sessions has no other places.
    let other = SessionsApi::new(&shop.bench.sessions);
    let service = shop.bench.layer.layer(other);
    let response = service
        .oneshot(events().bearer(&ada).request())
        .await
        .unwrap();
    assert_eq!(response.status(), 429);
    streams.push(shop.stream(&phone).await);
    streams.remove(0);
    streams.push(shop.stream(&ada).await);
    assert_eq!(shop.opened(&ada).await, 429);
    let asked = shop.bench.proofs();
    streams.clear();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(shop.bench.proofs(), asked, "the work ends with its client");
    shop.stream(&ada).await;
}

#[tokio::test(start_paused = true)]
async fn without_the_store_a_stream_lasts_as_long_as_a_known_session() {
    let shop = Shop::new(SessionsConfig::default());
    let ada = shop.log_in("ada").await;
    let mut stream = shop.stream(&ada).await;
    let begun = tokio::time::Instant::now();
    shop.bench.fail();
    while let Some(text) = next(&mut stream).await {
        assert_eq!(text, ":\n\n");
    }
    assert_eq!(begun.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_ends_closes_its_streams_at_once_and_opens_none() {
    let shop = Shop::new(SessionsConfig::default());
    let ada = shop.log_in("ada").await;
    let mut stream = shop.stream(&ada).await;
    let begun = tokio::time::Instant::now();
    shop.api.close();
    assert_eq!(next(&mut stream).await, None);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(shop.opened(&ada).await, 503);
}
