//! Keeps passwords out of what is said of a setting: a URL may stand at a key where nobody expects one.

/// The value without the credentials that its shape betrays: `redis://:hunter2@db/0` becomes `redis://…@db/0`.
///
/// The value may be malformed, so only what stands behind its last `@` is shown, without query and fragment, or the scheme
/// alone.
pub(crate) fn without_credentials(value: String) -> String {
    if may_hold_credentials(&value) {
        masked(&value)
    } else {
        value
    }
}

/// Whether it looks like a URL, or like `<user>:<password>@<host>`.
fn may_hold_credentials(text: &str) -> bool {
    let pair = |(before, _): (&str, &str)| before.contains(':');
    text.contains("://") || text.rsplit_once('@').is_some_and(pair)
}

/// A URL without user, password, query and fragment.
pub(crate) fn masked(url: &str) -> String {
    let (scheme, rest) = url
        .split_once("://")
        .map_or(("", url), |(scheme, rest)| (scheme, rest));
    let scheme = match scheme {
        "" => String::new(),
        // An unknown scheme could be part of a password.
        "redis" | "rediss" | "unix" | "http" | "https" => format!("{scheme}://"),
        _ => "…://".to_owned(),
    };
    match rest.rsplit_once('@') {
        Some((_, host)) => {
            let host = host.split(['?', '#']).next().unwrap_or_default();
            format!("{scheme}…@{host}")
        }
        None if scheme.starts_with("http") => format!("{scheme}{}", host_alone(rest)),
        None => format!("{scheme}…"),
    }
}

/// What stands before a path, if it is a host and a port alone; a path may hold a token.
fn host_alone(rest: &str) -> String {
    let end = rest.find(['/', '?', '#']);
    let host = &rest[..end.unwrap_or(rest.len())];
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b"._-*".contains(&b);
    if !name.bytes().all(is_name) || !port.bytes().all(|b| b.is_ascii_digit()) {
        return "…".to_owned();
    }
    match end {
        None => host.to_owned(),
        Some(end) => format!("{}…", &rest[..=end]),
    }
}

/// A message of a parser, which may quote one value, without that value's credentials.
#[cfg(feature = "serde")]
pub(crate) fn message_without_credentials(message: &str) -> String {
    if !may_hold_credentials(message) {
        return message.to_owned();
    }
    // `invalid type: string "…", expected …`, and ``unknown variant `…`, expected …``: what may follow the value is the
    // parser's own text, which has neither of the two signs.
    let quoted = message.find(['"', '`']).and_then(|opens| {
        let quote = &message[opens..=opens];
        let closed = match message.find(&format!("{quote}, expected ")) {
            Some(at) if at > opens => at,
            _ => message.rfind(quote).filter(|at| *at > opens)?,
        };
        let [before, value, after] = [
            &message[..=opens],
            &message[opens + 1..closed],
            &message[closed..],
        ];
        (!may_hold_credentials(after)).then(|| format!("{before}{}{after}", masked(value)))
    });
    quoted.unwrap_or_else(|| "a value that cannot stand here".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_of_a_url_its_scheme_and_host_alone() {
        for (value, shown) in [
            ("redis://:hunter2@db/0", "redis://…@db/0"),
            ("ada:hunter2@db", "…@db"),
            ("redis://:hun@ter2@db", "redis://…@db"),
            ("hunter2://x", "…://…"),
            ("unix:///run/sock?pass=hunter2", "unix://…"),
            ("redis://:x@db?pass=hunter2", "redis://…@db"),
            ("redis://:x@db#hunter2", "redis://…@db"),
            ("redis://hunter2", "redis://…"),
            ("https://a.example/hunter2", "https://a.example/…"),
            ("https://a.example?hunter2", "https://a.example?…"),
            ("https://*.example:443", "https://*.example:443"),
            ("https://ada:hunter2", "https://…"),
            ("https://ada:hunter2/x@db", "https://…@db"),
            ("200/1m", "200/1m"),
            ("ada@example.org", "ada@example.org"),
            ("GET /{id}", "GET /{id}"),
        ] {
            assert_eq!(without_credentials(value.to_owned()), shown);
        }
    }

    #[cfg(feature = "serde")]
    #[test]
    fn keeps_what_a_parser_says_around_the_value() {
        for (message, shown) in [
            (
                "invalid type: string \"redis://:hunter2@db\", expected u8",
                "invalid type: string \"redis://…@db\", expected u8",
            ),
            (
                "unknown variant `redis://:hun`ter2@db`, expected `on` or `off`",
                "unknown variant `redis://…@db`, expected `on` or `off`",
            ),
            (
                "unknown field `a:hunter2@db`, expected one of `ip`, `user`",
                "unknown field `…@db`, expected one of `ip`, `user`",
            ),
            ("a:hunter2@db is unquoted", "a value that cannot stand here"),
            (
                "x \"a\", expected \"redis://:hunter2@db\"",
                "a value that cannot stand here",
            ),
            ("expected `=`", "expected `=`"),
        ] {
            assert_eq!(message_without_credentials(message), shown);
        }
    }
}
