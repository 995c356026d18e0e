use std::fmt;
use std::str::FromStr;

use http::{Method, Uri};

use crate::ConfigError;
use crate::model::Route;

/// A route's template, with a method or for all methods: `POST /{country}/orders`, `/health`, `/admin/*`.
///
/// A `*` at the end stands for any rest: `/admin/*` takes each route whose template starts with `/admin/`. A request
/// without a route is taken by its path instead, so `/favicon.ico` takes the requests for an icon that the service does
/// not have. A filter for `GET` also takes `HEAD`, which routers answer with the same handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteFilter {
    method: Option<Method>,
    /// Without the `*`.
    template: Box<str>,
    /// Whether a template may go on after it.
    open: bool,
}

impl RouteFilter {
    /// The route's template, or `unmatched`, without a `*` at its end.
    #[must_use]
    pub fn template(&self) -> &str {
        &self.template
    }

    /// Whether it ends in a `*`.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// The one route that a setting of code names.
    pub(crate) fn exactly(method: &Method, route: &Route) -> Self {
        Self {
            method: Some(method.clone()),
            template: route.as_str().into(),
            open: false,
        }
    }

    pub(crate) fn is_exactly(&self, method: &Method, route: &Route) -> bool {
        self.method.as_ref() == Some(method) && *self.template == *route.as_str() && !self.open
    }

    /// Whether the filter takes a request of this method and route, or, without a route, of this path.
    #[must_use]
    pub fn matches(&self, method: &Method, route: &Route, uri: &Uri) -> bool {
        self.takes_method(method)
            && (self.takes(route.as_str()) || route.is_unmatched() && self.takes(uri.path()))
    }

    fn takes(&self, text: &str) -> bool {
        if self.open {
            text.starts_with(&*self.template)
        } else {
            *self.template == *text
        }
    }

    fn takes_method(&self, method: &Method) -> bool {
        self.method
            .as_ref()
            .is_none_or(|only| only == method || (only == Method::GET && method == Method::HEAD))
    }

    /// Whether it takes every request, whatever its method.
    pub(crate) fn is_everything(&self) -> bool {
        self.method.is_none() && self.open && &*self.template == "/"
    }

    /// Whether it takes every request that the other one takes, as far as their texts show.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        let method = match &other.method {
            Some(method) => self.takes_method(method),
            None => self.method.is_none(),
        };
        method && self.takes(&other.template) && (self.open || !other.open)
    }

    /// Whether some request would be taken by both.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        self.meets_method(other) && (self.takes(&other.template) || other.takes(&self.template))
    }

    pub(crate) fn meets_method(&self, other: &Self) -> bool {
        match (&self.method, &other.method) {
            (Some(one), Some(two)) => self.takes_method(two) || other.takes_method(one),
            _ => true,
        }
    }
}

impl fmt::Display for RouteFilter {
    /// As it is read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(method) = &self.method {
            write!(f, "{method} ")?;
        }
        f.write_str(&self.template)?;
        f.write_str(if self.open { "*" } else { "" })
    }
}

impl FromStr for RouteFilter {
    type Err = ConfigError;

    /// Reads a template, or a method, a space and a template; `unmatched` stands for requests without a route.
    ///
    /// # Errors
    /// A method that is not in capitals, a template that neither starts with `/` nor is `unmatched` or that has a query, or a `*` that
    /// stands neither at the end nor in the braces of a parameter, as in `/files/{*path}`.
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        const ALLOWED: &str = "a route template such as `/{country}/orders`, optionally after a method in capitals \
                               (`POST /{country}/orders`) and with one `*` at its end for any rest (`/admin/*`), or \
                               `unmatched`";
        let refused = || ConfigError::new("routes", text, ALLOWED);
        let (method, template) = match text.split_once(' ') {
            Some((method, template)) => (Some(method), template),
            None => (None, text),
        };
        let (template, open) = match template.strip_suffix('*') {
            Some(start) => (start, true),
            None => (template, false),
        };
        let is_template = template.starts_with('/') && !template.replace("{*", "").contains('*');
        let is_unmatched = template == Route::UNMATCHED.as_str() && !open;
        // No path has a query or a fragment, so nothing would ever match.
        if !(is_template || is_unmatched) || template.contains([' ', '?', '#']) {
            return Err(refused());
        }
        let method = match method {
            None => None,
            Some(method) if method.bytes().all(|b| b.is_ascii_uppercase() || b == b'-') => {
                Some(method.parse().map_err(|_| refused())?)
            }
            Some(_) => return Err(refused()),
        };
        Ok(Self {
            method,
            template: template.into(),
            open,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> RouteFilter {
        text.parse().unwrap()
    }

    #[test]
    fn a_route_filter_matches_method_and_template_exactly() {
        let orders = Route::from("/{country}/orders");
        let there = Uri::from_static("/us/orders");
        let takes = |text, method| filter(text).matches(&method, &orders, &there);
        assert!(takes("POST /{country}/orders", Method::POST));
        assert!(!takes("POST /{country}/orders", Method::GET));
        assert!(!takes("POST /{country}/orders", Method::HEAD));
        assert!(takes("/{country}/orders", Method::GET));
        assert!(takes("GET /{country}/orders", Method::GET));
        assert!(takes("GET /{country}/orders", Method::HEAD));
        assert!(!takes("GET /{country}/orders", Method::POST));
        // A path is nothing to a request that has a route.
        assert!(!takes("/us/orders", Method::GET));
        for bad in [
            "",
            "orders",
            "post /orders",
            "POST",
            "POST  /orders",
            "GET /a b",
            "/favicon.ico?v=2",
            "/login#top",
            "*",
            "GET *",
            "/a/*/b",
            "/a**",
            "/files/*path",
            "unmatched*",
        ] {
            assert!(bad.parse::<RouteFilter>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn a_star_at_the_end_is_any_rest() {
        let uri = Uri::from_static("/");
        let takes = |text, route: &'static str| {
            filter(text).matches(&Method::GET, &Route::from(route), &uri)
        };
        assert!(takes("/log*", "/login") && takes("/log*", "/log") && takes("GET /log*", "/login"));
        assert!(!takes("/log*", "/lo") && !takes("POST /log*", "/login"));
        assert!(takes("/{country}/*", "/{country}/orders") && !takes("/{country}/*", "/{country}"));
        assert!(takes("/*", "/") && !takes("/*", "unmatched/"));
        assert!(takes("/files/{*path}", "/files/{*path}") && !takes("/files/{*path}", "/files/a"));
        for text in [
            "GET /log*",
            "/*",
            "/files/{*path}",
            "/files/{*path}*",
            "unmatched",
        ] {
            assert_eq!(filter(text).to_string(), text);
        }
    }

    #[test]
    fn a_request_without_a_route_is_taken_by_its_path() {
        let takes = |text, path| {
            filter(text).matches(&Method::GET, &Route::UNMATCHED, &Uri::from_static(path))
        };
        assert!(takes("/favicon.ico", "/favicon.ico?v=2"));
        assert!(takes(
            "GET /apple-touch-icon*",
            "/apple-touch-icon-120x120.png"
        ));
        assert!(takes("unmatched", "/anything"));
        for other in [
            "/favicon.ico/",
            "/favicon",
            "//favicon.ico",
            "/wp-login.php",
        ] {
            assert!(!takes("/favicon.ico", other), "{other}");
        }
        assert!(!takes("POST /favicon.ico", "/favicon.ico"));
    }
}
