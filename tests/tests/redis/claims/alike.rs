//! One call decides as two calls do, and keeps the same: random requests with tokens of every kind, on both stores, with the clock
//! in the test's hands.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use palisade::client::Network;
use palisade::session::Lifetime;
use palisade::session::store::Creation;
use palisade::store::memory::{Clock, MemoryStore};
use palisade::store::redis::RedisStore;
use palisade_tests::clocked::ClockedRedis;
use palisade_tests::time::standing_still;

use super::{Coin, EXEMPT, Mint, Process, Seen, Sent, request};
use crate::sessions::START;
use crate::store_redis::model::Random;

const SECOND: u64 = 1_000_000;
/// Everything under a prefix, as the server keeps it, with its expiry.
const KEPT: &str = "
    local kept = {}
    for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
        kept[#kept + 1] = key:sub(#ARGV[1] + 1)
        kept[#kept + 1] = redis.sha1hex(redis.call('DUMP', key)) .. redis.call('PEXPIRETIME', key)
    end
    return kept
";

#[derive(Clone)]
struct Hand(Arc<AtomicU64>);

impl Clock for Hand {
    fn now(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::SeqCst))
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.now()
    }
}

/// The same process three times: in memory, in one call, in two.
struct Run {
    memory: Process,
    one: Process,
    two: Process,
    server: ClockedRedis,
    hand: Hand,
    mint: Mint,
    random: Random,
    coins: Vec<Coin>,
    seen: BTreeMap<&'static str, u32>,
}

const ONE: &str = "palisade:one:";
const TWO: &str = "palisade:two:";

impl Run {
    fn new(seed: u64) -> Self {
        let server = ClockedRedis::start(START);
        let hand = Hand(Arc::new(AtomicU64::new(START)));
        let of = |prefix, in_two| {
            let store = RedisStore::builder(&server.url())
                .prefix(prefix)
                .deadline(Duration::from_secs(10));
            // What is remembered of denials is as old as the real clock says.
            Process::on(store.build().unwrap(), in_two, 0)
        };
        let memory = MemoryStore::builder().clock(hand.clone()).build().unwrap();
        Self {
            memory: Process::on_memory(memory),
            one: of(ONE, false),
            two: of(TWO, true),
            server,
            hand,
            mint: Mint::new(),
            random: Random(seed),
            coins: Vec::new(),
            seen: BTreeMap::new(),
        }
    }

    fn all(&self) -> [&Process; 3] {
        [&self.memory, &self.one, &self.two]
    }

    async fn create(&mut self) {
        let user = self.random.of(&["ada", "grace", "grace", EXEMPT]);
        let coin = self.mint.coin(user).await;
        let seconds = |n| Duration::from_secs(n);
        let lifetime = Lifetime {
            idle: seconds(self.random.of(&[60, 90, 600])),
            absolute: seconds(self.random.of(&[600, 120])),
        };
        for process in self.all() {
            let began = process.kept.begin(&coin.claim.user).await.unwrap();
            let creation = Creation::new(coin.claim.clone(), began, lifetime);
            process.kept.create(&creation).await.unwrap();
        }
        self.coins.push(coin);
    }

    fn coin(&mut self) -> Option<Coin> {
        let at = self.random.below(self.coins.len().max(1) as u64);
        // Mostly one of the latest, or most have ended.
        let back = self.random.of(&[0, 0, 0, at]).min(self.coins.len() as u64);
        let at = self.coins.len().checked_sub(1 + (back.min(at) as usize))?;
        self.coins.get(at).cloned()
    }

    /// A token, and what kind of token it is.
    fn token(&mut self) -> Option<String> {
        match self.random.below(10) {
            0 => None,
            1 => {
                let mut forged = self.coin()?.token;
                let last = forged.pop()?;
                forged.push(if last == 'A' { 'Q' } else { 'A' });
                Some(forged)
            }
            _ => Some(self.coin()?.token),
        }
    }

    async fn send(&mut self) {
        let (octet, token) = (self.random.of(&[1, 2]), self.token());
        let sent = self
            .random
            .of(&[Sent::Bearer, Sent::Bearer, Sent::Cookie, Sent::ForEvents]);
        let times = self.random.of(&[1, 1, 1, 4]);
        let mut answers = Vec::new();
        for process in self.all() {
            let requests =
                (0..times).map(|_| (process.answer)(request(octet, token.as_deref(), sent)));
            let tasks: Vec<_> = requests.map(tokio::spawn).collect();
            let mut seen = Vec::new();
            for task in tasks {
                seen.push(task.await.unwrap());
            }
            // Of several at once, who was first does not matter.
            seen.sort();
            answers.push(seen);
        }
        let said = format!("{octet} {sent:?} {times} times: {token:?}");
        for seen in answers.iter_mut().flatten().filter(|it| it.is_banned()) {
            // What is remembered of a ban goes by the real clock.
            seen.headers.retain(|it| !it.starts_with("retry-after"));
        }
        assert_eq!(answers[1], answers[2], "one call and two: {said}");
        assert_eq!(answers[0], answers[2], "memory and two calls: {said}");
        for seen in &answers[1] {
            *self.seen.entry(kind(seen)).or_default() += 1;
        }
    }

