use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::{Extensions, Method, Uri};

/// A route's template, such as `/{country}/products/{id}`; never a raw path.
///
/// No match is [`Route::UNMATCHED`], one value for every path that a scanner may try.
#[derive(Clone)]
pub struct Route(Template);

#[derive(Clone)]
enum Template {
    Static(&'static str),
    Shared(Arc<str>),
    #[cfg(feature = "axum")]
    Matched(axum::extract::MatchedPath),
}

impl Route {
    /// The route of every request without a matching one: `unmatched`.
    pub const UNMATCHED: Self = Self(Template::Static("unmatched"));

    /// The template as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Template::Static(template) => template,
            Template::Shared(template) => template,
            #[cfg(feature = "axum")]
            Template::Matched(path) => path.as_str(),
        }
    }

    pub(crate) fn is_unmatched(&self) -> bool {
        self.as_str() == Self::UNMATCHED.as_str()
    }

    /// As evidence and logs show it: at most 128 bytes.
    pub(crate) fn shown(&self) -> &str {
        let text = self.as_str();
        let mut end = text.len().min(128);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        &text[..end]
    }
}

impl From<&'static str> for Route {
    fn from(template: &'static str) -> Self {
        Self(Template::Static(template))
    }
}

impl From<Arc<str>> for Route {
    fn from(template: Arc<str>) -> Self {
        Self(Template::Shared(template))
    }
}

impl From<Cow<'static, str>> for Route {
    fn from(template: Cow<'static, str>) -> Self {
        match template {
            Cow::Borrowed(template) => template.into(),
            Cow::Owned(template) => Arc::<str>::from(template).into(),
        }
    }
}

#[cfg(feature = "axum")]
impl From<axum::extract::MatchedPath> for Route {
    fn from(path: axum::extract::MatchedPath) -> Self {
        Self(Template::Matched(path))
    }
}

impl PartialEq for Route {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Route {}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Finds the route template of a request.
///
/// Return a template from your own fixed set, never the path itself: the route becomes a metric label.
/// Closures over `(&Method, &Uri, &Extensions)` implement it.
pub trait ResolveRoute: Send + Sync + 'static {
    /// The template that the request matches, if any.
    fn resolve(&self, method: &Method, uri: &Uri, extensions: &Extensions) -> Option<Route>;
}

impl<F> ResolveRoute for F
where
    F: Fn(&Method, &Uri, &Extensions) -> Option<Route> + Send + Sync + 'static,
{
    fn resolve(&self, method: &Method, uri: &Uri, extensions: &Extensions) -> Option<Route> {
        self(method, uri, extensions)
    }
}

/// The default: axum's `MatchedPath` where the `axum` feature is on and the router has set it, else no match.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct MatchedRoute;

impl ResolveRoute for MatchedRoute {
    fn resolve(&self, _: &Method, _: &Uri, extensions: &Extensions) -> Option<Route> {
        #[cfg(feature = "axum")]
        return extensions
            .get::<axum::extract::MatchedPath>()
            .cloned()
            .map(Route::from);
        #[cfg(not(feature = "axum"))]
        {
            let _ = extensions;
            None
        }
    }
}
