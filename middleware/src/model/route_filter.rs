use std::fmt;
use std::str::FromStr;

use http::Method;

use crate::ConfigError;
use crate::model::Route;

/// A route's template, with a method or for all methods: `POST /{country}/orders`, `/health`.
///
/// A filter for `GET` also takes `HEAD`, which routers answer with the same handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteFilter {
    method: Option<Method>,
    template: Box<str>,
}

impl RouteFilter {
    /// The route's template, or `unmatched`.
    #[must_use]
    pub fn template(&self) -> &str {
        &self.template
    }

    /// Whether the filter names this method and route.
    #[must_use]
    pub fn matches(&self, method: &Method, route: &Route) -> bool {
        let of_method = self
            .method
            .as_ref()
            .is_none_or(|only| only == method || (only == Method::GET && method == Method::HEAD));
        of_method && *self.template == *route.as_str()
    }
}

impl fmt::Display for RouteFilter {
    /// As it is read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(method) = &self.method {
            write!(f, "{method} ")?;
        }
        f.write_str(&self.template)
    }
}

impl FromStr for RouteFilter {
    type Err = ConfigError;

    /// Reads a template, or a method, a space and a template; `unmatched` stands for requests without a route.
    ///
    /// # Errors
    /// A method that is not in capitals, or a template that neither starts with `/` nor is `unmatched`.
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        const ALLOWED: &str = "a route template such as `/{country}/orders`, optionally after a method in capitals \
                               (`POST /{country}/orders`), or `unmatched`";
        let refused = || ConfigError::new("routes", text, ALLOWED);
        let (method, template) = match text.split_once(' ') {
            Some((method, template)) => (Some(method), template),
            None => (None, text),
        };
        if !template.starts_with('/') && template != Route::UNMATCHED.as_str()
            || template.contains(' ')
        {
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
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_filter_matches_method_and_template_exactly() {
        let orders = Route::from("/{country}/orders");
        let filter: RouteFilter = "POST /{country}/orders".parse().unwrap();
        assert!(filter.matches(&Method::POST, &orders));
        assert!(!filter.matches(&Method::GET, &orders));
        assert!(!filter.matches(&Method::POST, &Route::UNMATCHED));
        let any: RouteFilter = "/{country}/orders".parse().unwrap();
        assert!(any.matches(&Method::GET, &orders));
        let get: RouteFilter = "GET /{country}/orders".parse().unwrap();
        assert!(get.matches(&Method::GET, &orders) && get.matches(&Method::HEAD, &orders));
        assert!(!get.matches(&Method::POST, &orders) && !filter.matches(&Method::HEAD, &orders));
        let unmatched: RouteFilter = "unmatched".parse().unwrap();
        assert!(unmatched.matches(&Method::GET, &Route::UNMATCHED));
        for bad in [
            "",
            "orders",
            "post /orders",
            "POST",
            "POST  /orders",
            "GET /a b",
        ] {
            assert!(bad.parse::<RouteFilter>().is_err(), "{bad:?} was accepted");
        }
    }
}