    async fn end(&mut self) {
        let Some(coin) = self.coin() else { return };
        let Coin { claim, .. } = &coin;
        match self.random.below(4) {
            0 => {
                // All but this, or all.
                let keep = (self.random.below(2) == 0).then_some(claim.id);
                for process in self.all() {
                    process.kept.end_all(&claim.user, keep).await.unwrap();
                }
            }
            1 | 2 => {
                let next = self.mint.next(&coin).await;
                for process in self.all() {
                    let to = next.claim.proof;
                    process
                        .kept
                        .rotate(claim, &to, &Default::default())
                        .await
                        .unwrap();
                }
                self.coins.push(next);
            }
            _ => {
                for process in self.all() {
                    process.kept.end(&claim.user, claim.id).await.unwrap();
                }
            }
        }
    }

    async fn ban(&mut self) {
        let lifts = self.random.below(3) > 0;
        let coin = self.coin();
        let network = self.random.below(4) == 0;
        for process in self.all() {
            let suspicions = &process.suspicions;
            let length = Duration::from_secs(86_400);
            match &coin {
                Some(Coin { claim, .. }) if !network => {
                    if lifts {
                        suspicions.lift(claim.user.clone()).await.unwrap();
                    } else {
                        suspicions.ban(claim.user.clone(), length).await.unwrap();
                    }
                }
                _ => {
                    let network = Network::of([192, 0, 2, 1].into(), 64);
                    if lifts {
                        suspicions.lift(network).await.unwrap();
                    } else {
                        suspicions.ban(network, length).await.unwrap();
                    }
                }
            }
        }
    }

    async fn advance(&mut self) {
        let by = self
            .random
            .of(&[1, 300_000, SECOND, 7 * SECOND, 61 * SECOND]);
        let now = self.hand.0.fetch_add(by, Ordering::SeqCst) + by;
        self.server.set(now);
        // What the processes know of sessions they mostly forget.
        let later = self.random.of(&[0, 2, 2, 2]);
        tokio::time::advance(Duration::from_secs(later)).await;
    }

    async fn step(&mut self) {
        match self.random.below(20) {
            0 | 1 => self.create().await,
            2 | 3 => self.end().await,
            4 => self.ban().await,
            5..9 => self.advance().await,
            _ => self.send().await,
        }
    }

    /// What is kept under the two prefixes is the same.
    fn compare(&self) {
        let server = self.server.server();
        let client = redis::Client::open(server.admin_url()).unwrap();
        let mut connection = client.get_connection().unwrap();
        let mut kept = |prefix: &str| -> BTreeMap<String, String> {
            let kept: Vec<String> = redis::cmd("EVAL")
                .arg(KEPT)
                .arg(0)
                .arg(prefix)
                .query(&mut connection)
                .unwrap();
            let pairs = kept.chunks(2).map(|it| (it[0].clone(), it[1].clone()));
            // An epoch begins at a random number, and so does what holds it.
            pairs
                .filter(|(key, _)| {
                    !key.starts_with("session-epoch") && !key.starts_with("session:")
                })
                .collect()
        };
        assert_eq!(kept(ONE), kept(TWO));
    }
}

fn kind(seen: &Seen) -> &'static str {
    match (seen.status, seen.body.starts_with("Some")) {
        (200, true) => "the user's",
        (200, false) => "nobody's",
        (401, _) => "invalid",
        (429, _) if seen.is_banned() => "banned",
        (429, _) => "denied",
        _ => "other",
    }
}

#[tokio::test]
async fn one_call_answers_and_keeps_what_two_calls_do_and_memory_answers_the_same() {
    let mut all = BTreeMap::new();
    for seed in [1, 2, 3, 4] {
        let mut run = Run::new(seed << 32 | 0x9e37_79b9);
        standing_still(async {
            for _ in 0..250 {
                run.step().await;
            }
        })
        .await;
        run.compare();
        for (kind, times) in run.seen {
            *all.entry(kind).or_insert(0) += times;
        }
    }
    println!("{all:?}");
    for kind in ["the user's", "nobody's", "invalid", "banned", "denied"] {
        assert!(
            all.get(kind).is_some_and(|times| *times > 20),
            "{kind}: {all:?}"
        );
    }
    assert!(!all.contains_key("other"), "{all:?}");
}
