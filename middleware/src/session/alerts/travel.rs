//! Whether somebody can have travelled so fast.

use std::time::Duration;

/// Latitude and longitude, in degrees.
pub(super) type Place = (f64, f64);

/// Nearer than this, a resolver of addresses is no evidence.
const LEAST_KM: f64 = 100.0;
/// Above the speed of an airliner.
const MOST_KM_AN_HOUR: f64 = 1_000.0;
const EARTH_KM: f64 = 6_371.0;

/// Whether nobody gets from one place to another within this time.
pub(super) fn is_impossible(from: Place, to: Place, took: Duration) -> bool {
    let km = distance(from, to);
    // What is no number, of a resolver that knows no place, is no evidence either.
    km > LEAST_KM && km > MOST_KM_AN_HOUR * took.as_secs_f64() / 3_600.0
}

/// The length of the great circle between two places, by the haversine formula.
fn distance((lat_a, lon_a): Place, (lat_b, lon_b): Place) -> f64 {
    let half = |degrees: f64| (degrees.to_radians() / 2.0).sin().powi(2);
    let parallels = lat_a.to_radians().cos() * lat_b.to_radians().cos();
    let h = half(lat_b - lat_a) + parallels * half(lon_b - lon_a);
    2.0 * EARTH_KM * h.clamp(0.0, 1.0).sqrt().asin()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONDON: Place = (51.507, -0.128);
    const PARIS: Place = (48.857, 2.352);
    const SYDNEY: Place = (-33.869, 151.209);
    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn distances_are_those_of_the_great_circle() {
        for (from, to, km) in [
            (LONDON, PARIS, 344.0),
            (LONDON, SYDNEY, 16_994.0),
            ((0.0, 179.5), (0.0, -179.5), 111.0),
            ((90.0, 0.0), (-90.0, 120.0), 20_015.0),
            (LONDON, LONDON, 0.0),
        ] {
            let off = (distance(from, to) - km).abs();
            assert!(off <= 1.0 + km / 1_000.0, "{from:?} {to:?} {off}");
            assert_eq!(distance(from, to), distance(to, from));
        }
    }

    #[test]
    fn what_is_faster_than_an_airliner_and_far_is_impossible() {
        assert!(is_impossible(LONDON, SYDNEY, 16 * HOUR));
        assert!(!is_impossible(LONDON, SYDNEY, 18 * HOUR));
        assert!(is_impossible(LONDON, PARIS, Duration::ZERO));
        assert!(!is_impossible(LONDON, PARIS, HOUR));
        // Near, in no time.
        assert!(!is_impossible((51.5, 0.0), (51.5, 1.4), Duration::ZERO));
        assert!(!is_impossible(LONDON, (f64::NAN, 0.0), Duration::ZERO));
    }
}
