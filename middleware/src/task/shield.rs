//! Calls code of the user's where a panic would do harm.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// Tells an observer, and catches its panic: the request or the task that tells it goes on. A second panic while the
/// first unwinds would abort the process, and is caught too.
pub(crate) fn shielded(observer: &'static str, told: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(told)).is_err() {
        static SAID: Once = Once::new();
        SAID.call_once(|| {
            tracing::error!(
                target: "palisade::observe",
                event = "observer_panicked",
                observer,
                "an observer panicked: further panics of observers are not logged"
            );
        });
    }
}

#[cfg(test)]
mod tests {
    use super::shielded;

    #[test]
    fn a_panic_ends_at_the_shield() {
        let mut told = 0;
        shielded("test", || panic!("of the user's"));
        shielded("test", || told += 1);
        assert_eq!(told, 1);
    }
}
