use http::Method;

use crate::ConfigError;
use crate::model::{Route, RouteFilter};

/// The routes of a service, as far as they are known.
#[derive(Debug, Default)]
pub(crate) struct KnownRoutes(Vec<RouteFilter>);

/// What the known routes say of a filter.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fit<'a> {
    /// Requests of a known route meet it.
    Route,
    /// It can only be the path of requests without a route; with the known route that it resembles.
    Path(Option<&'a RouteFilter>),
    /// No request meets it: it names a parameter of no route, or a path that another route takes.
    Nothing(Option<&'a RouteFilter>),
}

impl KnownRoutes {
    /// Reads a list that a service gives of its routes.
    pub(crate) fn parse<'a>(
        routes: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, ConfigError> {
        let routes = routes.into_iter().map(str::parse);
        routes.collect::<Result<_, _>>().map(Self)
    }

    /// Adds a route that a request had, up to `most`.
    pub(super) fn learn(&mut self, method: &Method, route: &Route, most: usize) {
        let is_new = || !self.0.iter().any(|known| known.is_exactly(method, route));
        if self.0.len() < most && !route.is_unmatched() && is_new() {
            self.0.push(RouteFilter::exactly(method, route));
        }
    }

    pub(crate) fn fit(&self, filter: &RouteFilter) -> Fit<'_> {
        let is_unmatched = filter.template() == Route::UNMATCHED.as_str();
        if is_unmatched || self.0.iter().any(|known| known.meets(filter)) {
            return Fit::Route;
        }
        let taking = |known: &&RouteFilter| {
            known.template() == filter.template() || takes(known.template(), filter.template())
        };
        // The one of its method comes first.
        let mut known: Vec<_> = self.0.iter().collect();
        known.sort_by_key(|known| !known.meets_method(filter));
        if !filter.is_open()
            && let Some(known) = known.iter().copied().find(taking)
        {
            return Fit::Nothing(Some(known));
        }
        let nearest = known.into_iter().map(|known| {
            let other_method = usize::from(!known.meets_method(filter));
            let distance = distance(filter.template(), known.template());
            (distance + other_method, known)
        });
        let nearest = nearest
            .filter(|(distance, known)| *distance <= resembling(known.template()))
            .min_by_key(|(distance, _)| *distance)
            .map(|(_, known)| known);
        if filter.template().contains('{') {
            Fit::Nothing(nearest)
        } else {
            Fit::Path(nearest)
        }
    }
}

/// Up to how many changes a template is taken for a slip of another.
fn resembling(template: &str) -> usize {
    (template.len() / 4).clamp(1, 3)
}

/// Whether the route of a template would take this path.
fn takes(template: &str, path: &str) -> bool {
    let (mut parts, mut segments) = (template.split('/'), path.split('/'));
    loop {
        match (parts.next(), segments.next()) {
            (None, None) => return true,
            (Some(part), Some(segment)) if part.starts_with("{*") => return !segment.is_empty(),
            (Some(part), Some(segment)) => {
                let is_parameter = part.contains('{') && !segment.is_empty();
                if part != segment && !is_parameter {
                    return false;
                }
            }
            _ => return false,
        }
    }
}

/// How many changes make one template of another: of a character (upper and lower case are one), or of a parameter as
/// a whole. To put a parameter in the place of a name is two.
fn distance(one: &str, two: &str) -> usize {
    let (one, two): (Vec<_>, Vec<_>) = (one.split('/').collect(), two.split('/').collect());
    edits(&one, &two, weight, |one, two| {
        if one == two {
            0
        } else if one.contains('{') && two.contains('{') {
            1
        } else if one.contains('{') || two.contains('{') {
            2
        } else {
            let (one, two) = (one.to_ascii_lowercase(), two.to_ascii_lowercase());
            let (one, two): (Vec<_>, Vec<_>) = (one.chars().collect(), two.chars().collect());
            edits(&one, &two, |_| 1, |one, two| usize::from(one != two))
        }
    })
}

fn weight(segment: &str) -> usize {
    if segment.contains('{') {
        1
    } else {
        segment.chars().count() + 1
    }
}

