//! Customers who have a past before the demo begins.

use std::time::{Duration, SystemTime};

use palisade::client::{Secret, UserId};
use palisade::config::Config;
use palisade::rate_limit::StoreError;
use palisade::segment::store::CustomerStore;
use palisade::segment::{Change, Criteria, Event, Keeping, OrderKey, Timestamp};
use palisade::store::memory::MemoryStore;
use palisade::store::redis::RedisStore;

use super::personas::{Chance, World};

/// Customers of each past.
pub(super) const EACH: u64 = 400;

/// Writes a past for customers of every segment that has one: `returning-0`, `at-risk-0`, `churned-0`, `vip-0` and so on.
/// Their orders have ids of their own, so that a second demo on the same Redis counts none of them twice.
///
/// # Errors
/// The store's failure.
pub async fn remember(config: &Config, memory: &MemoryStore) -> Result<(), StoreError> {
    let Some(settings) = config.segments.as_ref().filter(|settings| settings.enabled) else {
        return Ok(());
    };
    let mut keeping = Keeping::new();
    keeping.retention = settings.retention;
    keeping.criteria = settings.criteria.clone();
    keeping.sweep_every = settings.sweep_every;
    let changes = changes(&settings.criteria, SystemTime::now(), &mut Chance::new(1));
    match &config.store.redis_url {
        None => memory
            .keep_customers(&keeping)
            .apply(&changes)
            .await
            .map(drop),
        Some(url) => {
            let redis = RedisStore::builder(url.as_str()).prefix(&config.store.prefix);
            // A URL that cannot be used is told when the layers are built.
            let Ok(redis) = redis.build() else {
                return Ok(());
            };
            redis
                .customer_loader(&keeping)
                .load(&changes)
                .await
                .map(drop)
        }
    }
}

fn changes(criteria: &Criteria, now: SystemTime, chance: &mut Chance) -> Vec<Change> {
    let (at_risk, churned) = (criteria.at_risk_after, criteria.churned_after);
    let span = churned.saturating_sub(at_risk);
    let mut changes = Vec::new();
    for (past, from, until) in [
        ("returning", at_risk / 30, at_risk),
        ("at-risk", at_risk, churned),
        ("churned", churned, churned + span),
        ("vip", at_risk / 30, churned),
    ] {
        for n in 0..EACH {
            let name = World::regular(past, n);
            // Off the ends, so that nobody becomes another customer at once.
            let quiet = from + (until.saturating_sub(from)).mul_f64(chance.between(0.05, 0.9));
            let amount = if past == "vip" {
                criteria.vip_spend.saturating_add(1).clamp(0, MOST)
            } else {
                criteria.vip_spend.clamp(0, MOST) / 5
            };
            changes.push(Change {
                // Nothing in these names needs to be hashed.
                customer: UserId::new(&name, &Secret::from_bytes(b"none")),
                at: Timestamp::from(earlier(now, quiet)),
                event: Event::Order {
                    key: OrderKey::of_order(&format!("{name}-before")),
                    amount,
                },
            });
        }
    }
    changes
}

/// The highest amount that every store can hold exactly.
const MOST: i64 = (1 << 53) - 1;

fn earlier(now: SystemTime, by: Duration) -> SystemTime {
    now.checked_sub(by).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use palisade::segment::{Record, Segment};

    use super::*;

    #[test]
    fn everybody_is_in_the_segment_that_the_name_says() {
        let now = SystemTime::now();
        let mut hasty = Criteria::default();
        hasty.at_risk_after = Duration::from_secs(2);
        hasty.churned_after = Duration::from_secs(4);
        for criteria in [Criteria::default(), hasty] {
            let changes = changes(&criteria, now, &mut Chance::new(1));
            assert_eq!(changes.len() as u64, 4 * EACH);
            for change in changes {
                let Event::Order { amount, .. } = change.event else {
                    panic!("{change:?}");
                };
                let mut record = Record::seen(change.at);
                record.spend = amount;
                record.orders = 1;
                let segment = criteria.standing(Some(&record), now.into()).segment();
                let expected = match change.customer.as_str().rsplit_once('-').unwrap().0 {
                    "returning" => Segment::Returning,
                    "at-risk" => Segment::AtRisk,
                    "churned" => Segment::Churned,
                    _ => Segment::Vip,
                };
                assert_eq!(segment, expected, "{change:?}");
            }
        }
    }
}
