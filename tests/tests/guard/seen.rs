//! What must be left out of a record, because the clock or chance made it.

use regex::{Captures, Regex};

/// One response as it came over the wire, without what the clock made of it.
pub(crate) fn response(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut seen = String::new();
    for line in head.lines() {
        let line = match line.split_once(": ") {
            Some(("date", _)) => "date: <date>".to_owned(),
            // It holds nanoseconds, in protobuf, in base64.
            Some(("grpc-status-details-bin", _)) => "grpc-status-details-bin: <details>".to_owned(),
            _ => hours(line),
        };
        seen.push_str(&line);
        seen.push('\n');
    }
    seen.push('\n');
    seen.push_str(&hours(body));
    seen.push('\n');
    seen
}

/// Windows are hours long here, so a script that takes some seconds has but seconds less.
fn hours(text: &str) -> String {
    let numbers = Regex::new(r"\d+").unwrap();
    numbers
        .replace_all(text, |found: &Captures<'_>| {
            let number = &found[0];
            match number.parse::<u64>() {
                Ok(3_300..=3_600) => "<about an hour>".to_owned(),
                _ => number.to_owned(),
            }
        })
        .into_owned()
}

/// A scrape without the time that anything took, and without what is chance: how often the store was called, since calls
/// are made of batches, how many customers the first sweep met, whether a connection is closed yet, and whether a repetition came
/// before what it repeats was written.
pub(crate) fn scrape(text: &str) -> String {
    let timed = Regex::new(
        r"^(\w+_seconds_(?:sum|bucket)|target_info|webstore_store_operation_duration_seconds_count|webstore_customers|webstore_customer_swept_total|webstore_server_connections)\b(.*) \S+$",
    )
    .unwrap();
    let repetitions = Regex::new(
        r#"^(webstore_customer_changes_total\{.*"repeated"\}|webstore_funnel_reaches_total\{.*"(?:out_of_order|repeated)"\}) \S+$"#,
    )
    .unwrap();
    let mut lines: Vec<_> = text
        .lines()
        .map(|line| timed.replace(line, "$1$2 <value>").into_owned())
        .map(|line| repetitions.replace(&line, "$1 <value>").into_owned())
        .collect();
    lines.sort();
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// A value of Redis without moments and without what is random.
pub(crate) fn value(text: &str) -> String {
    let moments = Regex::new(r"\b\d{10,}(\.\d+)?\b").unwrap();
    moments.replace_all(text, "<moment>").into_owned()
}
