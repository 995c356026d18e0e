use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::journey::view;
use super::world::World;
use super::{Answer, Ask, Chance, Persona};

/// Reads every product page of every country, over and over, and does as it is told.
pub(super) struct Crawler {
    chance: Chance,
    client: IpAddr,
    pace: Pace,
    page: u64,
    wait: Duration,
}

enum Pace {
    /// One page a second.
    Polite,
    Fast,
}

pub(super) const COUNTRIES: [&str; 7] = ["US", "GB", "DE", "FR", "JP", "BR", "IN"];

impl Crawler {
    pub(super) fn polite(world: &Arc<World>) -> Self {
        Self::new(world, Pace::Polite)
    }

    pub(super) fn fast(world: &Arc<World>) -> Self {
        Self::new(world, Pace::Fast)
    }

    fn new(world: &Arc<World>, pace: Pace) -> Self {
        Self {
            chance: world.chance(),
            // Nobody shares an address with who uses its quota up.
            client: world.network(),
            pace,
            page: 0,
            wait: Duration::ZERO,
        }
    }
}

impl Persona for Crawler {
    fn next(&mut self) -> Ask {
        let pause = match self.pace {
            Pace::Polite => self.chance.millis(&(950..1_050)),
            Pace::Fast => self.chance.millis(&(50..150)),
        };
        let n = usize::try_from(self.page / 12).unwrap_or(0);
        let ask = view(
            COUNTRIES[n % COUNTRIES.len()],
            self.page % 12 + 1,
            self.client,
        )
        .after(pause.max(std::mem::take(&mut self.wait)))
        .agent("Mozilla/5.0 (compatible; ExampleBot/1.0; +http://crawler.example/about)");
        match self.pace {
            Pace::Polite => ask,
            Pace::Fast => ask.expect(&[200, 429]),
        }
    }

    fn hear(&mut self, answer: Answer) {
        if answer.is_denied() {
            self.wait = answer.retry_after.unwrap_or(Duration::from_secs(1));
        } else {
            self.page += 1;
        }
    }
}
