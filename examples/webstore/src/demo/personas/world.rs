use std::net::IpAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::addresses::Addresses;
use super::{Ask, Chance};

/// What all visitors of a run share: their names and addresses, and how fast time passes for them.
#[derive(Debug)]
pub struct World {
    run: String,
    pub(super) tempo: Tempo,
    pub(super) regulars: Regulars,
    pub(super) checks_out: bool,
    addresses: Addresses,
    named: AtomicU64,
    chance: Mutex<Chance>,
}

/// How fast visitors are.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Tempo {
    /// What think time is divided by.
    pub haste: u32,
    /// Milliseconds between an attack and the next one.
    pub rest: Range<u64>,
    /// Milliseconds that a returning customer stays away, one after the other.
    pub away: Vec<u64>,
}

/// Who the customers are that come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Regulars {
    /// They make their history themselves: they order, stay away and come again.
    OfThisRun,
    /// The store knows so many of each past already: those of [`World::regular`].
    Known(u64),
}

impl World {
    /// A world in which names and addresses follow from the seed.
    #[must_use]
    pub fn new(seed: u64, tempo: Tempo) -> Self {
        let mut chance = Chance::new(seed);
        Self {
            run: format!("{:08x}", chance.below(1 << 32)),
            tempo,
            regulars: Regulars::OfThisRun,
            checks_out: true,
            addresses: Addresses::new(u32::try_from(chance.below(1 << 31)).unwrap_or(0)),
            named: AtomicU64::new(0),
            chance: Mutex::new(chance),
        }
    }

    /// Customers who come back have a past already.
    #[must_use]
    pub fn regulars(mut self, regulars: Regulars) -> Self {
        self.regulars = regulars;
        self
    }

    /// Whether anybody checks out at all; they do unless this says otherwise.
    #[must_use]
    pub fn check_out(mut self, checks_out: bool) -> Self {
        self.checks_out = checks_out;
        self
    }

    /// The user id of a customer whose past is [known](Regulars::Known), such as `churned-17`.
    #[must_use]
    pub fn regular(past: &str, n: u64) -> String {
        format!("{past}-{n}")
    }

    /// A name that nobody else has, neither in this run nor in another.
    pub(super) fn name(&self, what: &str) -> String {
        let n = self.named.fetch_add(1, Ordering::Relaxed);
        format!("{what}-{}-{n}", self.run)
    }

    pub(super) fn honest(&self) -> IpAddr {
        self.addresses.honest()
    }

    pub(super) fn hostile(&self) -> IpAddr {
        self.addresses.hostile()
    }

    pub(super) fn network(&self) -> IpAddr {
        self.addresses.network()
    }

    pub(super) fn chance(&self) -> Chance {
        let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
        chance.split()
    }
}

impl Tempo {
    /// Visits one after the other, and an attack every few seconds.
    #[must_use]
    pub fn of_a_load_test(haste: u32) -> Self {
        Self {
            haste: haste.max(1),
            rest: 1_000..3_000,
            away: vec![1_000, 2_500, 4_500],
        }
    }

    /// A calm day, with an attack of each kind now and then.
    #[must_use]
    pub fn of_a_demo() -> Self {
        Self {
            haste: 1,
            rest: 15_000..40_000,
            away: vec![3_000, 5_000],
        }
    }

    /// Time to think, made shorter by haste.
    pub(super) fn think(&self, chance: &mut Chance, millis: &Range<u64>) -> Duration {
        chance.millis(millis) / self.haste.max(1)
    }

    /// Time until the next attack.
    pub(super) fn rest(&self, chance: &mut Chance) -> Duration {
        chance.millis(&self.rest)
    }
}

/// An attacker: an address for each attack, and a rest before it.
pub(super) struct Attacker {
    pub(super) world: Arc<World>,
    pub(super) chance: Chance,
    pub(super) client: IpAddr,
    /// How many requests this attack has made.
    pub(super) made: u32,
    /// What the answer to the last request asked to wait.
    pub(super) wait: Duration,
}

impl Attacker {
    pub(super) fn new(world: &Arc<World>) -> Self {
        let mut chance = world.chance();
        Self {
            // Not all attacks begin at once.
            wait: world.tempo.rest(&mut chance) / 8,
            chance,
            client: world.hostile(),
            made: 0,
            world: Arc::clone(world),
        }
    }

    /// The attack is over; the next comes from another address.
    pub(super) fn rest(&mut self) {
        self.wait = self.world.tempo.rest(&mut self.chance);
        self.client = self.world.hostile();
        self.made = 0;
    }

    /// One more request of the attack, after some milliseconds or what it was told to wait.
    pub(super) fn go(&mut self, ask: Ask, millis: &Range<u64>) -> Ask {
        self.made += 1;
        let pause = self.chance.millis(millis);
        ask.after(pause.max(std::mem::take(&mut self.wait)))
    }
}
