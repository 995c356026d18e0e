use std::fmt;
use std::str::FromStr;

use http::request::Parts;

/// A country as a bounded label: ISO 3166-1 alpha-2 in capitals, or `other`.
///
/// `UK` is read as `GB`. Only a [`Countries`] list makes labels of what a resolver returns.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Country([u8; 2]);

impl Country {
    /// Any country that is not on the configured list, and a request without one.
    pub const OTHER: Self = Self([0; 2]);

    /// The label: two capitals, or `other`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        if *self == Self::OTHER {
            return "other";
        }
        // Always two ASCII capitals, by construction.
        str::from_utf8(&self.0).unwrap_or("other")
    }
}

impl FromStr for Country {
    type Err = UnknownCountry;

    /// Reads a code of two ASCII letters, in any case.
    ///
    /// # Errors
    /// [`UnknownCountry`] for any other text.
    fn from_str(code: &str) -> Result<Self, UnknownCountry> {
        match *code.as_bytes() {
            [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                let code = [a.to_ascii_uppercase(), b.to_ascii_uppercase()];
                Ok(Self(if code == *b"UK" { *b"GB" } else { code }))
            }
            _ => Err(UnknownCountry),
        }
    }
}

/// The text is no ISO 3166-1 alpha-2 code: two letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownCountry;

impl fmt::Display for UnknownCountry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a country is two letters (ISO 3166-1 alpha-2), such as `GB`")
    }
}

impl std::error::Error for UnknownCountry {}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The countries that may appear as labels; anything else is [`Country::OTHER`].
///
/// ```
/// use palisade::client::Countries;
///
/// let countries: Countries = ["US", "GB"].into_iter().map(|code| code.parse().unwrap()).collect();
/// assert_eq!(countries.label(Some("uk")).as_str(), "GB");
/// assert_eq!(countries.label(Some("XX")).as_str(), "other");
/// assert_eq!(countries.label(None).as_str(), "other");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Countries(Vec<Country>);

impl Countries {
    /// The label of what a resolver returned.
    #[must_use]
    pub fn label(&self, code: Option<&str>) -> Country {
        code.and_then(|code| code.parse().ok())
            .filter(|country| self.0.contains(country))
            .unwrap_or(Country::OTHER)
    }

    /// The countries of the list, without `other`.
    pub fn iter(&self) -> impl Iterator<Item = Country> {
        self.0.iter().copied()
    }
}

impl FromIterator<Country> for Countries {
    fn from_iter<I: IntoIterator<Item = Country>>(countries: I) -> Self {
        let mut list: Vec<_> = countries
            .into_iter()
            .filter(|country| *country != Country::OTHER)
            .collect();
        list.sort_unstable();
        list.dedup();
        Self(list)
    }
}

/// Finds the country of a request: a path segment, a header that a trusted proxy set, GeoIP.
///
/// The text may be anything: only codes on the [`Countries`] list become labels. Closures over `&Parts`
/// implement it.
pub trait ResolveCountry: Send + Sync + 'static {
    /// The country's code, in any case.
    fn resolve<'a>(&self, request: &'a Parts) -> Option<&'a str>;
}

impl<F> ResolveCountry for F
where
    F: for<'a> Fn(&'a Parts) -> Option<&'a str> + Send + Sync + 'static,
{
    fn resolve<'a>(&self, request: &'a Parts) -> Option<&'a str> {
        self(request)
    }
}
