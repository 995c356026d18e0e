//! What failed logins add up to: random logins counted by the script, by the memory store and by a plain reference.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::StatusCode;
use palisade::client::{Route, Secret};
use palisade::store::memory::MemoryStore;
use palisade::suspicion::store::{FailedRequest, LocalFailureStore, Rule};
use palisade::suspicion::{AccountHash, IncidentKind, Login, LoginAttempt};
use palisade_tests::redis::RedisServer;

use super::failures::{self, Hand, client, rule};
use super::logins_script::{LATER, SECOND, Script, Step, What, agrees};
use super::model::Random;
use super::script::EPOCH;

/// The contract, written down naively: every item is kept, with every time at which it was seen.
#[derive(Default)]
struct Reference {
    seen: Vec<(u64, u64)>,
    reported: Option<u64>,
    first: u64,
    episode: HashSet<u64>,
}

impl Reference {
    /// The distinct items in the window, each with when it was last seen.
    fn live(&self, now: u64, window: u64) -> HashMap<u64, u64> {
        let live = self.seen.iter().filter(|(at, _)| now - at < window);
        live.map(|(at, item)| (*item, *at)).collect()
    }

    fn is_in_episode(&self, now: u64, step: &Step) -> bool {
        let held = self.live(now, step.window).len();
        self.reported.is_some() && held * 2 >= usize::from(step.threshold)
    }

    /// The number of items and since when, if the item is an incident.
    fn count(&mut self, now: u64, step: &Step) -> Option<(u64, u64)> {
        if !self.is_in_episode(now, step) {
            self.reported = None;
        }
        self.seen.push((now, step.item));
        let live = self.live(now, step.window);
        if self.reported.is_none() {
            if live.len() < usize::from(step.threshold) {
                return None;
            }
            self.episode = live.keys().copied().collect();
            self.first = *live.values().min().unwrap();
        }
        self.episode.insert(step.item);
        if self.reported.is_some_and(|at| now - at < step.window) {
            return None;
        }
        self.reported = Some(now);
        Some((self.episode.len() as u64, now - self.first))
    }

    fn state(&self, now: u64, step: &Step) -> (bool, u64, u64) {
        if self.is_in_episode(now, step) {
            (true, self.episode.len() as u64, now - self.first)
        } else {
            (false, self.live(now, step.window).len() as u64, 0)
        }
    }
}

fn secret() -> Secret {
    Secret::from_bytes(b"a secret of the tests")
}

fn login(network: u32, account: u64, succeeded: bool) -> FailedRequest {
    let name = format!("account {account}");
    let login = if succeeded {
        Login::succeeded(&name)
    } else {
        Login::failed(&name)
    };
    {
        let mut request = FailedRequest::new(
            client(network),
            StatusCode::from_u16(if succeeded { 200 } else { 401 }).unwrap(),
            Route::from("/login"),
        );
        request.login = Some(LoginAttempt::of(&login, client(network), &secret()));
        request
    }
}

/// The steps of a login: those of a failure, or those of a success.
fn steps(request: &FailedRequest, rules: &[Rule; 5]) -> Vec<Step> {
    let [spraying, stuffing, success, fast, slow] = *rules;
    let (network, login) = (request.client, request.login.unwrap());
    if login.succeeded {
        vec![
            Step::of(What::IsDistinct, stuffing, login.account, 0),
            Step::of(What::IsDistinct, spraying, network, 0),
            Step::of(What::IsFailing, fast, network, 0),
            Step::of(What::IsFailing, slow, network, 0),
            Step::of(What::CountIf, success, login.account, login.network),
        ]
    } else {
        let item = login.account.item();
        vec![
            Step::of(What::Count, spraying, network, item),
            Step::of(What::Count, stuffing, login.account, login.network),
        ]
    }
}

