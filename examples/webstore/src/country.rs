//! Where the shop sells: the first segment of a path.

use std::sync::LazyLock;

use axum::http::request::Parts;
use palisade::client::{Countries, Country};

static SERVED: LazyLock<Countries> = LazyLock::new(|| {
    ["US", "GB", "DE", "FR", "JP", "BR", "IN"]
        .iter()
        .filter_map(|code| code.parse().ok())
        .collect()
});

/// The countries that the shop serves, which are also the only country labels of its metrics.
#[must_use]
pub fn served() -> Countries {
    SERVED.clone()
}

/// The country that the request names in the first segment of its path, served or not: two letters in any case.
#[must_use]
pub fn named(request: &Parts) -> Option<Country> {
    let segment = request.uri.path().strip_prefix('/')?.split('/').next()?;
    segment.parse().ok()
}

/// The served country that the request names.
pub(crate) fn of(request: &Parts) -> Option<Country> {
    Some(SERVED.label(named(request))).filter(|country| *country != Country::OTHER)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    fn of(path: &str) -> Option<String> {
        let (parts, ()) = Request::get(path).body(()).unwrap().into_parts();
        super::of(&parts).map(|country| country.to_string())
    }

    #[test]
    fn reads_a_country_in_any_case() {
        assert_eq!(of("/us/products").as_deref(), Some("US"));
        assert_eq!(of("/Jp").as_deref(), Some("JP"));
    }

    #[test]
    fn reads_uk_as_gb() {
        assert_eq!(of("/uk/cart").as_deref(), Some("GB"));
    }

    #[test]
    fn serves_seven_countries_and_no_other() {
        assert_eq!(super::served().iter().count(), 7);
        for path in ["/", "/XX/products", "/other/products", "/USA/cart", "//US"] {
            assert_eq!(of(path), None, "{path}");
        }
    }
}
