//! The response headers that tell a client its limits.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::http::refusal::seconds_up;
use crate::model::Quota;

const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const X_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Which generation of rate-limit headers responses carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
#[non_exhaustive]
pub enum Headers {
    /// `RateLimit-Policy` and `RateLimit` of draft-ietf-httpapi-ratelimit-headers-11, every policy listed.
    #[default]
    #[cfg_attr(feature = "serde", serde(rename = "draft-11"))]
    Draft11,
    /// `X-RateLimit-Limit`, `-Remaining` and `-Reset` (seconds from now) of the policy with the smallest share of its quota
    /// left.
    Legacy,
    /// No such headers; a denial still has `Retry-After`.
    None,
}

/// One policy, as a response states it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    /// The policy's place among the layer's.
    pub(super) policy: usize,
    pub(super) name: &'a str,
    pub(super) quota: Quota,
    /// The units that are left; `None` where the policy was not checked.
    pub(super) room: Option<Room>,
}

/// The rest of a quota.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) remaining: u32,
    /// Until more than `remaining` is available; zero where the whole quota is, or where it is not known.
    pub(super) reset: Duration,
}

/// The rendered headers of one response.
#[derive(Debug, Clone, Default)]
pub(super) struct Rendered(Option<Fields>);

#[derive(Debug, Clone)]
enum Fields {
    Draft11 {
        policy: HeaderValue,
        limit: Option<HeaderValue>,
    },
    Legacy {
        limit: u32,
        remaining: u32,
        reset: u64,
    },
}

/// Renders lines; the policies' half of draft 11 changes with quotas only, so it is kept for each combination.
#[derive(Debug)]
pub(super) struct Renderer {
    headers: Headers,
    /// The quotas that the kept values were made with.
    quotas: Box<[Quota]>,
    kept: Box<[OnceLock<HeaderValue>]>,
}

/// Combinations of more policies than this are written anew each time.
const KEPT_POLICIES: usize = 6;

impl Renderer {
    pub(super) fn new(headers: Headers, quotas: impl IntoIterator<Item = Quota>) -> Self {
        let quotas: Box<[Quota]> = quotas.into_iter().collect();
        let combinations = if quotas.len() <= KEPT_POLICIES {
            1 << quotas.len()
        } else {
            0
        };
        Self {
            headers,
            quotas,
            kept: (0..combinations).map(|_| OnceLock::new()).collect(),
        }
    }