/// Feeds the same logins to both stores and the reference; how many incidents of each kind there were, and how many
/// numbers were estimates.
fn compare(seed: u64, networks: u64, accounts: u64, rules: [&str; 5], rounds: u32) -> [u64; 4] {
    let kinds = [
        IncidentKind::PasswordSpraying,
        IncidentKind::DistributedStuffing,
        IncidentKind::SuccessAfterFailures,
        IncidentKind::CredentialStuffing,
        IncidentKind::CredentialStuffingSlow,
    ];
    let rules: [Rule; 5] = std::array::from_fn(|n| rule(kinds[n], rules[n]));
    let server = RedisServer::start();
    let mut failing = failures::Script::on(&server);
    let mut script = Script::on(&server);
    let hand = Hand::default();
    let store = MemoryStore::builder().clock(hand.clone()).build().unwrap();
    let mut distinct: HashMap<String, Reference> = HashMap::new();
    let mut failed: HashMap<String, failures::Reference> = HashMap::new();
    let mut random = Random(seed);
    let (mut now, mut told) = (EPOCH, [0; 4]);
    for round in 0..rounds {
        match random.below(20) {
            // Many at the same instant, and at the exact edges of windows.
            0..8 => {}
            8 => now += SECOND,
            9 => now += 5 * SECOND - 1,
            10 if round % 40 == 0 => now += 60 * SECOND,
            _ => now += random.below(200_000),
        }
        hand.0.store(now, Ordering::Relaxed);
        let requests: Vec<_> = (0..=random.below(LATER as u64 + 1))
            .map(|_| {
                let (network, account) = (random.below(networks), random.below(accounts));
                login(network as u32, account, random.below(4) == 0)
            })
            .collect();

        let failures: Vec<_> = requests
            .iter()
            .filter(|request| request.status == 401)
            .flat_map(|request| {
                rules[3..]
                    .iter()
                    .map(|rule| Step::of(What::IsFailing, *rule, request.client, 0).failure())
            })
            .collect();
        for failure in &failures {
            let reference = failed.entry(failure.key.clone()).or_default();
            reference.fail(now, failure);
        }
        if !failures.is_empty() {
            assert_eq!(failing.run(now, &failures).0, 0);
        }

        let mut expected = Vec::new();
        let mut all = Vec::new();
        for (place, request) in requests.iter().enumerate() {
            let mut suspicious = false;
            for step in steps(request, &rules) {
                let reference = distinct.entry(step.key.clone()).or_default();
                let counts = match step.what {
                    What::IsDistinct => {
                        suspicious |= reference.is_in_episode(now, &step);
                        false
                    }
                    What::IsFailing => {
                        let reference = failed.entry(step.key.clone()).or_default();
                        suspicious |= reference.is_in_episode(now, &step.failure());
                        false
                    }
                    What::CountIf => suspicious,
                    What::Count | What::State => true,
                };
                if counts && let Some((count, span)) = reference.count(now, &step) {
                    let kind = rules
                        .iter()
                        .position(|rule| step.key.starts_with(&format!("{}:", rule.kind)));
                    told[kind.unwrap()] += 1;
                    expected.push((place, all.len(), kind.unwrap(), count, span));
                }
                all.push(step);
            }
        }
        let (broken, found) = script.run(now, &all);
        assert_eq!((broken, found.len()), (0, expected.len()), "round {round}");
        let incidents = store.count_now(&rules, &requests);
        let incidents: Vec<_> = incidents
            .into_iter()
            .filter(|incident| incident.rule.kind.is_of_logins())
            .collect();
        assert_eq!(incidents.len(), expected.len(), "round {round}");
        for ((found, incident), (place, step, kind, count, span)) in
            found.iter().zip(&incidents).zip(&expected)
        {
            assert_eq!(
                (found.step, found.span, found.episode),
                (*step, *span, true)
            );
            assert!(
                agrees(found.count, found.estimated, *count, 0.008_1),
                "{found:?} {count}"
            );
            assert_eq!((incident.request, incident.rule), (*place, rules[*kind]));
            assert_eq!(incident.span, Duration::from_micros(*span));
            assert_eq!(incident.estimated, found.estimated, "round {round}");
            assert!(
                agrees(incident.count, incident.estimated, *count, 0.016_25),
                "{incident:?} {count}"
            );
            told[3] += u64::from(found.estimated);
        }

        let account = AccountHash::of(&format!("account {}", random.below(accounts)), &secret());
        let step = Step::of(What::State, rules[1], account, 0);
        let reference = distinct.entry(step.key.clone()).or_default();
        let (episode, count, span) = reference.state(now, &step);
        let (_, found) = script.run(now, &[step]);
        let [found] = &found[..] else {
            panic!("one state")
        };
        assert_eq!(
            (found.episode, found.span),
            (episode, span),
            "round {round}"
        );
        assert!(
            agrees(found.count, found.estimated, count, 0.008_1),
            "{found:?} {count}"
        );
        let state = store.account_now(&rules, account);
        assert_eq!(
            (state.under_attack, state.lasting),
            (episode, Duration::from_micros(span))
        );
        assert_eq!(state.estimated, found.estimated);
        assert!(
            agrees(state.networks, state.estimated, count, 0.016_25),
            "{state:?} {count}"
        );
    }
    told
}

#[test]
fn both_stores_and_the_reference_count_few_networks_and_accounts_alike() {
    let rules = ["4/1s", "3/5s", "1/2s", "4/1s", "9/7s"];
    let told = compare(7, 6, 6, rules, 4_000);
    assert!(told.iter().all(|told| *told > 20), "{told:?}");
}

#[test]
fn both_stores_and_the_reference_count_many_networks_and_accounts_alike() {
    let rules = ["64/20s", "10/30s", "1/1s", "50/5s", "90/60s"];
    let told = compare(8, 300, 3, rules, 3_000);
    assert!(told[1] > 5 && told[2] > 5 && told[3] > 3, "{told:?}");
    let told = compare(9, 3, 1_000, rules, 3_000);
    assert!(told[0] > 3 && told[2] > 0 && told[3] > 3, "{told:?}");
}
