use std::time::Duration;

use super::{Currency, Recency, Record, Standing, Timestamp};

/// Where the segments begin.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Criteria {
    /// A customer is at risk this long after the last activity; 30 days.
    pub at_risk_after: Duration,
    /// A customer has churned this long after the last activity; 90 days.
    pub churned_after: Duration,
    /// A customer who spent more than this is a VIP, in minor units of `currency`; 50,000.
    pub vip_spend: i64,
    /// A customer who ordered more often than this is a VIP; 5.
    pub vip_orders: u64,
    /// The currency that spend is counted in; US dollars.
    pub currency: Currency,
}

impl Default for Criteria {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(86_400);
        Self {
            at_risk_after: 30 * DAY,
            churned_after: 90 * DAY,
            vip_spend: 50_000,
            vip_orders: 5,
            currency: Currency::USD,
        }
    }
}

impl Criteria {
    /// The segment of a customer at a moment, by the record before the activity of that moment.
    ///
    /// A last activity in the future, as clocks that differ may leave, counts as just now.
    #[must_use]
    pub fn standing(&self, record: Option<&Record>, now: Timestamp) -> Standing {
        let Some(record) = record else {
            return Standing::new(Recency::New, false);
        };
        let quiet = now.since(record.last_activity);
        let recency = if quiet >= self.churned_after {
            Recency::Churned
        } else if quiet >= self.at_risk_after {
            Recency::AtRisk
        } else {
            Recency::Returning
        };
        Standing::new(recency, self.is_vip(record))
    }

    /// Whether spend or orders make a VIP, whenever they were.
    #[must_use]
    pub const fn is_vip(&self, record: &Record) -> bool {
        record.spend > self.vip_spend || record.orders > self.vip_orders
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Segment;

    const DAY: u64 = 86_400_000;

    fn segment(quiet_millis: u64, spend: i64, orders: u64) -> Segment {
        let record = Record {
            spend,
            orders,
            ..Record::seen(Timestamp::from_millis(DAY))
        };
        let now = Timestamp::from_millis(DAY + quiet_millis);
        Criteria::default().standing(Some(&record), now).segment()
    }

    #[test]
    fn recency_changes_at_30_and_at_90_days_to_the_millisecond() {
        for (quiet, expected) in [
            (0, Segment::Returning),
            (30 * DAY - 1, Segment::Returning),
            (30 * DAY, Segment::AtRisk),
            (90 * DAY - 1, Segment::AtRisk),
            (90 * DAY, Segment::Churned),
            (5_000 * DAY, Segment::Churned),
        ] {
            assert_eq!(segment(quiet, 0, 0), expected, "{quiet} ms");
        }
    }

    #[test]
    fn more_than_500_or_more_than_5_orders_make_a_vip_however_long_ago() {
        for (spend, orders, is_vip) in [
            (50_000, 5, false),
            (50_001, 0, true),
            (0, 6, true),
            (-1, 5, false),
        ] {
            for quiet in [0, 400 * DAY] {
                let found = segment(quiet, spend, orders);
                assert_eq!(found == Segment::Vip, is_vip, "{spend} {orders} {quiet}");
            }
        }
    }

    #[test]
    fn who_has_no_record_is_new_and_who_was_active_in_the_future_is_returning() {
        let criteria = Criteria::default();
        let now = Timestamp::from_millis(DAY);
        assert_eq!(criteria.standing(None, now).segment(), Segment::New);
        let ahead = Record::seen(Timestamp::from_millis(2 * DAY));
        let standing = criteria.standing(Some(&ahead), now);
        assert_eq!(standing.segment(), Segment::Returning);
    }
}
