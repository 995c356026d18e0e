//! Which part of the page a path names, wherever the page is mounted.

use std::sync::Arc;

use http::request::Parts;

/// What comes before the page's own paths.
#[derive(Debug, Clone)]
pub(super) enum Prefix {
    /// Whatever it is: the router may have cut it off.
    Unknown,
    /// This, without a slash at its end.
    At(Arc<str>),
}

/// A part of the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Page,
    Script,
    Style,
    Events,
    Lift,
    /// The page without a slash at its end, from which relative paths would lead astray: where it is, relative to it.
    Redirect(String),
}

impl Prefix {
    pub(super) fn place(&self, parts: &Parts) -> Option<Place> {
        let mounted = match self {
            Self::At(_) => None,
            Self::Unknown => mounted_without_slash(parts),
        };
        mounted.or_else(|| self.place_of(parts.uri.path()))
    }

    pub(super) fn place_of(&self, path: &str) -> Option<Place> {
        match self {
            Self::At(prefix) => match path.strip_prefix(&**prefix)? {
                "" if !prefix.is_empty() => Some(redirect(prefix)),
                rest => named(rest.strip_prefix('/')?),
            },
            Self::Unknown if path.ends_with("/bans/lift") => Some(Place::Lift),
            Self::Unknown => named(path.rsplit('/').next()?),
        }
    }
}

fn named(rest: &str) -> Option<Place> {
    match rest {
        "" => Some(Place::Page),
        "ops.js" => Some(Place::Script),
        "ops.css" => Some(Place::Style),
        "events" => Some(Place::Events),
        "bans/lift" => Some(Place::Lift),
        _ => None,
    }
}

/// A relative reference holds behind proxies that add a prefix too.
fn redirect(path: &str) -> Place {
    let last = path.rsplit('/').next().unwrap_or_default();
    Place::Redirect(format!("./{last}/"))
}

/// axum's `nest_service("/ops", ..)` shows `/` for both `/ops` and `/ops/`; what it matched tells them apart.
#[cfg(feature = "axum")]
fn mounted_without_slash(parts: &Parts) -> Option<Place> {
    let matched = parts
        .extensions
        .get::<axum::extract::MatchedPath>()?
        .as_str();
    // Not where the end of the path is the client's text.
    let is_whole = !matched.ends_with('/') && !matched.ends_with('}');
    let is_page = parts.uri.path() == "/" || parts.uri.path() == matched;
    let is_file = named(matched.rsplit('/').next()?).is_some() || matched.ends_with("/bans/lift");
    (is_whole && is_page && !is_file).then(|| redirect(matched))
}

#[cfg(not(feature = "axum"))]
fn mounted_without_slash(_: &Parts) -> Option<Place> {
    None
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn place(prefix: &Prefix, path: &str) -> Option<Place> {
        prefix.place(
            &Request::builder()
                .uri(path)
                .body(())
                .unwrap()
                .into_parts()
                .0,
        )
    }

    #[test]
    fn the_last_names_tell_the_place_under_any_prefix() {
        for prefix in ["", "/ops", "/a/b"] {
            for (rest, wanted) in [
                ("/", Some(Place::Page)),
                ("/ops.js", Some(Place::Script)),
                ("/ops.css", Some(Place::Style)),
                ("/events", Some(Place::Events)),
                ("/bans/lift", Some(Place::Lift)),
                ("/favicon.ico", None),
                ("/lift", None),
                ("/bans", None),
                ("/bans/lift2", None),
                ("/xbans/lift", None),
            ] {
                let path = format!("{prefix}{rest}?x=/events");
                assert_eq!(place(&Prefix::Unknown, &path), wanted, "{path}");
            }
        }
    }

    #[test]
    fn under_a_known_prefix_nothing_else_is_answered() {
        let at = Prefix::At("/a/ops".into());
        assert_eq!(place(&at, "/a/ops"), Some(Place::Redirect("./ops/".into())));
        assert_eq!(place(&at, "/a/ops/"), Some(Place::Page));
        assert_eq!(place(&at, "/a/ops/bans/lift"), Some(Place::Lift));
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
        assert_eq!(place(&root, "/"), Some(Place::Page));
        assert_eq!(place(&root, "/events"), Some(Place::Events));
    }
}
