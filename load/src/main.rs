//! Shoppers and attackers that visit the webstore: a load test that fails when an answer is not the right one.
//!
//! The visitors are those of `webstore --demo` ([`webstore::demo::personas`]); goose drives them, measures and reports.

mod cli;
mod send;
mod tally;
mod visitor;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use goose::prelude::*;
use webstore::demo::personas::{Kind, Tempo, World};

use crate::cli::Cli;
use crate::tally::Tally;
use crate::visitor::Run;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::read();
    let kinds = match cli.kinds() {
        Ok(kinds) => kinds,
        Err(unknown) => {
            eprintln!("load: {unknown}");
            return ExitCode::from(2);
        }
    };
    let tally = Arc::new(Tally::new());
    let attack = match attack(cli, &kinds, &tally) {
        Ok(attack) => attack,
        Err(error) => {
            eprintln!("load: {error}");
            return ExitCode::from(2);
        }
    };
    let progress = tokio::spawn(Arc::clone(&tally).report_progress());
    let ended = attack.execute().await;
    progress.abort();
    match ended {
        Ok(_) => {}
        Err(error @ GooseError::ThresholdsFailed { .. }) => {
            eprintln!("load: {error}");
            tally.summarise();
            return ExitCode::FAILURE;
        }
        Err(error) => {
            eprintln!("load: {error}: {error:?}");
            return ExitCode::from(2);
        }
    }
    tally.summarise();
    if tally.is_as_expected() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The load test, with one scenario for each kind of visitor.
fn attack(cli: Cli, kinds: &[Kind], tally: &Arc<Tally>) -> Result<GooseAttack, GooseError> {
    let seed = cli.seed.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.map_or(0, |now| u64::from(now.subsec_nanos()) ^ now.as_secs())
    });
    eprintln!("load: seed {seed}");
    let world = World::new(seed, Tempo::of_a_load_test(cli.haste)).check_out(!cli.no_checkout);
    let patience = cli.goose.timeout.as_deref();
    let patience =
        patience.and_then(|seconds| Duration::try_from_secs_f64(seconds.parse().ok()?).ok());
    let run = Arc::new(Run {
        world: Arc::new(world),
        tally: Arc::clone(tally),
        expects_outage: cli.expect_outage,
        client: reqwest::Client::builder()
            .pool_idle_timeout(visitor::IDLE)
            .timeout(patience.unwrap_or(visitor::PATIENCE))
            .build()?,
    });
    let users: usize = kinds.iter().map(|kind| kind.weight()).sum();
    if let Some(users) = cli.goose.users.filter(|users| *users < kinds.len()) {
        eprintln!(
            "load: {users} users are fewer than the {} kinds of visitors: some will not come; choose them with --personas",
            kinds.len()
        );
    }
    let (is_planned, starts_within) = (cli.is_planned, cli.goose.increase_time.is_some());
    let mut attack = GooseAttack::initialize_with_config(cli.goose)?
        .set_default(GooseDefault::Host, "http://127.0.0.1:8000")?
        .set_default(GooseDefault::Quiet, 1)?
        .set_default(GooseDefault::NoTelnet, true)?
        // A visitor is one transaction over and over, which tells nothing that requests do not.
        .set_default(GooseDefault::NoTransactionMetrics, true)?
        .set_default(GooseDefault::NoScenarioMetrics, true)?;
    if !is_planned {
        attack = attack.set_default(GooseDefault::Users, users)?;
        if !starts_within {
            attack = attack.set_default(GooseDefault::IncreaseRate, "20")?;
        }
    }
    kinds.iter().try_fold(*attack, |attack, kind| {
        let scenario = Scenario::new(kind.as_str())
            .set_weight(kind.weight())?
            .register_transaction(Transaction::new(visitor::steps(*kind, &run)));
        Ok(attack.register_scenario(scenario))
    })
}
