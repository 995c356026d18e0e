//! `palisade doctor`: is everything as it must be, before the service starts or while it runs.
//!
//! A group of checks is a module with a function that adds to the report; [`examine`] is the list of them.
mod report;
mod secret;
mod settings;
mod store;

use std::path::PathBuf;

use clap::{Args, ValueHint};
use palisade::config::{Config, RedisUrl};
use palisade::stack::Stack;

use self::report::Report;
use self::settings::Settings;
use crate::failure::Failure;

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// The service's own configuration file; the defaults without it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,

    /// Prints one JSON object, on a terminal too
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(crate) const ABOUT: &str = "\
Looks at what a service would start with: its configuration with the source of each value, its secret, and its Redis.

Run it where the service runs, as its user and with its environment: REDIS_URL beats store.redis_url of the file, and \
PALISADE_SECRET beats store.secret_file; either is as if absent where it is empty. Redis is asked what it is, whether it \
may be used (each command that palisade needs is tried, on a key of its own that is removed), what it does when its memory \
is full, and for the time. Nothing else is written.

Each check is ok, warn, fail or skipped, with the reason. One that is not ok says what to do. No password and no secret is \
printed: settings that hold one are `set` or `unset`.

The table has colours on a terminal, unless NO_COLOR is set.";

    pub(crate) const EXAMPLES: &str = "\
Examples:
  Would the service start, and would its limits hold?
      palisade doctor --config palisade.toml

  The same in a deployment, which stops on exit status 1:
      REDIS_URL=rediss://shop:$PASSWORD@redis.internal palisade doctor --config palisade.toml

  What fails, for a script:
      palisade doctor --config palisade.toml --json |
          jq -r '.checks[] | select(.verdict == \"fail\") | .check'

JSON: {\"ok\": …, \"checks\": [{\"check\", \"verdict\": \"ok\", \"warn\", \"fail\" or \"skipped\", \"found\", \"advice\" (or
null)}, …], \"settings\": [{\"key\", \"value\", \"source\": \"default\", \"file\" or \"environment\"}, …]}.

A configuration that cannot be read or used is a failed check, `configuration`; the others are skipped then.

Exit status: 0 when no check fails, 1 when one does, 2 for a wrong argument.";
}

const CONFIGURATION: &str = "configuration";

/// What was found, as text to print, and whether no check fails.
pub(crate) fn run(arguments: &Doctor) -> Result<(String, bool), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Store(format!("the checks cannot start: {error}")))?;
    let report = runtime.block_on(examine(arguments));
    let text = if arguments.json {
        report.json()
    } else {
        report.table(report::is_colourful())
    };
    Ok((text, report.is_ok()))
}

/// Every check, in the order of the report.
async fn examine(arguments: &Doctor) -> Report {
    let mut report = Report::new();
    match read(arguments) {
        Ok((config, settings)) => {
            settings.check(&mut report);
            secret::check(&config, &mut report);
            store::check(&config, &mut report).await;
            report.settings = settings.into_rows();
        }
        Err(failure) => {
            let advice = "change what is named here, or name another file by --config: a service does not start with it";
            report.fail(CONFIGURATION, failure.to_string(), advice);
            for check in [secret::CHECK].into_iter().chain(store::CHECKS) {
                report.skip(check, "the configuration cannot be used");
            }
        }
    }
    report
}

/// The configuration as a service would have it, and where each value comes from.
fn read(arguments: &Doctor) -> Result<(Config, Settings), Failure> {
    let file = arguments.config.as_deref();
    let mut config = match file {
        None => Config::default(),
        Some(file) => Config::from_file(file)?,
    };
    let mut settings = Settings::of_file(file)?;
    if let Some(url) = std::env::var_os("REDIS_URL").filter(|url| !url.is_empty()) {
        // What is no text is refused like the empty URL, and not taken for an absent one.
        config.store.redis_url = Some(RedisUrl::from(url.into_string().unwrap_or_default()));
        settings.set_redis_url_by_environment();
    }
    // Settings that are well by themselves may still contradict each other.
    match Stack::builder().config(config.clone()).build() {
        // A check of its own tells of the secret.
        Err(error) if !["PALISADE_SECRET", "store.secret_file"].contains(&error.key()) => {
            let of_environment =
                error.key().ends_with("redis_url") && settings.redis_url_is_of_environment();
            return Err(if of_environment {
                Failure::Setting(format!("REDIS_URL in the environment: {error}"))
            } else {
                Failure::from(match file {
                    Some(file) => error.in_file(file),
                    None => error,
                })
            });
        }
        _ => {}
    }
    Ok((config, settings))
}
