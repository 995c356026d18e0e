use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use super::PolicyResult;
use crate::model::{Segment, UserId};

/// Findings of the inner layers about a request, for the observers: an extension of the request, there only where
/// somebody observes.
///
/// The request does not come back, and a request that fails or is cancelled has no response to leave anything in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notes(Arc<Noted>);

#[derive(Debug, Default)]
struct Noted {
    /// The place of a [`PolicyResult`] among all.
    result: AtomicU8,
    /// One more than the place of a [`Segment`] among all; 0 for none.
    segment: AtomicU8,
    /// Whose session it is, if it has one.
    user: OnceLock<UserId>,
}

impl Notes {
    /// The verdict of the limits; of several notes the greatest stands.
    pub(crate) fn result(&self, result: PolicyResult) {
        self.0.result.fetch_max(result as u8, Ordering::Relaxed);
    }

    /// Which kind of customer sent the request.
    pub(crate) fn segment(&self, segment: Segment) {
        self.0.segment.store(segment as u8 + 1, Ordering::Relaxed);
    }

    /// Whose session the request has.
    pub(crate) fn user(&self, user: &UserId) {
        // A session is proved once.
        let _ = self.0.user.set(user.clone());
    }

    pub(crate) fn noted_user(&self) -> Option<&UserId> {
        self.0.user.get()
    }

    pub(crate) fn noted_result(&self) -> PolicyResult {
        let place = usize::from(self.0.result.load(Ordering::Relaxed));
        PolicyResult::ALL.get(place).copied().unwrap_or_default()
    }

    pub(crate) fn noted_segment(&self) -> Option<Segment> {
        let place = usize::from(self.0.segment.load(Ordering::Relaxed)).checked_sub(1)?;
        Segment::ALL.get(place).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_result_and_segment_comes_back_as_it_was_noted() {
        for result in PolicyResult::ALL {
            let notes = Notes::default();
            notes.clone().result(result);
            notes.result(PolicyResult::None);
            assert_eq!(notes.noted_result(), result);
        }
        assert_eq!(Notes::default().noted_segment(), None);
        for segment in Segment::ALL {
            let notes = Notes::default();
            notes.clone().segment(segment);
            assert_eq!(notes.noted_segment(), Some(segment));
        }
    }

    #[test]
    fn of_several_results_the_greatest_stands() {
        let notes = Notes::default();
        notes.result(PolicyResult::DryRunDenied);
        notes.result(PolicyResult::Admitted);
        assert_eq!(notes.noted_result(), PolicyResult::DryRunDenied);
        assert!(PolicyResult::ALL.is_sorted());
    }
}
