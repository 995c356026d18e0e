//! What counts towards a ban: distinct things since the last one.

use http::header::{AUTHORIZATION, COOKIE};

use super::*;
use crate::suspicion::{Login, Watch};

/// A way to put a failure, and to wait until it is counted and its ban imposed.
async fn put(layer: &SuspicionLayer, request: Request<()>) {
    let counted = || layer.tally().failures(FailureResult::Counted);
    let before = counted();
    let failed = send(layer, request).await.status();
    assert!(failed.is_client_error());
    if failed != 429 {
        while counted() == before {
            tokio::task::yield_now().await;
        }
    }
}

async fn bans(layer: &SuspicionLayer) -> usize {
    layer.suspicions().bans().await.unwrap().len()
}

fn unauthorized(method: Method, header: Option<(http::HeaderName, &str)>) -> Request<()> {
    let mut request = at(client(1), "/401");
    *request.method_mut() = method;
    if let Some((name, value)) = header {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    request
}

#[tokio::test]
async fn who_goes_on_after_a_ban_shorter_than_the_window_is_banned_again_for_longer() {
    let (hand, store) = hand_store();
    let minute = Sentence::new(MINUTE, 4 * MINUTE)
        .unwrap()
        .jitter(0)
        .unwrap();
    let bans = Bans::embedded(store.clone()).sentence(minute);
    let watch = "10/2h".parse().unwrap();
    let layer = SuspicionLayer::embedded(store).bans(bans);
    let layer = built(layer.threshold(IncidentKind::EndpointScanning, watch));
    let mut refused = 0;
    for second in 0..1_200 {
        hand.advance(Duration::from_secs(1));
        if send(&layer, request(1, 404)).await.status() == 429 {
            refused += 1;
        } else {
            let counted = || layer.tally().failures(FailureResult::Counted);
            while counted() + refused <= second {
                tokio::task::yield_now().await;
            }
        }
    }
    // Bans of 1, 2, 4, 4 minutes, each after ten failures.
    let scanning = BanReason::Incident(IncidentKind::EndpointScanning);
    assert_eq!(layer.tally().bans(scanning), 6);
    assert_eq!(layer.tally().incidents(IncidentKind::EndpointScanning), 1);
    assert!(refused > 1_100, "{refused}");
}

#[tokio::test]
async fn a_ban_that_the_store_lost_is_imposed_again() {
    let (store, _, layer) = shared();
    fail(&layer, 1, 10).await;
    store.forget(network(1));
    a_second_passes(&layer);
    assert_eq!(status(&layer, 1).await, 200);
    fail(&layer, 1, 10).await;
    assert_eq!(status(&layer, 1).await, 429);
}

#[tokio::test]
async fn the_same_missing_path_is_one_thing_however_often_it_is_asked_for() {
    let (_, layer) = embedded();
    for n in 0..50 {
        put(&layer, at(client(1), &format!("/404/missing?n={n}"))).await;
    }
    assert_eq!(layer.tally().incidents(IncidentKind::EndpointScanning), 1);
    assert_eq!(layer.tally().incidents(IncidentKind::Abuse), 1);
    // A phone that asks for five icons twice.
    for icon in 0..10 {
        put(&layer, at(client(2), &format!("/404/icon-{}", icon % 5))).await;
    }
    assert_eq!(bans(&layer).await, 0);
}

#[tokio::test]
async fn one_expired_token_is_one_thing_and_each_guess_is_another() {
    let (_, layer) = embedded();
    for _ in 0..30 {
        put(&layer, unauthorized(Method::GET, None)).await;
        for method in [Method::GET, Method::POST] {
            let expired = Some((AUTHORIZATION, "Bearer expired"));
            put(&layer, unauthorized(method, expired)).await;
        }
    }
    assert_eq!(layer.tally().incidents(IncidentKind::CredentialStuffing), 1);
    assert_eq!(status(&layer, 1).await, 200);
    // Two things are known already.
    for guess in 0..3 {
        assert_eq!(bans(&layer).await, 0);
        let guess = format!("Bearer {guess}");
        put(
            &layer,
            unauthorized(Method::GET, Some((AUTHORIZATION, &guess))),
        )
        .await;
    }
    assert_eq!(status(&layer, 1).await, 429);
}

#[tokio::test]
async fn a_page_that_asks_who_is_signed_in_is_one_thing_whatever_its_cookies() {
    let (_, layer) = embedded();
    for visit in 0..30 {
        let cookie = format!("visits={visit}");
        put(&layer, unauthorized(Method::GET, Some((COOKIE, &cookie)))).await;
    }
    assert_eq!(layer.tally().incidents(IncidentKind::CredentialStuffing), 1);
    assert_eq!(bans(&layer).await, 0);
}

#[tokio::test]
async fn a_guess_that_no_header_shows_is_like_no_other() {
    let (_, layer) = embedded();
    for _ in 0..5 {
        assert_eq!(bans(&layer).await, 0);
        put(&layer, unauthorized(Method::POST, None)).await;
    }
    assert_eq!(bans(&layer).await, 1);

    // The same token with each request hides no login that its handler tells of.
    let (_, layer) = embedded();
    for _ in 0..5 {
        assert_eq!(bans(&layer).await, 0);
        let service = layer.layer(tower::service_fn(|request| async {
            let mut response = answer(request).await?;
            response.extensions_mut().insert(Login::failed("ada"));
            Ok::<_, Infallible>(response)
        }));
        let token = Some((AUTHORIZATION, "Bearer valid"));
        let counted = layer.tally().failures(FailureResult::Counted);
        let response = service.oneshot(unauthorized(Method::POST, token)).await;
        assert_eq!(response.unwrap().status(), 401);
        while layer.tally().failures(FailureResult::Counted) == counted {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(bans(&layer).await, 1);
}

#[tokio::test]
async fn a_signed_in_scanner_is_banned_everywhere_and_nobody_else_at_its_address() {
    let (hand, layer) = embedded();
    let ada = |octet| signed_in(octet, "ada");
    // From address to address, which helps no more.
    for n in 0..10 {
        assert_eq!(bans(&layer).await, 0, "{n}");
        put(&layer, of(ada(n), 404)).await;
    }
    let ban = layer.suspicions().bans().await.unwrap().remove(0);
    let scanning = BanReason::Incident(IncidentKind::EndpointScanning);
    assert_eq!((ban.subject, ban.reason), (user("ada").into(), scanning));
    for octet in [0, 9, 77] {
        let refused = send(&layer, of(ada(octet), 200)).await;
        assert_eq!(refused.status(), 429);
        assert_eq!(refused.headers()[RETRY_AFTER], "600");
        assert_eq!(status(&layer, octet).await, 200, "the address without her");
        let colleague = of(signed_in(octet, "bob"), 200);
        assert_eq!(send(&layer, colleague).await.status(), 200);
    }
    // Who goes on is banned again, for longer.
    hand.advance(10 * MINUTE);
    for _ in 0..10 {
        put(&layer, of(ada(1), 404)).await;
    }
    let ban = layer.suspicions().bans().await.unwrap().remove(0);
    assert_eq!((ban.strikes, ban.left), (2, 20 * MINUTE));
    assert!(layer.suspicions().lift(user("ada")).await.unwrap());
    assert_eq!(send(&layer, of(ada(1), 200)).await.status(), 200);
    for _ in 0..9 {
        put(&layer, of(ada(1), 404)).await;
    }
    assert_eq!(bans(&layer).await, 0, "the lift forgot what came before");
}

#[tokio::test]
async fn a_broken_client_of_a_signed_in_user_is_not_banned() {
    let (_, layer) = embedded();
    for n in 0..50 {
        put(&layer, at(signed_in(1, "ada"), &format!("/404/icon?{n}"))).await;
        put(&layer, at(signed_in(1, "ada"), "/403/list")).await;
    }
    assert_eq!(bans(&layer).await, 0);
}

#[tokio::test]
async fn an_office_of_signed_in_users_is_not_banned_for_their_failures() {
    let (_, layer) = embedded();
    for n in 0..12 {
        put(
            &layer,
            at(signed_in(1, &format!("user-{n}")), &format!("/404/{n}")),
        )
        .await;
    }
    assert_eq!(layer.tally().incidents(IncidentKind::EndpointScanning), 1);
    assert_eq!(bans(&layer).await, 0);
    for _ in 0..10 {
        put(&layer, at(signed_in(1, "user-0"), "/401")).await;
    }
    assert_eq!(bans(&layer).await, 0);
    // Who guesses behind a valid token of its own is banned all the same: the address, for the guesses are at others.
    for _ in 0..5 {
        assert_eq!(bans(&layer).await, 0);
        let mut guess = at(signed_in(1, "user-0"), "/401");
        *guess.method_mut() = Method::POST;
        let token = "Bearer valid".parse().unwrap();
        guess.headers_mut().insert(AUTHORIZATION, token);
        put(&layer, guess).await;
    }
    let bans = layer.suspicions().bans().await.unwrap();
    let banned: Vec<_> = bans.into_iter().map(|ban| ban.subject).collect();
    assert_eq!(banned, [network(1).into()]);
}

#[tokio::test]
async fn other_failures_are_told_apart_by_path_and_status() {
    let (_, layer) = embedded();
    // Broken, not hostile: it makes the same mistakes again and again, at ever new moments.
    for n in 0..50 {
        let path = format!("/{}/item/{}?at={n}", [400, 403, 422][n % 3], n % 6);
        put(&layer, at(client(1), &path)).await;
    }
    assert_eq!(bans(&layer).await, 0);
    for n in 0..20 {
        put(&layer, at(client(1), &format!("/403/item/{n}"))).await;
    }
    assert_eq!(bans(&layer).await, 1);
}

#[tokio::test]
async fn a_kind_can_count_every_failure_or_distinct_things_and_on_some_routes_alone() {
    let with = |watch: Watch| {
        let (_, store) = hand_store();
        let bans = Bans::embedded(store.clone());
        let builder = SuspicionLayer::embedded(store).bans(bans);
        built(builder.watch(IncidentKind::EndpointScanning, watch))
    };
    let ten = || Watch::new("10/5m".parse().unwrap());
    for (watch, incidents, banned) in [
        (ten(), 1, 0),
        (ten().distinct(false), 1, 1),
        (ten().distinct(true), 0, 0),
        (
            ten().distinct(false).routes(["POST /".parse().unwrap()]),
            0,
            0,
        ),
        (
            ten()
                .distinct(false)
                .routes(["GET unmatched".parse().unwrap()]),
            1,
            1,
        ),
    ] {
        let layer = with(watch.clone());
        for _ in 0..10 {
            put(&layer, at(client(1), "/404/missing")).await;
        }
        let told = layer.tally().incidents(IncidentKind::EndpointScanning);
        assert_eq!((told, bans(&layer).await), (incidents, banned), "{watch:?}");
    }
    let layer = with(ten().distinct(true));
    fail(&layer, 1, 10).await;
    assert_eq!(layer.tally().incidents(IncidentKind::EndpointScanning), 1);
    assert_eq!(bans(&layer).await, 1);
}

#[tokio::test]
async fn what_browsers_ask_for_by_themselves_is_exempt_by_a_preset() {
    let (_, store) = hand_store();
    let bans = Bans::embedded(store.clone());
    let builder = SuspicionLayer::embedded(store).bans(bans);
    let layer = built(builder.exempt(Exemptions::new().assets()));
    let service = layer.layer(tower::service_fn(|_: Request<()>| {
        let response = Response::builder().status(404);
        ready(Ok::<_, Infallible>(
            response.body(Full::<Bytes>::default()).unwrap(),
        ))
    }));
    let icons = (0..30).map(|n| format!("/apple-touch-icon-{n}x{n}.png"));
    // A page whose release is gone asks for them all at once.
    let chunks = (0..30).map(|n| format!("/assets/chunk-{n}.js"));
    for path in icons.chain(chunks).chain(["/missing".to_owned()]) {
        service.clone().oneshot(at(client(1), &path)).await.unwrap();
    }
    let tally = layer.tally();
    while tally.failures(FailureResult::Counted) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(tally.failures(FailureResult::Counted), 1);
    assert_eq!(tally.incidents(IncidentKind::EndpointScanning), 0);
}

#[test]
fn what_has_no_effect_on_a_kind_of_logins_is_refused() {
    let five = || Watch::new("5/5m".parse().unwrap());
    let routes = ["POST /login".parse().unwrap()];
    for (watch, is_refused) in [
        (five(), false),
        (five().distinct(true), true),
        (five().routes(routes), true),
    ] {
        let (_, store) = hand_store();
        let builder = SuspicionLayer::embedded(store);
        let built = builder.watch(IncidentKind::PasswordSpraying, watch);
        assert_eq!(built.build().is_err(), is_refused);
    }
}
