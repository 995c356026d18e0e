use std::collections::{BTreeSet, HashMap, VecDeque};

use axum::http::Uri;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn world(haste: u32) -> Arc<World> {
    Arc::new(World::new(7, Tempo::of_a_load_test(haste)))
}

/// Answers as a shop would: now and then it denies whom it may deny.
fn answer(ask: &Ask, chance: &mut Chance) -> Answer {
    let may_deny = ask.expected.contains(&429);
    let status = if may_deny && chance.percent(30) {
        429
    } else {
        ask.expected[0]
    };
    let retry_after = (status == 429).then_some(Duration::from_secs(3));
    let issued = (ask.is_login() && status == 200).then(|| Issued {
        token: "pls_token".to_owned(),
        session_id: Some("9f3c1b0e-5d64-4c7a-8f0b-2b6d1a9e4c11".to_owned()),
        cookie: ask.is_page.then(|| "session=pls_token".to_owned()),
    });
    Answer {
        status,
        retry_after,
        issued,
    }
}

/// What one visitor of the kind asks for, and when.
fn asked(kind: Kind, world: &Arc<World>, times: usize) -> Vec<(Duration, Ask)> {
    asked_of(kind, world, times, true)
}

/// As [`asked`], of a shop with sessions or without.
fn asked_of(
    kind: Kind,
    world: &Arc<World>,
    times: usize,
    has_sessions: bool,
) -> Vec<(Duration, Ask)> {
    let mut persona = kind.visit(world);
    let (mut now, mut chance) = (Duration::ZERO, Chance::new(11));
    let mut asked = Vec::with_capacity(times);
    for _ in 0..times {
        let ask = persona.next();
        now += ask.pause;
        let mut answer = answer(&ask, &mut chance);
        if let Some(issued) = answer.issued.as_mut().filter(|_| !has_sessions) {
            issued.session_id = None;
            issued.cookie = None;
        }
        persona.hear(answer);
        asked.push((now, ask));
    }
    asked
}

#[test]
fn every_request_can_be_sent_and_has_a_right_answer() {
    let world = world(1);
    for kind in Kind::ALL {
        for (_, ask) in asked(kind, &world, 2_000) {
            assert!(ask.path.parse::<Uri>().is_ok(), "{kind:?}: {ask:?}");
            assert!(!ask.expected.is_empty(), "{kind:?}: {ask:?}");
            assert!(ask.pause < MINUTE, "{kind:?}: {ask:?}");
            if let Some(user) = &ask.user {
                assert!(crate::identifier::is_valid(user), "{kind:?}: {user}");
            }
        }
    }
}

#[test]
fn reports_name_few_requests() {
    let world = world(1);
    for kind in Kind::ALL {
        let asked = asked(kind, &world, 2_000);
        let names: BTreeSet<_> = asked.iter().map(|(_, ask)| ask.name).collect();
        assert!(names.len() <= 6, "{kind:?}: {names:?}");
    }
}

