use std::fmt::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::report::{Banned, KindReport, PolicyReport, Report};
use crate::replay::table::Align::{Left, Right};
use crate::replay::table::{Table, grouped};

/// The report for people, with at most `top` clients for each policy.
pub(super) fn print(report: &Report, top: usize) -> String {
    let mut text = String::new();
    summary(&mut text, report);
    text.push('\n');
    policies(&mut text, report);
    if report
        .policies
        .iter()
        .any(|policy| policy.suggested_limits.is_some())
    {
        text.push('\n');
        suggestions(&mut text, report);
    }
    for policy in report
        .policies
        .iter()
        .filter(|policy| policy.clients_limited > 0)
    {
        text.push('\n');
        limited(&mut text, policy, top);
    }
    text.push('\n');
    suspicious(&mut text, &report.suspicious, top);
    if !report.bans.is_empty() {
        text.push('\n');
        banned(&mut text, &report.bans, top);
    }
    text
}

// Writing to a string cannot fail, here and below.
fn summary(text: &mut String, report: &Report) {
    let _ = writeln!(
        text,
        "{} requests of {} clients, {} to {} UTC",
        grouped(report.parsed),
        grouped(report.clients as u64),
        time(report.span.first),
        time(report.span.last),
    );
    if let Some(first) = &report.first_unparsed {
        let (lines, of) = (grouped(report.unparsed), grouped(report.lines));
        let _ = writeln!(
            text,
            "{lines} of {of} lines cannot be read, the first at {first}"
        );
    }
    if report.forwarded_ignored >= report.parsed.div_ceil(2) {
        let lines = grouped(report.forwarded_ignored);
        let _ = writeln!(
            text,
            "{lines} lines have a forwarding header that is not heeded: if their addresses are of your proxies, name these \
             by --trusted-proxy, or everybody behind one is one client"
        );
    }
    for proxy in &report.unmet_proxies {
        let proxy = proxy.escape_debug();
        let _ = writeln!(
            text,
            "no line has an address of --trusted-proxy {proxy}, so it changes nothing"
        );
    }
    for route in &report.unmet_routes {
        let route = route.escape_debug();
        let _ = writeln!(
            text,
            "no request met --route {route}, so it changes nothing"
        );
    }
    let share = |part: u64| 100.0 * part as f64 / report.parsed as f64;
    let (admitted, denied) = (grouped(report.admitted), grouped(report.denied));
    let _ = writeln!(
        text,
        "{admitted} admitted ({:.2} %), {denied} denied ({:.2} %)",
        share(report.admitted),
        share(report.denied),
    );
}

fn policies(text: &mut String, report: &Report) {
    let mut table = Table::new([
        ("policy", Left),
        ("quota", Left),
        ("requests", Right),
        ("denied", Right),
        ("clients", Right),
        ("limited", Right),
        ("", Left),
    ]);
    for policy in &report.policies {
        table.row([
            policy.name.clone(),
            policy.quota.clone(),
            grouped(policy.requests),
            grouped(policy.denied),
            grouped(policy.clients_seen as u64),
            grouped(policy.clients_limited as u64),
            if policy.dry_run { "dry run" } else { "" }.to_owned(),
        ]);
    }
    table.print(text);
}

fn suggestions(text: &mut String, report: &Report) {
    let mut table = Table::new([
        ("smallest limit that denies", Left),
        ("nobody", Right),
        ("0.1 % of clients", Right),
        ("1 % of clients", Right),
    ]);
    for policy in &report.policies {
        if let Some(suggested) = policy.suggested_limits {
            let window = policy
                .quota
                .split_once('/')
                .map_or("", |(_, window)| window);
            table.row([
                format!("{}, in {window}", policy.name),
                grouped(suggested.nobody),
                grouped(suggested.one_in_1000),
                grouped(suggested.one_in_100),
            ]);
        }
    }
    table.print(text);
}

fn limited(text: &mut String, policy: &PolicyReport, top: usize) {
    let head = format!("limited by `{}`", policy.name);
    let mut table = Table::new([(&*head, Left), ("denied", Right), ("first (UTC)", Left)]);
    for client in policy.clients.iter().take(top) {
        // A user's name is what a client sent.
        let name = client.client.escape_debug().to_string();
        table.row([name, grouped(client.denied), time(client.first)]);
    }
    table.print(text);
    let more = policy.clients.len().saturating_sub(top);
    if more > 0 {
        let _ = writeln!(text, "… and {} more", grouped(more as u64));
    }
}

fn suspicious(text: &mut String, kinds: &[KindReport], top: usize) {
    let mut table = Table::new([
        ("suspicious", Left),
        ("at", Left),
        ("client", Left),
        ("first (UTC)", Left),
        ("incidents", Right),
        ("requests before", Right),
    ]);
    for kind in kinds {
        let threshold = kind.threshold;
        let mut head = [
            kind.kind.to_string(),
            threshold.map_or_else(|| "off".to_owned(), |at| at.to_string()),
        ];
        let listed = kind.clients.iter().take(top).map(|client| {
            [
                client.client.clone(),
                time(client.first),
                grouped(client.incidents),
                grouped(client.requests_before),
            ]
        });
        let more = kind.clients.len().saturating_sub(top);
        let rest = match (kind.clients.is_empty(), threshold, more) {
            (true, Some(_), _) => Some("nobody".to_owned()),
            (true, None, _) => Some(String::new()),
            (false, _, 0) => None,
            (false, _, more) => Some(format!("… and {} more", grouped(more as u64))),
        };
        let rest = rest.map(|client| [client, String::new(), String::new(), String::new()]);
        for [client, first, incidents, before] in listed.chain(rest) {
            let [kind, at] = std::mem::take(&mut head);
            table.row([kind, at, client, first, incidents, before]);
        }
    }
    table.print(text);
}

fn banned(text: &mut String, bans: &[Banned], top: usize) {
    let mut table = Table::new([
        ("banned", Left),
        ("first for", Left),
        ("first (UTC)", Left),
        ("bans", Right),
        ("requests refused", Right),
    ]);
    for ban in bans.iter().take(top) {
        table.row([
            ban.client.clone(),
            ban.reason.to_owned(),
            time(ban.first),
            grouped(ban.bans),
            grouped(ban.requests_refused),
        ]);
    }
    table.print(text);
    let more = bans.len().saturating_sub(top);
    if more > 0 {
        let _ = writeln!(text, "… and {} more", grouped(more as u64));
    }
}

fn time(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC)
        .strftime("%Y-%m-%d %H:%M:%S")
        .to_string()
}
