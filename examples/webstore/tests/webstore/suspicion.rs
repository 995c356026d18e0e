use crate::support::{Request, Webstore};

/// Behind a trusted proxy, so that a test can be several clients.
const PROXIES: &str = "[client]\ntrusted_proxies = ['127.0.0.0/8']\n";

fn guess(store: &Webstore, client: &str) {
    let request = Request::post("/login", r#"{"user":"ada","password":"guess"}"#);
    let response = store.ask(request.header("x-forwarded-for", client));
    assert_eq!(response.status, 401);
}

#[test]
fn an_incident_is_one_structured_event_with_its_evidence() {
    let mut store = Webstore::configured(PROXIES);
    let client = "203.0.113.7";
    for n in 0..9 {
        let request = Request::get(&format!("/{n}/.env?%0a%22")).user("ada");
        store.ask(request.header("x-forwarded-for", client));
    }
    let request = Request::get("/US/products/999999").user("ada");
    store.ask(request.header("x-forwarded-for", client));
    let event = store.wait_for_log("suspicious activity");
    assert_eq!(event["target"], "palisade::security");
    assert_eq!(event["level"], "WARN");
    let fields = &event;
    for (field, expected) in [
        ("kind", "endpoint_scanning"),
        ("client", client),
        ("user", "ada"),
        ("window", "5m"),
        ("routes", r#"["unmatched", "/{country}/products/{id}"]"#),
    ] {
        assert_eq!(fields[field], expected, "{event}");
    }
    assert_eq!(
        (&fields["count"], &fields["threshold"]),
        (&10.into(), &10.into())
    );
    assert_eq!(fields["status"], 404);
    let [first, last] = ["first_seen", "last_seen"]
        .map(|field| humantime::parse_rfc3339(fields[field].as_str().unwrap()).unwrap());
    assert!(first <= last, "{event}");
    assert!(last.elapsed().unwrap().as_secs() < 60, "{event}");
}

#[test]
fn an_anonymous_clients_event_has_no_user_and_its_address_can_be_a_hash() {
    let text = format!("{PROXIES}[suspicion]\nhash_clients = true\n");
    let mut store = Webstore::configured(&text);
    let mut clients = Vec::new();
    for client in ["203.0.113.7", "203.0.113.8"] {
        for _ in 0..5 {
            guess(&store, client);
        }
        let event = store.wait_for_log("suspicious activity");
        let fields = &event;
        assert_eq!(fields["kind"], "credential_stuffing");
        assert_eq!(fields["routes"], r#"["/login"]"#);
        assert!(fields.get("user").is_none(), "{event}");
        assert!(!event.to_string().contains("203.0.113"), "{event}");
        clients.push(fields["client"].as_str().unwrap().to_owned());
    }
    assert_eq!(clients[0].len(), 33);
    assert!(
        clients[0].starts_with('~') && clients[0] != clients[1],
        "{clients:?}"
    );
}

#[test]
fn an_exempt_path_without_a_route_makes_no_event() {
    let text =
        format!("{PROXIES}[suspicion]\nexempt = {{ routes = ['/favicon.ico', 'GET /apple-*'] }}\n");
    let mut store = Webstore::configured(&text);
    let ask = |client: &str, path: &str| {
        let request = Request::get(path).header("x-forwarded-for", client);
        assert_eq!(store.ask(request).status, 404);
    };
    for n in 0..15 {
        ask("203.0.113.7", "/favicon.ico");
        ask("203.0.113.7", &format!("/apple-touch-icon-{n}.png?{n}"));
    }
    for n in 0..10 {
        ask("203.0.113.8", &format!("/favicon.ico/{n}"));
    }
    let event = store.wait_for_log("suspicious activity");
    assert_eq!(event["client"], "203.0.113.8");
    assert_eq!(event["routes"], r#"["unmatched"]"#);
}

#[test]
fn kinds_and_clients_that_the_configuration_leaves_out_make_no_event() {
    let text = format!(
        "{PROXIES}[suspicion]\ncredential_stuffing = 'off'\ncredential_stuffing_slow = '7/1h'\n\
         exempt = {{ cidrs = ['203.0.113.7'] }}\n"
    );
    let mut store = Webstore::configured(&text);
    for client in ["203.0.113.7", "203.0.113.8"] {
        for _ in 0..7 {
            guess(&store, client);
        }
    }
    let event = store.wait_for_log("suspicious activity");
    assert_eq!(event["kind"], "credential_stuffing_slow");
    assert_eq!(event["client"], "203.0.113.8");
}

#[test]
fn a_ban_is_one_structured_event_that_names_its_client_as_incidents_do() {
    for (hash, shown) in [(false, "203.0.113.7"), (true, "~")] {
        let text = format!(
            "{PROXIES}[suspicion]\nhash_clients = {hash}\n[suspicion.bans]\nfor = '1h'\njitter = 0\n"
        );
        let mut store = Webstore::configured(&text);
        for _ in 0..5 {
            guess(&store, "203.0.113.7");
        }
        let incident = store.wait_for_log("suspicious activity");
        let event = store.wait_for_log("client banned");
        assert_eq!(event["target"], "palisade::security");
        assert_eq!(event["level"], "WARN");
        let fields = &event;
        assert_eq!(fields["client"], incident["client"]);
        assert!(fields["client"].as_str().unwrap().starts_with(shown));
        assert_eq!(fields["reason"], "credential_stuffing");
        assert_eq!(fields["strikes"], 1);
        assert_eq!(fields["for"], "1h");
        let until = humantime::parse_rfc3339(fields["until"].as_str().unwrap()).unwrap();
        let left = until.duration_since(std::time::SystemTime::now()).unwrap();
        assert!((3_500..=3_600).contains(&left.as_secs()), "{event}");
    }
}

#[test]
fn an_account_under_attack_is_answered_later_and_named_by_a_hash_alone() {
    let text = format!(
        "{PROXIES}[suspicion]\ndistributed_stuffing = '3/1h'\nsuccess_after_failures = '1h'\n"
    );
    let mut store = Webstore::configured(&text);
    let login = |store: &Webstore, client: &str, password: &str| {
        let body = format!(r#"{{"user":"Ada-1815","password":"{password}"}}"#);
        let asked = std::time::Instant::now();
        let response = store.ask(Request::post("/login", &body).header("x-forwarded-for", client));
        (response.status, asked.elapsed())
    };
    for octet in 1..=3 {
        assert_eq!(login(&store, &format!("203.0.113.{octet}"), "guess").0, 401);
    }
    let event = store.wait_for_log("suspicious activity");
    let fields = &event;
    assert_eq!(fields["kind"], "distributed_stuffing");
    assert_eq!(
        (&fields["count"], &fields["window"]),
        (&3.into(), &"1h".into())
    );
    assert!(fields.get("estimated").is_none(), "{event}");
    let account = fields["account"].as_str().unwrap().to_owned();
    assert!(account.starts_with('~') && account.len() == 33, "{event}");
    assert!(!event.to_string().to_lowercase().contains("ada"), "{event}");

    // Right or wrong, and nobody is locked out.
    for (password, status) in [("guess", 401), ("palisade", 200)] {
        let (found, took) = login(&store, "203.0.113.4", password);
        assert_eq!(found, status);
        assert!(took >= std::time::Duration::from_secs(1), "{took:?}");
    }
    let event = store.wait_for_log("suspicious activity");
    let fields = &event;
    assert_eq!(fields["kind"], "success_after_failures");
    assert_eq!(
        (&fields["status"], fields["account"].as_str()),
        (&200.into(), Some(&*account))
    );
    assert_eq!(fields["client"], "203.0.113.4");
}

#[test]
fn an_event_whose_number_is_an_estimate_says_so() {
    let text = "[rate_limit]\nip = '1000000/1h'\n[suspicion]\npassword_spraying = '2/1s'\n\
                credential_stuffing = 'off'\ncredential_stuffing_slow = 'off'\nabuse = 'off'\n";
    let mut store = Webstore::configured(text);
    let mut accounts = 0..;
    let mut spray = |store: &Webstore| {
        let user = accounts.next().unwrap_or(0);
        let body = format!(r#"{{"user":"u{user}","password":"guess"}}"#);
        assert_eq!(store.ask(Request::post("/login", &body)).status, 401);
    };
    spray(&store);
    spray(&store);
    let event = store.wait_for_log("suspicious activity");
    assert_eq!(event["count"], 2);
    assert!(event.get("estimated").is_none(), "{event}");
    // One more for each full window. Only a machine that stood still for a second would begin another episode.
    let estimated = (0..10).any(|_| {
        let started = std::time::Instant::now();
        while started.elapsed() < std::time::Duration::from_millis(1_200) {
            spray(&store);
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let event = store.wait_for_log("suspicious activity");
        let fields = &event;
        assert!(fields.get("account").is_none(), "of many accounts: {event}");
        fields.get("estimated") == Some(&true.into()) && fields["count"].as_u64() > Some(2)
    });
    assert!(estimated);
}