#[test]
fn one_seed_makes_one_run() {
    let run = |seed| {
        let world = Arc::new(World::new(seed, Tempo::of_a_demo()));
        let of = |kind| asked(kind, &world, 300);
        format!("{:?}", Kind::ALL.map(of))
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

/// The most requests of one key in any minute.
fn busiest(requests: impl Iterator<Item = (Duration, String)>) -> usize {
    let mut recent: HashMap<String, VecDeque<Duration>> = HashMap::new();
    let mut most = 0;
    for (at, key) in requests {
        let recent = recent.entry(key).or_default();
        recent.push_back(at);
        while recent.front().is_some_and(|first| *first + MINUTE <= at) {
            recent.pop_front();
        }
        most = most.max(recent.len());
    }
    most
}

#[test]
fn honest_visitors_stay_within_the_default_limits_however_hasty() {
    let world = world(1_000_000);
    for kind in Kind::ALL.into_iter().filter(|kind| kind.is_honest()) {
        let asked = asked(kind, &world, 20_000);
        let by_user = asked
            .iter()
            .filter_map(|(at, ask)| Some((*at, ask.user.clone()?)));
        assert!(busiest(by_user) <= 60, "{kind:?}");
        let orders = asked.iter().filter(|(_, ask)| ask.is_checkout);
        let orders = orders.filter_map(|(at, ask)| Some((*at, ask.user.clone()?)));
        assert!(busiest(orders) <= 12, "{kind:?}");
    }
    let crawled = asked(Kind::Crawler, &world, 20_000);
    let crawled = crawled
        .iter()
        .map(|(at, ask)| (*at, ask.client.to_string()));
    assert!(busiest(crawled) <= 64);
}

#[test]
fn shoppers_drop_off_at_every_stage_and_come_from_every_country() {
    let asked = asked(Kind::Shopper, &world(1), 40_000);
    let count = |name| {
        let named = asked
            .iter()
            .filter(|(_, ask)| ask.name == name && ask.method != "DELETE");
        f64::from(u32::try_from(named.count()).unwrap())
    };
    let visits = count("/{country}/products");
    let added = asked
        .iter()
        .filter(|(_, ask)| ask.name == "/{country}/cart" && ask.method == "POST");
    let added = f64::from(u32::try_from(added.count()).unwrap()) / visits;
    let bought = count("/{country}/orders") / visits;
    assert!((0.30..0.40).contains(&added), "{added}");
    assert!((0.16..0.25).contains(&bought), "{bought}");
    let countries: BTreeSet<_> = asked
        .iter()
        .filter(|(_, ask)| ask.name == "/{country}/products")
        .map(|(_, ask)| ask.path.clone())
        .collect();
    assert_eq!(countries.len(), 8, "uk beside GB: {countries:?}");
}

#[test]
fn nobody_checks_out_when_nobody_is_to() {
    let world = World::new(7, Tempo::of_a_load_test(1)).check_out(false);
    let world = Arc::new(world);
    for kind in Kind::ALL
        .into_iter()
        .filter(|kind| *kind != Kind::BrokenClient)
    {
        let mut asked = asked(kind, &world, 2_000).into_iter();
        assert!(asked.all(|(_, ask)| !ask.is_checkout), "{kind:?}");
    }
}

#[test]
fn customers_with_a_known_past_are_those_that_the_store_knows() {
    let world = World::new(7, Tempo::of_a_demo()).regulars(Regulars::Known(3));
    let world = Arc::new(world);
    let users = |kind| -> BTreeSet<String> {
        let asked = asked(kind, &world, 2_000);
        asked.into_iter().filter_map(|(_, ask)| ask.user).collect()
    };
    let known = |pasts: &[&str]| -> BTreeSet<String> {
        let each = pasts
            .iter()
            .flat_map(|past| (0..3).map(move |n| World::regular(past, n)));
        each.collect()
    };
    assert_eq!(
        users(Kind::Returning),
        known(&["returning", "at-risk", "churned"])
    );
    assert_eq!(users(Kind::Vip), known(&["vip"]));
}

#[test]
fn an_address_is_written_as_each_header_wants_it() {
    let mut ask = Ask::get("x", "/x", "2001:db8::1".parse().unwrap());
    assert_eq!(ask.x_forwarded_for(), "2001:db8::1");
    assert_eq!(ask.forwarded(), r#"for="[2001:db8::1]""#);
    ask.client = "192.0.2.1".parse().unwrap();
    assert_eq!(ask.forwarded(), "for=192.0.2.1");
}

#[test]
fn a_browser_sends_its_cookie_from_a_page_and_everything_else_a_bearer() {
    for kind in [Kind::Shopper, Kind::Vip, Kind::TwoDevices, Kind::Reseller] {
        for (_, ask) in asked(kind, &world(1), 2_000) {
            let is_cookie = matches!(ask.credentials, Some(Credentials::Cookie(_)));
            let has = |name| ask.headers().iter().any(|(known, _)| *known == name);
            assert_eq!(has(header::COOKIE), is_cookie, "{kind:?}: {ask:?}");
            let is_signed_in = ask.credentials.is_some();
            assert_eq!(has(header::AUTHORIZATION), is_signed_in && !is_cookie);
            assert!(!is_cookie || ask.is_page, "{kind:?}: {ask:?}");
            assert_eq!(ask.user.is_some(), is_signed_in, "{kind:?}: {ask:?}");
        }
    }
}

#[test]
fn a_thief_fails_once_the_owner_has_ended_the_session_of_the_phone() {
    let asked = asked(Kind::TokenThief, &world(1), 400);
    let (mut owners, mut has_ended, mut failed) = (Vec::new(), false, 0);
    for (_, ask) in asked {
        if ask.is_login() {
            has_ended = false;
            owners.push(ask.client);
        } else if ask.method == Method::DELETE {
            has_ended = true;
        } else {
            let owners = owners.iter().rev().take(2);
            assert!(owners.into_iter().all(|owner| *owner != ask.client));
            assert!(ask.credentials.is_some());
            assert_eq!(ask.expected, if has_ended { [401] } else { [200] });
            failed += u32::from(has_ended);
        }
    }
    assert!(failed > 50, "{failed}");
}

#[test]
fn nobody_ends_sessions_in_a_shop_that_has_none() {
    let world = world(1);
    for kind in Kind::ALL {
        for (_, ask) in asked_of(kind, &world, 2_000, false) {
            let path = &ask.path;
            assert!(
                !path.starts_with("/profiles") && !path.starts_with("/api/v1"),
                "{path}"
            );
        }
    }
}
