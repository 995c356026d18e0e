use std::fmt;
use std::str::FromStr;

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
/// assert_eq!(countries.label("uk".parse().ok()).as_str(), "GB");
/// assert_eq!(countries.label("XX".parse().ok()).as_str(), "other");
/// assert_eq!(countries.label(None).as_str(), "other");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Countries(Vec<Country>);

impl Countries {
    /// The label for a resolver's country: the country itself when it is on the list.
    #[must_use]
    pub fn label(&self, country: Option<Country>) -> Country {
        country
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_two_ascii_letters_in_any_case() {
        for (code, country) in [
            ("US", "US"),
            ("gb", "GB"),
            ("uk", "GB"),
            ("Uk", "GB"),
            ("dE", "DE"),
        ] {
            assert_eq!(code.parse::<Country>().unwrap().as_str(), country);
        }
        for code in ["", "U", "USA", "U1", " U", "é", "ÜÜ", "\0\0", "--"] {
            assert_eq!(code.parse::<Country>(), Err(UnknownCountry), "{code:?}");
        }
    }

    #[test]
    fn only_listed_countries_are_labels() {
        let countries: Countries = ["uk", "GB", "us"]
            .into_iter()
            .map(|code| code.parse().unwrap())
            .chain([Country::OTHER])
            .collect();
        assert_eq!(
            countries
                .iter()
                .map(|country| country.to_string())
                .collect::<Vec<_>>(),
            ["GB", "US"]
        );
        assert_eq!(countries.label("DE".parse().ok()), Country::OTHER);
        assert_eq!(countries.label(None), Country::OTHER);
        assert_eq!(
            Countries::default().label("US".parse().ok()),
            Country::OTHER
        );
    }
}
