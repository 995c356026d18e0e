use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::{Method, Uri};

use super::known_routes::{Fit, KnownRoutes};
use crate::http::methods;
use crate::model::{Route, RouteFilter};

/// The routes of settings that no request has met yet, where a service does not say which routes it has.
///
/// Invariants: each setting is told of at most once, and none that a request met before. It closes when all are met or
/// told, and then costs a request one relaxed load. Until then a request waits for nobody, and the routes that it learns
/// are at most [`Unmet::MOST_ROUTES`], all of them templates.
#[derive(Debug)]
pub(crate) struct Unmet {
    is_open: AtomicBool,
    settings: Box<[Setting]>,
    requests: AtomicU64,
    seen: Mutex<KnownRoutes>,
    since: Instant,
}

#[derive(Debug)]
struct Setting {
    key: String,
    filter: RouteFilter,
    /// Whether it was met or told.
    is_done: AtomicBool,
}

impl Unmet {
    /// From so many requests on, what resembles another route is told.
    const ENOUGH: u64 = 1_000;
    /// After this time and so many requests, so is the rest.
    const LONG: Duration = Duration::from_secs(60 * 60);
    /// Of later requests every so manieth shows its route, and the clock.
    const STEP: u64 = 64;
    const MOST_ROUTES: usize = 256;

    /// `None` without settings.
    pub(crate) fn new(settings: impl IntoIterator<Item = (String, RouteFilter)>) -> Option<Self> {
        let settings = settings.into_iter().map(|(key, filter)| Setting {
            key,
            filter,
            is_done: AtomicBool::new(false),
        });
        let settings: Box<[_]> = settings.collect();
        (!settings.is_empty()).then(|| Self {
            is_open: AtomicBool::new(true),
            settings,
            requests: AtomicU64::new(0),
            seen: Mutex::default(),
            since: Instant::now(),
        })
    }

    /// Heeds the route of a request.
    pub(crate) fn heed(&self, method: &Method, route: &Route, uri: &Uri) {
        if self.is_open.load(Ordering::Relaxed) {
            self.look(method, route, uri, || self.since.elapsed());
        }
    }

    #[cold]
    fn look(&self, method: &Method, route: &Route, uri: &Uri, age: impl FnOnce() -> Duration) {
        let mut is_open = false;
        for setting in self.settings.iter().filter(|setting| !setting.is_done()) {
            let is_met = setting.filter.matches(method, route, uri);
            if is_met {
                setting.is_done.store(true, Ordering::Relaxed);
            }
            is_open |= !is_met;
        }
        let requests = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let shows = requests <= Self::ENOUGH || requests.is_multiple_of(Self::STEP);
        if is_open
            && shows
            && let Ok(mut seen) = self.seen.try_lock()
        {
            // A method that no standard has is the client's own text.
            if methods::is_standard(method) {
                seen.learn(method, route, Self::MOST_ROUTES);
            }
            if requests >= Self::ENOUGH {
                let is_long = age() >= Self::LONG;
                self.tell(&seen, requests, is_long);
                is_open = !is_long;
            }
        }
        if !is_open {
            self.is_open.store(false, Ordering::Relaxed);
        }
    }

    fn tell(&self, seen: &KnownRoutes, requests: u64, all: bool) {
        for setting in self.settings.iter().filter(|setting| !setting.is_done()) {
            let nearest = match seen.fit(&setting.filter) {
                Fit::Route => None,
                Fit::Path(nearest) | Fit::Nothing(nearest) => nearest,
            };
            if (all || nearest.is_some()) && !setting.is_done.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    target: "palisade::client",
                    event = "route_unmet",
                    key = setting.key,
                    value = %setting.filter,
                    nearest = nearest.map(tracing::field::display),
                    requests,
                    "no request has met a configured route: if the service has none of that name, the setting has no \
                     effect"
                );
            }
        }
    }
}

