use std::fmt;
use std::net::IpAddr;
use std::str;

use http::StatusCode;

use super::timestamp;

/// What a replay needs of one line of a log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// Whose connection it was.
    pub(super) peer: IpAddr,
    /// The third quoted text after the size, escaped as in the log: `X-Forwarded-For` or `Forwarded`, as nginx's packaged
    /// format has it.
    pub(super) forwarded: Option<&'a [u8]>,
    /// Who signed in, as the server verified it; escaped as in the log.
    pub(super) user: Option<&'a [u8]>,
    /// Seconds since 1970.
    pub(super) at: i64,
    /// The request's first line, escaped as in the log.
    pub(super) request: &'a [u8],
    pub(super) status: StatusCode,
}

/// Why a line cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Unreadable {
    Empty,
    TooLong,
    HostName,
    TwoAddresses,
    Time,
    Request,
    Status,
    /// Of a trusted proxy, without the field that says for whom.
    ProxyAlone,
    /// Of a trusted proxy, with a field that says something else.
    NotForwarded,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the line is empty",
            Self::TooLong => "the line is longer than 64 KiB",
            Self::HostName => {
                "it does not begin with the client's IP address (a host name is none: log with `HostnameLookups Off`; the \
                 server's name before it, as in `vhost_combined`, goes with `cut -d' ' -f2-`)"
            }
            Self::TwoAddresses => {
                "two addresses begin it, and which is the client's is not said: leave the client's, as in `%h %l %u %t`"
            }
            Self::Time => "no time such as `[17/May/2015:10:05:03 +0000]` stands before a quoted request",
            Self::Request => "the quotes around the request do not close",
            Self::Status => "no status of 100 to 999 and size follow the request",
            Self::ProxyAlone => {
                "its address is one of `client.trusted_proxies`, and no third quoted text after the size says for whom it \
                 asked: log `\"$http_x_forwarded_for\"` there, as nginx's packaged format does"
            }
            Self::NotForwarded => {
                "its address is one of `client.trusted_proxies`, and the third quoted text after the size is not what \
                 `client.forwarded_header` holds"
            }
        })
    }
}

/// Reads a line in common or combined format, `%h %l %u %t "%r" %>s %b`, then quoted texts, of which the third is the
/// forwarding header, and anything after.
///
/// Apache and nginx escape a quote inside the request (`\"`, `\x22`), so the first unescaped one ends it; where
/// a server does not, the first that a status and a size follow. The whole line may stand in another pair of
/// quotes, as some collectors leave it.
pub(super) fn parse(line: &[u8]) -> Result<Line<'_>, Unreadable> {
    // logrotate's copytruncate leaves NULs where the truncated file was still written to.
    let start = line.iter().position(|&byte| byte != 0);
    let line = line[start.unwrap_or(line.len())..].trim_ascii();
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    if line.is_empty() {
        return Err(Unreadable::Empty);
    }
    let line = line.strip_prefix(b"\"").unwrap_or(line);

    let (client, rest) = split_once(line, b" ").ok_or(Unreadable::HostName)?;
    let client = str::from_utf8(client)
        .ok()
        .and_then(address)
        .ok_or(Unreadable::HostName)?;
    let (identity, rest) = split_once(rest, b" ").ok_or(Unreadable::Time)?;
    // Identities (RFC 1413) are names, and hardly any server asks for them: `server client - -` it is, or the reverse.
    if str::from_utf8(identity).ok().and_then(address).is_some() {
        return Err(Unreadable::TwoAddresses);
    }
    let (user, at, rest) = user_and_time(rest).ok_or(Unreadable::Time)?;
    let (request, status, rest) = request_and_status(rest)?;
    // Apache: the user is not to be trusted where the status is 401.
    let verified = status != StatusCode::UNAUTHORIZED && !matches!(user, b"-" | b"" | b"\"\"");
    Ok(Line {
        peer: client,
        forwarded: third_quoted(rest),
        user: verified.then_some(user),
        at,
        request,
        status,
    })
}

/// An address as servers log it: a link-local one may carry its zone.
fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| {
        let (address, _zone) = text.split_once('%')?;
        address.parse().ok().filter(IpAddr::is_ipv6)
    })
}

/// The user may hold spaces and brackets but no bare quote, so a time that a quote follows is the server's own.
fn user_and_time(text: &[u8]) -> Option<(&[u8], i64, &[u8])> {
    let mut from = 0;
    while let Some(found) = text[from..].iter().position(|&byte| byte == b'[') {
        let open = from + found;
        let after = &text[open + 1..];
        if let Some((time, rest)) = after.split_at_checked(timestamp::LENGTH)
            && let Some(rest) = rest.strip_prefix(b"] \"")
            && let Some(at) = timestamp::parse(time)
        {
            return Some((text[..open].trim_ascii(), at, rest));
        }
        from = open + 1;
    }
    None
}

fn request_and_status(text: &[u8]) -> Result<(&[u8], StatusCode, &[u8]), Unreadable> {
    let mut failure = Unreadable::Request;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'\\' => at += 1,
            b'"' => match status(&text[at + 1..]) {
                Some((status, rest)) => return Ok((&text[..at], status, rest)),
                None => failure = Unreadable::Status,
            },
            _ => {}
        }
        at += 1;
    }
    Err(failure)
}

/// Reads ` 303 382` or ` 304 -`; and what follows.
fn status(text: &[u8]) -> Option<(StatusCode, &[u8])> {
    let (status, rest) = text.strip_prefix(b" ")?.split_at_checked(3)?;
    let rest = rest.strip_prefix(b" ")?;
    let size = rest.split(|byte| matches!(byte, b' ' | b'"')).next()?;
    let is_size = size == b"-" || (!size.is_empty() && size.iter().all(u8::is_ascii_digit));
    let status = StatusCode::from_bytes(status).ok()?;
    is_size.then(|| (status, &rest[size.len()..]))
}

/// The third of the quoted texts that follow, each after a space.
fn third_quoted(mut text: &[u8]) -> Option<&[u8]> {
    let mut found = None;
    for _ in 0..3 {
        let quoted = text.strip_prefix(b" \"")?;
        let mut end = 0;
        while *quoted.get(end)? != b'"' {
            end += if quoted[end] == b'\\' { 2 } else { 1 };
        }
        found = Some(&quoted[..end]);
        text = &quoted[end + 1..];
    }
    found
}

fn split_once<'a>(text: &'a [u8], separator: &[u8; 1]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.iter().position(|&byte| byte == separator[0])?;
    Some((&text[..at], &text[at + 1..]))
}

#[cfg(test)]
mod tests;
