//! What the page shows that others count: the tallies of a stack and its settings.

use std::sync::Arc;

use super::stream::{BanSetting, Decisions, Limit, Watch};
use crate::funnel::{Tally as FunnelTally, VisitorTally};
use crate::model::Segment;
use crate::rate_limit::{Described, Tally as RateLimitTally};
use crate::segment::Tally as SegmentTally;
use crate::suspicion::{Kind, Suspicions, Tally as SuspicionTally};

/// Where the numbers of one stack come from.
pub(crate) struct Sources {
    /// `memory` or `redis`.
    pub(crate) store: &'static str,
    pub(crate) policies: Vec<Described>,
    pub(crate) decisions: Arc<RateLimitTally>,
    pub(crate) suspicions: Suspicions,
    pub(crate) incidents: Arc<SuspicionTally>,
    pub(crate) stages: Arc<FunnelTally>,
    pub(crate) visitors: Option<Arc<VisitorTally>>,
    pub(crate) segments: Option<Arc<SegmentTally>>,
    /// Asked every second while a page is open, so it must not block; `None` for a store that cannot fail.
    pub(crate) health: Option<Health>,
}

pub(crate) type Health = Box<dyn Fn() -> StoreState + Send + Sync>;

/// A store as it is now.
#[derive(Debug, Clone, Default)]
pub(crate) struct StoreState {
    pub(crate) breaker_open: bool,
    pub(crate) last_error: Option<&'static str>,
    pub(crate) corrupt_keys: u64,
}

impl Sources {
    pub(super) fn limits(&self) -> Vec<Limit> {
        let limits = self.policies.iter().map(|policy| {
            let by_segment = policy.by_segment.iter();
            Limit {
                name: policy.name.clone(),
                key: policy.key,
                quota: policy.quota.clone(),
                by_segment: by_segment
                    .map(|(segment, quota)| (segment.as_str(), quota.clone()))
                    .collect(),
                routes: policy.routes.clone(),
                on_store_failure: policy.on_store_failure,
                dry_run: policy.dry_run,
            }
        });
        limits.collect()
    }

    pub(super) fn watches(&self) -> Vec<Watch> {
        let watches = self.suspicions.watches().iter();
        watches
            .map(|watch| Watch {
                kind: watch.kind.as_str(),
                count: watch.threshold.count(),
                window: humantime::format_duration(watch.threshold.window()).to_string(),
            })
            .collect()
    }

    pub(super) fn ban_setting(&self) -> Option<BanSetting> {
        let (sentence, enforced) = self.suspicions.sentence()?;
        Some(BanSetting {
            first: humantime::format_duration(sentence.first()).to_string(),
            longest: humantime::format_duration(sentence.longest()).to_string(),
            dry_run: !enforced,
        })
    }

    pub(super) fn decisions(&self) -> Vec<Decisions> {
        let policies = self.decisions.policies();
        policies
            .map(|(_, counts)| Decisions {
                admitted: counts.admitted,
                denied: counts.denied,
                dry_run_denied: counts.dry_run_denied,
                fallback_admitted: counts.fallback_admitted,
                fallback_denied: counts.fallback_denied,
            })
            .collect()
    }

    /// The stages in their order, with the responses that reached each.
    pub(super) fn stages(&self) -> Vec<(&str, u64)> {
        summed(
            self.stages
                .counts()
                .map(|series| (series.stage, series.count)),
        )
    }

    /// The visitors that reached each stage.
    pub(super) fn visitors(&self) -> Vec<u64> {
        let Some(visitors) = &self.visitors else {
            return Vec::new();
        };
        let series = visitors.counts().map(|series| (series.stage, series.count));
        summed(series).into_iter().map(|(_, count)| count).collect()
    }

    /// Customers' actions by segment.
    pub(super) fn actions(&self) -> Vec<(&'static str, u64)> {
        let Some(segments) = &self.segments else {
            return Vec::new();
        };
        summed(
            segments
                .counts()
                .map(|series| (series.segment.as_str(), series.count)),
        )
    }

    /// Customers by segment, if this process counts them. Nobody who is known is new.
    pub(super) fn population(&self) -> Option<Vec<(&'static str, u64)>> {
        let population = self.segments.as_ref()?.population()?;
        let known = Segment::ALL.into_iter().filter(|it| *it != Segment::New);
        Some(known.map(|it| (it.as_str(), population.of(it))).collect())
    }

    pub(super) fn incidents(&self) -> Vec<(&'static str, u64)> {
        let watched = self.suspicions.watches().iter().map(|watch| watch.kind);
        let all = Kind::ALL.into_iter();
        all.filter(|kind| watched.clone().any(|it| it == *kind))
            .map(|kind| (kind.as_str(), self.incidents.incidents(kind)))
            .collect()
    }

    pub(super) fn state(&self) -> StoreState {
        self.health
            .as_ref()
            .map_or_else(StoreState::default, |ask| ask())
    }
}

/// Series added up by name, in the order in which names first come. There are few names.
fn summed<'a>(series: impl Iterator<Item = (&'a str, u64)>) -> Vec<(&'a str, u64)> {
    let mut sums: Vec<(&str, u64)> = Vec::new();
    for (name, count) in series {
        match sums.iter_mut().rev().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += count,
            None => sums.push((name, count)),
        }
    }
    sums
}