impl Setting {
    fn is_done(&self) -> bool {
        self.is_done.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Lines;

    const SOON: Duration = Duration::from_secs(1);

    fn unmet(routes: &[&str]) -> Unmet {
        let settings = routes
            .iter()
            .map(|route| ("limits.routes".to_owned(), route.parse().unwrap()));
        Unmet::new(settings).unwrap()
    }

    fn ask(unmet: &Unmet, times: u64, request: (Method, &'static str, &str), age: Duration) {
        let (method, route, path) = request;
        let uri: Uri = path.parse().unwrap();
        for _ in 0..times {
            if unmet.is_open.load(Ordering::Relaxed) {
                unmet.look(&method, &Route::from(route), &uri, || age);
            }
        }
    }

    fn login() -> (Method, &'static str, &'static str) {
        (Method::POST, "/login", "/login")
    }

    #[test]
    fn a_route_that_no_request_meets_is_told_once_with_the_nearest() {
        let (lines, _guard) = Lines::capture();
        let unmet = unmet(&["POST /logn", "POST /us/orders", "/rare"]);
        ask(
            &unmet,
            1,
            (Method::POST, "/{country}/orders", "/us/orders"),
            SOON,
        );
        ask(&unmet, Unmet::ENOUGH - 2, login(), SOON);
        assert_eq!(lines.take(), [""; 0]);
        ask(&unmet, 1, login(), SOON);
        let told = |value: &str, nearest: &str, requests: u64| {
            format!("WARN route_unmet key=limits.routes{nearest} requests={requests} value={value}")
        };
        let expected = [
            told("POST /logn", " nearest=POST /login", 1_000),
            told("POST /us/orders", " nearest=POST /{country}/orders", 1_000),
        ];
        assert_eq!(lines.take(), expected);
        ask(&unmet, 9_000, login(), SOON);
        assert_eq!(lines.take(), [""; 0], "what resembles nothing has its time");
        ask(&unmet, 64, login(), Unmet::LONG);
        assert_eq!(lines.take(), [told("/rare", "", 10_048)]);
        assert!(!unmet.is_open.load(Ordering::Relaxed));
        ask(&unmet, 9_000, login(), Unmet::LONG);
        assert_eq!(lines.take(), [""; 0]);
    }

    #[test]
    fn nothing_is_told_of_routes_that_are_met_and_it_closes() {
        let (lines, _guard) = Lines::capture();
        let unmet = unmet(&["POST /login", "/{country}/*", "/favicon.ico"]);
        ask(&unmet, 5, login(), SOON);
        ask(
            &unmet,
            1,
            (Method::GET, "/{country}/orders", "/us/orders"),
            SOON,
        );
        assert!(unmet.is_open.load(Ordering::Relaxed));
        ask(&unmet, 1, (Method::GET, "unmatched", "/favicon.ico"), SOON);
        assert!(!unmet.is_open.load(Ordering::Relaxed));
        ask(&unmet, 9_000, login(), Unmet::LONG);
        assert_eq!(lines.take(), [""; 0]);
    }

    #[test]
    fn learns_no_text_of_a_client_and_so_many_routes() {
        let unmet = unmet(&["/rare"]);
        let odd = Method::from_bytes(b"HACK").unwrap();
        ask(&unmet, 1, (odd, "/login", "/login"), SOON);
        ask(&unmet, 1, (Method::GET, "unmatched", "/secret"), SOON);
        assert_eq!(
            format!("{:?}", unmet.seen.lock().unwrap()),
            "KnownRoutes([])"
        );
        for n in 0..Unmet::MOST_ROUTES + 9 {
            let route = Route::from(std::sync::Arc::<str>::from(format!("/{n}")));
            unmet.look(&Method::GET, &route, &Uri::from_static("/"), || SOON);
        }
        let seen = format!("{:?}", unmet.seen.lock().unwrap());
        assert_eq!(seen.matches("template").count(), Unmet::MOST_ROUTES);
    }

    #[test]
    fn there_is_nothing_to_heed_without_settings() {
        assert!(Unmet::new([]).is_none());
    }
}
