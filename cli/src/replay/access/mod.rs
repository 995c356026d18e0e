//! `palisade replay access`: the rate limits and what failures add up to, on the traffic of access logs.
mod cli;
mod clients;
mod human;
mod limits;
mod peaks;
mod replay;
mod report;
mod suspects;

pub(crate) use self::cli::Access;
use self::clients::Clients;
use self::limits::Limits;
use self::replay::Replay;
use self::report::Gathering;
use self::suspects::Suspects;
use crate::failure::Failure;
use crate::replay::log::{Forwarding, Log};

/// The report on the logs, as text to print.
pub(crate) fn run(arguments: &Access) -> Result<String, Failure> {
    // Settings come first: a wrong one need not wait for a long log.
    let limits = Limits::new(arguments)?;
    let limited = Replay::new(limits.config.clone(), &limits.routes, limits.bans.as_ref())?;
    let unlimited = Replay::new(limits.in_dry_run(), &limits.routes, None)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| Failure::Input(format!("the replay cannot start: {error}")))?;

    let forwarding = Forwarding::new(&limits.config.client, &arguments.trusted_proxies)?;
    let log = Log::read(&arguments.files, &forwarding)?;
    let clients = Clients::new(&log, limits.config.client.ipv6_prefix);
    let mut suspects = Suspects::new(&limits, &limited, &clients);
    let mut gathering = Gathering::new(limits.policies(), &clients);
    runtime.block_on(async {
        limited
            .run(&log, |outcome| {
                gathering.limited(&outcome);
                suspects.count(&log, &outcome);
            })
            .await;
        unlimited
            .run(&log, |outcome| gathering.unlimited(&outcome))
            .await;
    });
    let (suspicious, bans) = suspects.report();
    let mut report = gathering.report(&log, suspicious, bans);
    report.unmet_proxies = forwarding.unmet();
    report.unmet_routes = limits.routes.unmet(&log, &arguments.routes);
    if !arguments.json {
        return Ok(human::print(&report, arguments.top));
    }
    let mut json = serde_json::to_string(&report)
        .map_err(|error| Failure::Output(format!("the report cannot be written: {error}")))?;
    json.push('\n');
    Ok(json)
}
