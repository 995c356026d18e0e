//! The comparison from end to end, as Markdown that can be quoted.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use palisade::rate_limit::Quota;

use crate::Result;
use crate::arguments::{Comparison, Quotas};
use crate::comparison::{self, Compared, Running, Sample};
use crate::decisions::{self, Decisions};
use crate::footprint;
use crate::statistics::{interval, median, range};
use crate::variants::Variant;

/// Runs the comparison and prints it.
pub(crate) fn run(asked: &Comparison) -> Result<()> {
    require("wrk")?;
    require("redis-server")?;
    // The default limits, in windows of 2 s instead of a minute: 5,000 clients that ask 100,000 times a second
    // together are to be admitted.
    let usual = quotas(200, 60, 2)?;
    let flood = quotas(200, 60, 60)?;
    let full = quotas(200, 200, 60)?;
    let seed = asked.seed.unwrap_or_else(|| u64::from(std::process::id()));

    let Compared {
        mut running,
        repeated,
    } = comparison::run(asked, usual, flood, seed)?;
    let redis = running.iter_mut().find_map(Running::redis);
    let redis = redis.map(|redis| redis.version()).transpose()?;
    let mut bytes = BTreeMap::new();
    let mut single = None;
    if !asked.only_rounds {
        for variant in running.iter().map(|running| running.variant) {
            eprintln!("bytes per key: {variant}");
            if let Some(found) = footprint::measure(variant, full)? {
                bytes.insert(variant, found);
            }
        }
        eprintln!("single decisions");
        single = Some(decisions::measure()?);
    }

    print_table(&running, &bytes);
    print_pairs(&running);
    if let Some(single) = single {
        print_decisions(&single);
    }
    println!(
        "\n{} rounds of {} s for each variant, in an order shuffled anew each round (seed {seed}), {repeated} repeated; wrk, {} connections, \
         {} clients with a user each, every decision over both tiers. Quotas: ip {}, user {}; in the flood ip {}, user \
         {}; logs of {} hits for bytes per key. {}{}.",
        asked.rounds,
        asked.seconds,
        asked.connections,
        asked.clients,
        usual.ip,
        usual.user,
        flood.ip,
        flood.user,
        full.ip.limit(),
        machine(),
        redis
            .map(|version| format!(", Redis {version}"))
            .unwrap_or_default(),
    );
    Ok(())
}

fn quotas(ip: u32, user: u32, seconds: u64) -> Result<Quotas> {
    let window = Duration::from_secs(seconds);
    Ok(Quotas {
        ip: Quota::new(ip, window)?,
        user: Quota::new(user, window)?,
    })
}

/// Fails at once, not after minutes, where a program is missing.
fn require(program: &str) -> Result<()> {
    Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map(drop)
        .map_err(|error| {
            format!("cannot start {program} ({error}); on Debian: apt-get install {program}").into()
        })
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map(|(_, model)| model.trim());
    format!(
        "{cores} cores ({}), shared by the service, the load and Redis",
        model.unwrap_or("of unknown model")
    )
}

fn print_table(running: &[Running], bytes: &BTreeMap<Variant, f64>) {
    println!(
        "| variant | requests/s | ratio to bare | 95 % interval | min to max | p50 ms | p99 ms | service CPU µs/request | \
         Redis CPU µs/request | bytes per key |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    );
    for variant in running {
        let ratios = ratios(variant, &running[0]);
        let (low, high) = range(&ratios);
        println!(
            "| {} | {:.0} | {:.3} | {} | {low:.3} to {high:.3} | {:.2} | {:.2} | {} | {} | {} |",
            variant.variant.title(),
            of(variant, |sample| sample.measured.rate),
            median(&ratios),
            interval_text(&ratios),
            of(variant, |sample| sample.measured.p50),
            of(variant, |sample| sample.measured.p99),
            optional(variant, |sample| sample.service_cpu),
            optional(variant, |sample| sample.redis_cpu),
            bytes
                .get(&variant.variant)
                .map_or("–".to_owned(), |bytes| format!("{bytes:.0}")),
        );
    }
}

/// The pairs that the project promises something about.
fn print_pairs(running: &[Running]) {
    println!();
    for (one, other) in [
        (Variant::Memory, Variant::Governor),
        (Variant::MemoryPlain, Variant::GovernorPlain),
        (Variant::Redis, Variant::Documents),
    ] {
        let find = |wanted| running.iter().find(|running| running.variant == wanted);
        if let Some((one, other)) = find(one).zip(find(other)) {
            let ratios = ratios(one, other);
            println!(
                "- {} to {}: {:.3} ({})",
                one.variant.title(),
                other.variant.title(),
                median(&ratios),
                interval_text(&ratios)
            );
        }
    }
}

fn print_decisions([governor, palisade]: &[Decisions; 2]) {
    println!(
        "\n| one decision of one tier in memory, all admitted | hot key, ns | 1,000,000 keys, ns |\n|---|--:|--:|\n\
         | governor | {:.0} | {:.0} |\n| palisade | {:.0} | {:.0} |",
        governor.hot, governor.many, palisade.hot, palisade.many
    );
}

/// Requests/s of one to those of the other, round by round.
fn ratios(one: &Running, other: &Running) -> Vec<f64> {
    let pairs = one.samples.iter().zip(&other.samples);
    pairs
        .map(|(one, other)| one.measured.rate / other.measured.rate)
        .collect()
}

fn of(running: &Running, figure: impl Fn(&Sample) -> f64) -> f64 {
    let values: Vec<f64> = running.samples.iter().map(figure).collect();
    median(&values)
}

fn optional(running: &Running, figure: impl Fn(&Sample) -> Option<f64>) -> String {
    let values: Vec<f64> = running.samples.iter().filter_map(figure).collect();
    if values.is_empty() {
        "–".to_owned()
    } else {
        format!("{:.1}", median(&values))
    }
}

fn interval_text(values: &[f64]) -> String {
    interval(values).map_or_else(
        || "needs 6 rounds".to_owned(),
        |(low, high)| format!("{low:.3} to {high:.3}"),
    )
}
