//! Which call a path names, wherever the service is mounted.

use std::sync::Arc;

use http::Method;

use crate::session::SessionId;

/// A call of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    List,
    Current,
    Statistics,
    Events,
    TerminateAll,
    CleanUp,
    Login,
    Logout,
    /// Of one session; `None` if its id is malformed.
    One(Option<SessionId>),
}

/// What comes before the names of the calls.
#[derive(Debug, Clone)]
pub(super) enum Prefix {
    /// Whatever it is: the router may have cut it off.
    Unknown,
    /// This, without a slash at its end.
    At(Arc<str>),
    /// The router has told the call by the whole path. `None`: it is of one session, which the last name tells.
    #[cfg(feature = "axum")]
    Whole(Option<Call>),
}

impl Prefix {
    pub(super) fn call(&self, path: &str) -> Option<Call> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let rest = match self {
            Self::At(prefix) => path.strip_prefix(&**prefix)?,
            #[cfg(feature = "axum")]
            Self::Whole(Some(call)) => return Some(*call),
            #[cfg(feature = "axum")]
            Self::Whole(None) => {
                let (_, id) = path.rsplit_once('/')?;
                return Some(Call::One(id.parse().ok()));
            }
            Self::Unknown => path
                .rfind('/')
                .and_then(|at| path.get(at..))
                .unwrap_or(path),
        };
        match rest.strip_prefix('/') {
            None if rest.is_empty() => Some(Call::List),
            // The text behind `/a` in `/ab`.
            None => None,
            Some("sessions") if matches!(self, Self::Unknown) => Some(Call::List),
            Some(name) if name.contains('/') => None,
            Some(name) => Some(Call::named(name)),
        }
    }
}

impl Call {
    fn named(name: &str) -> Self {
        match name {
            "current" => Self::Current,
            "statistics" => Self::Statistics,
            "events" => Self::Events,
            "terminate-all" => Self::TerminateAll,
            "cleanup-expired" => Self::CleanUp,
            "login" => Self::Login,
            "logout" => Self::Logout,
            id => Self::One(id.parse().ok()),
        }
    }

    /// The methods that it takes, as `Allow` lists them.
    pub(super) fn methods(self) -> &'static str {
        match self {
            Self::List | Self::Current | Self::Statistics | Self::Events => "GET, HEAD",
            Self::TerminateAll | Self::CleanUp | Self::Login | Self::Logout => "POST",
            Self::One(_) => "DELETE",
        }
    }

    pub(super) fn takes(self, method: &Method) -> bool {
        let mut methods = self.methods().split(", ");
        methods.any(|it| it == method.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [(&str, Call); 7] = [
        ("current", Call::Current),
        ("statistics", Call::Statistics),
        ("events", Call::Events),
        ("terminate-all", Call::TerminateAll),
        ("cleanup-expired", Call::CleanUp),
        ("login", Call::Login),
        ("logout", Call::Logout),
    ];

    #[test]
    fn the_last_name_tells_the_call_under_any_prefix() {
        let call = |path: &str| Prefix::Unknown.call(path);
        let id = SessionId::of([7; 16]);
        for prefix in ["", "/api/v1/users/me/sessions", "/profiles/me"] {
            for (name, wanted) in NAMES {
                assert_eq!(call(&format!("{prefix}/{name}")), Some(wanted));
                assert_eq!(call(&format!("{prefix}/{name}/")), Some(wanted));
            }
            assert_eq!(call(&format!("{prefix}/{id}")), Some(Call::One(Some(id))));
            assert_eq!(call(&format!("{prefix}/x")), Some(Call::One(None)));
        }
        for path in [
            "/",
            "/api/v1/users/me/sessions",
            "/api/v1/users/me/sessions/",
        ] {
            assert_eq!(call(path), Some(Call::List), "{path}");
        }
    }

    #[test]
    fn under_a_known_prefix_nothing_else_is_answered() {
        let call = |path: &str| Prefix::At("/a/b".into()).call(path);
        for path in ["/a/b", "/a/b/"] {
            assert_eq!(call(path), Some(Call::List), "{path}");
        }
        for (name, wanted) in NAMES {
            assert_eq!(call(&format!("/a/b/{name}")), Some(wanted));
        }
        assert_eq!(call("/a/b/sessions"), Some(Call::One(None)));
        for path in [
            "/",
            "/a",
            "/a/bc",
            "/current",
            "/a/b/c/current",
            "/x/a/b/current",
        ] {
            assert_eq!(call(path), None, "{path}");
        }
        assert_eq!(Prefix::At("".into()).call("/"), Some(Call::List));
    }
}
