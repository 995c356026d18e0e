//! Which part of the page a path names, wherever the page is mounted.

use std::sync::Arc;

use http::request::Parts;

/// The prefix of the page's own paths.
#[derive(Debug, Clone)]
pub(super) enum Prefix {
    /// Whatever it is: the router may have cut it off.
    Unknown,
    /// This, without a slash at its end.
    At(Arc<str>),
}

/// The target of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place<T> {
    /// A part of the page.
    Part(T),
    /// The page without a slash at its end, from which relative paths would lead astray: where it is, relative to it.
    Redirect(String),
}

impl Prefix {
    /// The target of a request; `part` knows the page's parts by their names. The page itself has the empty name.
    pub(super) fn place<T>(
        &self,
        parts: &Parts,
        part: impl Fn(&str) -> Option<T>,
    ) -> Option<Place<T>> {
        let mounted = match self {
            Self::At(_) => None,
            Self::Unknown => mounted_without_slash(parts, &part),
        };
        mounted.or_else(|| self.place_of(parts.uri.path(), part))
    }

    pub(super) fn place_of<T>(
        &self,
        path: &str,
        part: impl Fn(&str) -> Option<T>,
    ) -> Option<Place<T>> {
        match self {
            Self::At(prefix) => match path.strip_prefix(&**prefix)? {
                "" if !prefix.is_empty() => Some(redirect(prefix)),
                rest => part(rest.strip_prefix('/')?).map(Place::Part),
            },
            Self::Unknown => at_the_end(path, &part).map(Place::Part),
        }
    }
}

/// The part that the last two names of a path are, or else the last alone.
fn at_the_end<T>(path: &str, part: &impl Fn(&str) -> Option<T>) -> Option<T> {
    let (rest, last) = path.rsplit_once('/').unwrap_or(("", path));
    let two = rest.rfind('/').and_then(|slash| path.get(slash + 1..));
    two.and_then(part).or_else(|| part(last))
}

/// A relative reference holds behind proxies that add a prefix too.
fn redirect<T>(path: &str) -> Place<T> {
    let last = path.rsplit('/').next().unwrap_or_default();
    Place::Redirect(format!("./{last}/"))
}

/// axum's `nest_service("/ops", ..)` shows `/` for both `/ops` and `/ops/`; the matched path tells them apart.
#[cfg(feature = "axum")]
fn mounted_without_slash<T>(parts: &Parts, part: &impl Fn(&str) -> Option<T>) -> Option<Place<T>> {
    let matched = parts
        .extensions
        .get::<axum::extract::MatchedPath>()?
        .as_str();
    // Not where the end of the path is the client's text.
    let is_whole = !matched.ends_with('/') && !matched.ends_with('}');
    let is_page = parts.uri.path() == "/" || parts.uri.path() == matched;
    let is_file = at_the_end(matched, part).is_some();
    (is_whole && is_page && !is_file).then(|| redirect(matched))
}

#[cfg(not(feature = "axum"))]
fn mounted_without_slash<T>(_: &Parts, _: &impl Fn(&str) -> Option<T>) -> Option<Place<T>> {
    None
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const PARTS: [&str; 5] = ["", "main.js", "panels/funnel.js", "events", "bans/lift"];

    fn place(prefix: &Prefix, path: &str) -> Option<Place<&'static str>> {
        let request = Request::builder().uri(path).body(()).unwrap();
        let part = |name: &str| PARTS.into_iter().find(|it| *it == name);
        prefix.place(&request.into_parts().0, part)
    }

    #[test]
    fn the_last_names_tell_the_place_under_any_prefix() {
        for prefix in ["", "/ops", "/a/b"] {
            for (rest, wanted) in [
                ("/", Some("")),
                ("/main.js", Some("main.js")),
                ("/panels/funnel.js", Some("panels/funnel.js")),
                ("/events", Some("events")),
                ("/bans/lift", Some("bans/lift")),
                ("/favicon.ico", None),
                ("/funnel.js", None),
                ("/lift", None),
                ("/bans", None),
                ("/bans/lift2", None),
                ("/xbans/lift", None),
            ] {
                let path = format!("{prefix}{rest}?x=/events");
                let wanted = wanted.map(Place::Part);
                assert_eq!(place(&Prefix::Unknown, &path), wanted, "{path}");
            }
        }
    }

    #[test]
    fn under_a_known_prefix_nothing_else_is_answered() {
        let at = Prefix::At("/a/ops".into());
        assert_eq!(place(&at, "/a/ops"), Some(Place::Redirect("./ops/".into())));
        assert_eq!(place(&at, "/a/ops/"), Some(Place::Part("")));
        assert_eq!(
            place(&at, "/a/ops/bans/lift"),
            Some(Place::Part("bans/lift"))
        );
        for path in [
            "/",
            "/a/opsx",
            "/a/ops/x",
            "/a/ops/x/",
            "/events",
            "/a/opsevents",
        ] {
            assert_eq!(place(&at, path), None, "{path}");
        }
        let root = Prefix::At("".into());
        assert_eq!(place(&root, "/"), Some(Place::Part("")));
        assert_eq!(place(&root, "/events"), Some(Place::Part("events")));
    }
}
