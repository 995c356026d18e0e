//! What a `User-Agent` says, in a few known words: the text itself identifies people.

use super::Text;

/// Names of browsers and programs, and the mark of each; the first that is found stands.
const FAMILIES: [(&str, &str); 15] = [
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Vivaldi/", "Vivaldi"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("HeadlessChrome/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
    ("okhttp/", "okhttp"),
    ("Dart/", "Dart"),
    ("python-requests/", "Python"),
    ("Go-http-client/", "Go"),
];

/// Systems, and the mark of each.
const SYSTEMS: [(&str, &str); 8] = [
    ("iPhone", "iOS"),
    ("iPad", "iPadOS"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"),
    ("Macintosh", "macOS"),
    ("Linux", "Linux"),
];

/// A browser's family and system, such as `Firefox on Linux`; `None` if neither is known.
pub(super) fn summary(text: &str) -> Option<Text<64>> {
    let [family, system] = [found(&FAMILIES, text), found(&SYSTEMS, text)];
    let known = match (family, system) {
        (Some(family), Some(system)) => format!("{family} on {system}"),
        (Some(known), None) | (None, Some(known)) => known.to_owned(),
        (None, None) => return None,
    };
    Text::cut(&known)
}

/// The family, the system and the kind of device of a summary, as an API tells them.
#[cfg_attr(not(feature = "session-api"), allow(dead_code))]
pub(super) fn parts(summary: &str) -> [Option<&str>; 3] {
    let (family, system) = match summary.split_once(" on ") {
        Some((family, system)) => (Some(family), Some(system)),
        None if SYSTEMS.iter().any(|(_, name)| *name == summary) => (None, Some(summary)),
        None => (Some(summary), None),
    };
    let device = match system {
        Some("iOS" | "Android") => Some("phone"),
        Some("iPadOS") => Some("tablet"),
        Some(_) => Some("computer"),
        None => None,
    };
    [family, system, device]
}

fn found(names: &[(&str, &'static str)], text: &str) -> Option<&'static str> {
    // What browsers send has a few hundred bytes.
    let text = text.get(..1_024).unwrap_or(text);
    let name = names.iter().find(|(mark, _)| text.contains(mark));
    name.map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_family_and_system_and_nothing_else() {
        for (text, summary_of) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0",
                Some("Firefox on Linux"),
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36 Edg/130.0.0.0",
                Some("Edge on Windows"),
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
                Some("Safari on iOS"),
            ),
            (
                "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Mobile Safari/537.36",
                Some("Chrome on Android"),
            ),
            ("curl/8.5.0", Some("curl")),
            ("Linux", Some("Linux")),
            ("ada's own client", None),
            ("", None),
        ] {
            let summary = summary(text);
            assert_eq!(summary.as_ref().map(Text::as_str), summary_of, "{text}");
        }
    }

    #[test]
    fn a_summary_reads_as_its_parts() {
        assert_eq!(
            parts("Safari on iOS"),
            [Some("Safari"), Some("iOS"), Some("phone")]
        );
        assert_eq!(parts("curl"), [Some("curl"), None, None]);
        assert_eq!(parts("Linux"), [None, Some("Linux"), Some("computer")]);
    }
}
