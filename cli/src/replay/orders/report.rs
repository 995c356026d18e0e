use std::fmt::Write;

use palisade::segment::{Criteria, Record, Segment, Timestamp};
use serde::{Serialize, Serializer};

use crate::replay::table::Align::{Left, Right};
use crate::replay::table::{Table, grouped};

/// What the customers are as of a moment; its fields are the keys of the JSON form.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) customers: u64,
    pub(super) orders: u64,
    /// In minor units.
    pub(super) spend: i128,
    #[serde(serialize_with = "by_segment")]
    pub(super) segments: [u64; SEGMENTS.len()],
}

/// Nobody who ordered is new.
const SEGMENTS: [Segment; 4] = [
    Segment::Returning,
    Segment::AtRisk,
    Segment::Churned,
    Segment::Vip,
];

fn by_segment<S: Serializer>(
    counts: &[u64; SEGMENTS.len()],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(SEGMENTS.iter().map(|segment| segment.as_str()).zip(counts))
}

/// What came of the lines that count for nothing.
pub(super) struct LeftOut {
    /// Orders after the report's moment.
    pub(super) later: u64,
    /// Orders whose id was counted before.
    pub(super) repeated: u64,
}

impl Report {
    pub(super) fn new(records: &[Record], criteria: &Criteria, at: Timestamp) -> Self {
        let mut report = Self::default();
        for record in records {
            report.customers += 1;
            report.orders += record.orders;
            report.spend += i128::from(record.spend);
            let segment = criteria.standing(Some(record), at).segment();
            if let Some(place) = SEGMENTS.iter().position(|known| *known == segment) {
                report.segments[place] += 1;
            }
        }
        report
    }

    /// The report for people.
    pub(super) fn print(&self, as_of: jiff::Timestamp, left_out: &LeftOut) -> String {
        let mut text = String::new();
        let (major, minor) = (self.spend / 100, self.spend % 100);
        let major = grouped(u64::try_from(major).unwrap_or(u64::MAX));
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(
            text,
            "{} orders of {} customers, {major}.{minor:02} USD, as of {}",
            grouped(self.orders),
            grouped(self.customers),
            as_of.strftime("%Y-%m-%d %H:%M:%S UTC"),
        );
        let again = "repeat an id that was counted before, with the same amount; if they are its items, say --lines items";
        for (count, what) in [
            (left_out.later, "are later and do not count"),
            (left_out.repeated, again),
        ] {
            if count > 0 {
                let _ = writeln!(text, "{} orders {what}", grouped(count));
            }
        }
        text.push('\n');
        let mut table = Table::new([("segment", Left), ("customers", Right), ("share", Right)]);
        for (segment, count) in SEGMENTS.iter().zip(self.segments) {
            let share = 100.0 * count as f64 / self.customers.max(1) as f64;
            table.row([segment.to_string(), grouped(count), format!("{share:.1} %")]);
        }
        table.print(&mut text);
        text
    }
}
