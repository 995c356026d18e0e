use http::Version;

use crate::http::methods::{self, METHODS};

/// A request's method as a label; methods are case-sensitive (RFC 9110, section 9.1), so `get` is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Method(u8);

impl Method {
    pub(super) const HEAD: Self = Self(4);
    pub(super) const CONNECT: Self = Self(7);
    pub(super) const COUNT: usize = METHODS.len();
    const OTHER: u8 = (METHODS.len() - 1) as u8;

    pub(super) fn of(method: &http::Method) -> Self {
        Self(methods::place(method) as u8)
    }

    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..=Self::OTHER).map(Self)
    }

    pub(super) fn index(self) -> usize {
        self.0.into()
    }

    pub(super) fn as_str(self) -> &'static str {
        METHODS[self.index()]
    }
}

/// The scheme that the layer was told its connections have; the one in a request's target is the client's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(super) const ALL: [Self; 2] = [Self::Http, Self::Https];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// `network.protocol.version`; none for a version that the conventions do not know.
pub(super) fn protocol_version(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_09 => Some("0.9"),
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        Version::HTTP_3 => Some("3"),
        _ => None,
    }
}