    pub(super) fn render(&self, lines: &[Line<'_>]) -> Rendered {
        if lines.is_empty() {
            return Rendered(None);
        }
        Rendered(match self.headers {
            Headers::None => None,
            Headers::Draft11 => self.policies(lines).map(|policy| Fields::Draft11 {
                policy,
                limit: limits(lines),
            }),
            Headers::Legacy => lines
                .iter()
                .filter_map(|line| Some((line.quota.limit(), line.room?)))
                // Compares the shares left without dividing: a/b < c/d where a*d < c*b.
                .min_by(|(a, room), (b, other)| {
                    let share =
                        |remaining: u32, limit: &u32| u64::from(remaining) * u64::from(*limit);
                    share(room.remaining, b).cmp(&share(other.remaining, a))
                })
                .map(|(limit, room)| Fields::Legacy {
                    limit,
                    remaining: room.remaining,
                    reset: seconds_up(room.reset),
                }),
        })
    }

    fn policies(&self, lines: &[Line<'_>]) -> Option<HeaderValue> {
        let usual = lines
            .iter()
            .all(|line| self.quotas[line.policy] == line.quota);
        let combination = lines
            .iter()
            .fold(0, |mask, line| mask | 1_usize << line.policy);
        match self.kept.get(combination) {
            Some(kept) if usual => {
                if let Some(value) = kept.get() {
                    return Some(value.clone());
                }
                let value = write_policies(lines)?;
                Some(kept.get_or_init(|| value).clone())
            }
            _ => write_policies(lines),
        }
    }
}

impl Rendered {
    /// Adds the headers; those of a limit further out or further in stay, since both fields are lists.
    pub(super) fn append_to(self, headers: &mut HeaderMap) {
        match self.0 {
            None => {}
            Some(Fields::Draft11 { policy, limit }) => {
                headers.append(RATELIMIT_POLICY, policy);
                if let Some(limit) = limit {
                    headers.append(RATELIMIT, limit);
                }
            }
            Some(Fields::Legacy {
                limit,
                remaining,
                reset,
            }) => {
                headers.insert(X_LIMIT, limit.into());
                headers.insert(X_REMAINING, remaining.into());
                headers.insert(X_RESET, reset.into());
            }
        }
    }
}

/// `"ip";q=200;w=60, "user";q=60;w=60`; a window that is no whole number of seconds is rounded up.
fn write_policies(lines: &[Line<'_>]) -> Option<HeaderValue> {
    write_list(
        lines.iter().map(|line| (line.name, line.quota)),
        |list, quota| {
            list.parameter("q", quota.limit().into());
            list.parameter("w", seconds_up(quota.window()));
        },
    )
}

/// `"ip";r=150;t=12, "user";r=0;t=12`, of the policies that were checked; `t` is left out where the whole quota is
/// available.
fn limits(lines: &[Line<'_>]) -> Option<HeaderValue> {
    let checked = lines
        .iter()
        .filter_map(|line| Some((line.name, line.room?)));
    write_list(checked, |list, room| {
        list.parameter("r", room.remaining.into());
        if !room.reset.is_zero() {
            list.parameter("t", seconds_up(room.reset));
        }
    })
}

/// A structured field list of policy names with parameters (RFC 9651), or `None` for no items. Names are
/// `a-z0-9_-`, so a value is always legal.
fn write_list<'a, T>(
    items: impl Iterator<Item = (&'a str, T)> + Clone,
    parameters: impl Fn(&mut FieldList, T),
) -> Option<HeaderValue> {
    // The name, two quotes and a comma, and two parameters of a few digits.
    let length = items.clone().map(|(name, _)| name.len() + 32).sum();
    let mut list = FieldList(Vec::with_capacity(length));
    for (name, item) in items {
        if !list.0.is_empty() {
            list.0.extend_from_slice(b", ");
        }
        list.0.push(b'"');
        list.0.extend_from_slice(name.as_bytes());
        list.0.push(b'"');
        parameters(&mut list, item);
    }
    if list.0.is_empty() {
        return None;
    }
    HeaderValue::from_maybe_shared(Bytes::from(list.0)).ok()
}

struct FieldList(Vec<u8>);

impl FieldList {
    fn parameter(&mut self, name: &str, value: u64) {
        self.0.push(b';');
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(b'=');
        self.0
            .extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(policy: usize, remaining: u32, reset_millis: u64) -> Line<'static> {
        let (name, limit) = [("ip", 200), ("user", 60)][policy];
        Line {
            policy,
            name,
            quota: Quota::new(limit, Duration::from_secs(60)).unwrap(),
            room: Some(Room {
                remaining,
                reset: Duration::from_millis(reset_millis),
            }),
        }
    }

    fn render(headers: Headers, lines: &[Line<'_>]) -> HeaderMap {
        let renderer = Renderer::new(headers, [line(0, 0, 0).quota, line(1, 0, 0).quota]);
        let mut map = HeaderMap::new();
        renderer.render(lines).append_to(&mut map);
        map
    }

    #[test]
    fn draft_11_lists_every_policy_with_seconds_rounded_up() {
        let headers = render(
            Headers::Draft11,
            &[line(0, 150, 11_001), line(1, 0, 12_000)],
        );
        assert_eq!(
            headers[RATELIMIT_POLICY],
            r#""ip";q=200;w=60, "user";q=60;w=60"#
        );
        assert_eq!(headers[RATELIMIT], r#""ip";r=150;t=12, "user";r=0;t=12"#);
    }

    #[test]
    fn draft_11_leaves_t_out_of_an_untouched_quota() {
        assert_eq!(
            render(Headers::Draft11, &[line(1, 60, 0)])[RATELIMIT],
            r#""user";r=60"#
        );
    }

    #[test]
    fn a_changed_quota_is_never_announced_by_a_kept_value() {
        let renderer = Renderer::new(Headers::Draft11, [line(0, 0, 0).quota]);
        let mut raised = line(0, 1, 1);
        raised.quota = Quota::new(400, Duration::from_secs(60)).unwrap();
        for (line, expected) in [
            (line(0, 1, 1), r#""ip";q=200;w=60"#),
            (raised, r#""ip";q=400;w=60"#),
        ] {
            let mut map = HeaderMap::new();
            renderer.render(&[line]).append_to(&mut map);
            assert_eq!(map[RATELIMIT_POLICY], expected);
        }
    }

    #[test]
    fn legacy_tells_of_the_policy_with_the_smallest_share_left() {
        let headers = render(Headers::Legacy, &[line(0, 50, 9_500), line(1, 30, 1_000)]);
        assert_eq!(
            (&headers[X_LIMIT], &headers[X_REMAINING]),
            (&"200".parse().unwrap(), &"50".parse().unwrap())
        );
        assert_eq!(headers[X_RESET], "10");
    }

    #[test]
    fn a_policy_that_was_not_checked_is_announced_without_a_state() {
        let unchecked = Line {
            room: None,
            ..line(0, 0, 0)
        };
        let headers = render(Headers::Draft11, &[unchecked, line(1, 59, 1)]);
        assert_eq!(
            headers[RATELIMIT_POLICY],
            r#""ip";q=200;w=60, "user";q=60;w=60"#
        );
        assert_eq!(headers[RATELIMIT], r#""user";r=59;t=1"#);
        assert!(!render(Headers::Draft11, &[unchecked]).contains_key(RATELIMIT));
        assert!(render(Headers::Legacy, &[unchecked]).is_empty());
    }

    #[test]
    fn none_adds_nothing() {
        assert!(render(Headers::None, &[line(0, 1, 1)]).is_empty());
        assert!(render(Headers::Draft11, &[]).is_empty());
    }
}
