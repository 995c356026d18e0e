//! Numbers with their units, as Grafana writes them.

/// A value in a unit of Grafana's; `decimals` if the panel says how many.
pub(crate) fn show(value: f64, unit: &str, decimals: Option<usize>) -> String {
    if let Some(suffix) = unit.strip_prefix("suffix:") {
        return format!("{}{}", plain(value, decimals), suffix.trim_start());
    }
    match unit {
        "percentunit" => {
            let decimals = decimals.unwrap_or(if (value * 100.0).abs() < 10.0 { 1 } else { 0 });
            format!("{:.decimals$} %", value * 100.0)
        }
        "s" => seconds(value, decimals),
        "reqps" => format!("{} req/s", plain(value, decimals)),
        "ops" => format!("{} ops/s", plain(value, decimals)),
        _ => plain(value, decimals),
    }
}

/// A mark at an axis, as short as it can be.
pub(crate) fn mark(value: f64, unit: &str) -> String {
    match unit {
        "percentunit" => format!("{} %", trimmed(value * 100.0)),
        "s" => seconds(value, None),
        _ => plain(value, None),
    }
}

fn plain(value: f64, decimals: Option<usize>) -> String {
    let (value, suffix) = if value.abs() >= 1e6 {
        (value / 1e6, " M")
    } else if value.abs() >= 1e4 {
        (value / 1e3, " k")
    } else {
        (value, "")
    };
    match decimals {
        Some(decimals) if suffix.is_empty() => format!("{value:.decimals$}"),
        _ => format!("{}{suffix}", trimmed(value)),
    }
}

fn seconds(value: f64, decimals: Option<usize>) -> String {
    let (value, unit) = match value.abs() {
        0.0 => (value, "s"),
        small if small < 1e-3 => (value * 1e6, "µs"),
        small if small < 1.0 => (value * 1e3, "ms"),
        _ => (value, "s"),
    };
    match decimals {
        Some(decimals) => format!("{value:.decimals$} {unit}"),
        None => format!("{} {unit}", trimmed(value)),
    }
}

/// Three digits that count, and no zeros at the end.
fn trimmed(value: f64) -> String {
    let decimals = match value.abs() {
        large if large >= 100.0 => 0,
        middle if middle >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}
