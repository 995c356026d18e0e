//! Calls code of the user's where a panic would do harm.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

/// Calls what a request or a task must survive, and catches its panic: `None` then. A second panic while the first unwinds
/// would abort the process, and is caught too.
///
/// What decides (the user, the country, the route, a key, a cost, a refusal's body) is not shielded: its panic ends the
/// request, before it reaches the service.
pub(crate) fn shielded<T>(observer: &'static str, told: impl FnOnce() -> T) -> Option<T> {
    let answer = catch_unwind(AssertUnwindSafe(told)).ok();
    if answer.is_none() {
        static SAID: Mutex<Vec<&str>> = Mutex::new(Vec::new());
        let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = !said.contains(&observer);
        if is_news {
            said.push(observer);
        }
        drop(said);
        if is_news {
            tracing::error!(
                target: "palisade::observe",
                event = "observer_panicked",
                observer,
                "code of the service panicked beside a request: further panics of it are not logged"
            );
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::shielded;

    #[test]
    fn a_panic_ends_at_the_shield() {
        let mut told = 0;
        assert_eq!(shielded("test", || panic!("of the user's")), None::<()>);
        shielded("test", || told += 1);
        assert_eq!(told, 1);
    }
}
