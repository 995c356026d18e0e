//! How a session was used last, as far as this process saw.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// How long after a network was left its return shows that both are in use: whoever walks from one network into another does
/// not come back so soon.
const IN_TURNS: Duration = Duration::from_secs(60);
/// Of a `User-Agent`, in bytes; what comes later is not compared.
const MOST_AGENT: usize = 256;

/// How a request uses its session.
#[derive(Debug, Clone, Copy)]
pub(in crate::session) struct Use<'a> {
    area: Option<IpAddr>,
    agent: &'a [u8],
}

impl<'a> Use<'a> {
    pub(in crate::session) fn new(address: Option<IpAddr>, agent: &'a [u8]) -> Self {
        Self {
            area: address.map(area),
            agent: &agent[..agent.len().min(MOST_AGENT)],
        }
    }
}

/// The /24 or the /48 of an address: within one, addresses change by themselves.
fn area(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & 0xffff_ff00).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 80 << 80).into(),
    }
}

/// What a process remembers of the use of a session.
#[derive(Debug, Default)]
pub(in crate::session) struct Seen {
    /// `None` before the first request.
    agent: Option<Box<[u8]>>,
    /// By family: a client that has both uses both.
    v4: Areas,
    v6: Areas,
}

/// Networks, each with the time of the last request from it.
#[derive(Debug, Default)]
struct Areas {
    last: Option<(IpAddr, Duration)>,
    before: Option<(IpAddr, Duration)>,
}

/// What is new with a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::session) struct Change {
    /// Another `User-Agent` than that of the request before, or the first that this process sees.
    pub(in crate::session) agent: bool,
    /// It comes from a network that was left a moment ago for another one.
    pub(in crate::session) in_turns: bool,
    pub(in crate::session) moved: Option<Move>,
}

/// From one network to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) struct Move {
    pub(in crate::session) from: IpAddr,
    pub(in crate::session) to: IpAddr,
    pub(in crate::session) took: Duration,
}

impl Seen {
    /// Notes a request at a time; `None` if it is as the one before.
    #[inline]
    pub(in crate::session) fn note(&mut self, used: &Use<'_>, now: Duration) -> Option<Change> {
        let mut is_there = used.area.is_none();
        if let Some(area) = used.area
            && let Some((last, at)) = &mut self.areas(area).last
            && *last == area
        {
            *at = now;
            is_there = true;
        }
        if is_there && self.agent.as_deref() == Some(used.agent) {
            return None;
        }
        Some(self.change(used, now))
    }

    fn areas(&mut self, area: IpAddr) -> &mut Areas {
        match area {
            IpAddr::V4(_) => &mut self.v4,
            IpAddr::V6(_) => &mut self.v6,
        }
    }

    #[cold]
    fn change(&mut self, used: &Use<'_>, now: Duration) -> Change {
        let mut change = Change::default();
        if self.agent.as_deref() != Some(used.agent) {
            self.agent = Some(used.agent.into());
            change.agent = true;
        }
        let Some(to) = used.area else {
            return change;
        };
        let Areas { last, before } = self.areas(to);
        let Some((from, left)) = last.replace((to, now)).filter(|(from, _)| *from != to) else {
            return change;
        };
        let before = before.replace((from, left));
        change.in_turns =
            before.is_some_and(|(area, left)| area == to && now.saturating_sub(left) < IN_TURNS);
        change.moved = Some(Move {
            from,
            to,
            took: now.saturating_sub(left),
        });
        change
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// What each of the requests comes to: an address, and the second in which it came.
    fn notes(requests: &[(&str, u32)]) -> Vec<(bool, Option<String>)> {
        let mut seen = Seen::default();
        let noted = requests.iter().map(|(address, second)| {
            let used = Use::new(Some(address.parse().unwrap()), b"agent");
            let change = seen.note(&used, *second * SECOND).unwrap_or_default();
            assert_eq!(seen.note(&used, *second * SECOND), None);
            let moved = change.moved;
            let moved = moved.map(|it| format!("{} {} {}", it.from, it.to, it.took.as_secs()));
            (change.in_turns, moved)
        });
        noted.collect()
    }

    #[test]
    fn two_networks_in_turns_within_a_minute_are_told_and_one_after_the_other_is_not() {
        let there = |took| Some(format!("192.0.2.0 198.51.100.0 {took}"));
        let back = |took| Some(format!("198.51.100.0 192.0.2.0 {took}"));
        let [home, away] = ["192.0.2.1", "198.51.100.9"];
        assert_eq!(
            notes(&[(home, 0), (home, 8), (away, 10), (away, 60), (home, 67)]),
            [
                (false, None),
                (false, None),
                (false, there(2)),
                (false, None),
                (true, back(7))
            ]
        );
        // Left at 10, back at 70.
        assert_eq!(
            notes(&[(home, 10), (away, 20), (home, 70)]),
            [(false, None), (false, there(10)), (false, back(50))]
        );
        // On through three networks.
        let told = notes(&[(home, 0), (away, 1), ("203.0.113.1", 2), (home, 3)]);
        assert!(told.iter().all(|(in_turns, _)| !in_turns));
    }

    #[test]
    fn neighbours_are_one_network_and_the_two_families_are_compared_apart() {
        let requests = [
            ("192.0.2.1", 0),
            ("192.0.2.200", 1),
            ("2001:db8:1::1", 2),
            ("2001:db8:1:ffff::1", 3),
            ("192.0.2.1", 4),
            ("2001:db8:1::1", 5),
        ];
        assert!(notes(&requests).iter().all(|it| *it == (false, None)));
        let told = notes(&[
            ("2001:db8:1::1", 0),
            ("2001:db8:2::1", 1),
            ("2001:db8:1::1", 2),
        ]);
        assert!(told[2].0);
    }

    #[test]
    fn another_agent_is_told_and_what_comes_late_in_it_is_not_compared() {
        let mut seen = Seen::default();
        let mut note = |agent: &[u8]| {
            let change = seen.note(&Use::new(None, agent), SECOND);
            change.is_some_and(|change| change.agent)
        };
        assert!(note(b"one") && !note(b"one") && note(b"") && note(b"one"));
        let long = [b'a'; MOST_AGENT + 1];
        assert!(note(&long) && !note(&long[..MOST_AGENT]));
        assert!(note(&long[1..MOST_AGENT]));
        let kept = seen.agent.map(|agent| agent.len());
        assert_eq!(kept, Some(MOST_AGENT - 1));
    }
}