/// The least sum of changes that make one list of the other (Levenshtein).
fn edits<T: Copy>(
    one: &[T],
    two: &[T],
    alone: impl Fn(T) -> usize,
    instead: impl Fn(T, T) -> usize,
) -> usize {
    let mut row = vec![0];
    for item in two {
        row.push(row[row.len() - 1] + alone(*item));
    }
    for left in one {
        let mut diagonal = row[0];
        row[0] += alone(*left);
        for (index, right) in two.iter().enumerate() {
            let above = row[index + 1];
            let swapped = diagonal + instead(*left, *right);
            let dropped = above + alone(*left);
            row[index + 1] = swapped.min(dropped).min(row[index] + alone(*right));
            diagonal = above;
        }
    }
    row[two.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop() -> KnownRoutes {
        KnownRoutes::parse([
            "GET /{country}/products",
            "GET /{country}/products/{id}",
            "GET /{country}/cart",
            "POST /{country}/cart",
            "POST /{country}/orders",
            "POST /login",
            "GET /files/{*path}",
        ])
        .unwrap()
    }

    #[test]
    fn a_filter_meets_a_route_is_a_path_or_is_nothing() {
        let shop = shop();
        let fits = |text: &str| match shop.fit(&text.parse().unwrap()) {
            Fit::Route => "a route".to_owned(),
            Fit::Path(None) => "a path".to_owned(),
            Fit::Path(Some(like)) => format!("a path like {like}"),
            Fit::Nothing(None) => "nothing".to_owned(),
            Fit::Nothing(Some(like)) => format!("nothing, but {like}"),
        };
        for (text, fit) in [
            ("POST /login", "a route"),
            ("/login", "a route"),
            ("HEAD /{country}/cart", "a route"),
            ("/log*", "a route"),
            ("/{country}/*", "a route"),
            ("unmatched", "a route"),
            ("GET /files/{*path}", "a route"),
            // Slips.
            ("POST /logn", "a path like POST /login"),
            ("POST /Login", "a path like POST /login"),
            ("POST /login/", "a path like POST /login"),
            ("/orders", "a path like POST /{country}/orders"),
            ("POTS /login", "nothing, but POST /login"),
            ("DELETE /{country}/cart", "nothing, but GET /{country}/cart"),
            ("POST /us/orders", "nothing, but POST /{country}/orders"),
            ("GET /us/orders", "nothing, but POST /{country}/orders"),
            ("GET /files/a/b.css", "nothing, but GET /files/{*path}"),
            ("/{land}/cart", "nothing, but GET /{country}/cart"),
            ("/{country}/oders", "nothing, but POST /{country}/orders"),
            ("/{country}/wishlist", "nothing"),
            // Paths of requests without a route.
            ("/favicon.ico", "a path"),
            ("/wp-*", "a path"),
            ("/us/orders/", "a path like POST /{country}/orders"),
        ] {
            assert_eq!(fits(text), fit, "{text}");
        }
    }

    #[test]
    fn a_route_for_all_else_leaves_no_path_without_a_route() {
        let pages = KnownRoutes::parse(["/{*path}"]).unwrap();
        let icon = "/favicon.ico".parse().unwrap();
        assert!(matches!(pages.fit(&icon), Fit::Nothing(Some(_))));
    }

    #[test]
    fn learns_so_many_routes_each_once() {
        let mut known = KnownRoutes::default();
        known.learn(&Method::GET, &Route::UNMATCHED, 2);
        for route in ["/a", "/a", "/b", "/c"] {
            known.learn(&Method::GET, &Route::from(route), 2);
        }
        let known: Vec<_> = known.0.iter().map(ToString::to_string).collect();
        assert_eq!(known, ["GET /a", "GET /b"]);
    }

    proptest::proptest! {
        #[test]
        fn a_distance_is_one_of_two_alike(one in "[a-c/{}]{0,12}", two in "[a-c/{}]{0,12}") {
            let there = distance(&one, &two);
            proptest::prop_assert_eq!(there, distance(&two, &one));
            proptest::prop_assert_eq!(distance(&one, &one), 0);
            proptest::prop_assert_eq!(there == 0, one == two);
        }
    }
}
