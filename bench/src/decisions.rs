//! The decision alone, without HTTP: ns for each, alternating between the two limiters.

use std::process::{Command, Stdio};
use std::time::Instant;

use crate::Result;
use crate::statistics::{Shuffle, median};
use crate::variants::decision::{self, Decide, LIMIT, WINDOW};

const REPETITIONS: u32 = 9;
const HOT: u32 = 1_000_000;
const MANY: u32 = 1_000_000;

/// ns for one decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Decisions {
    pub(crate) hot: f64,
    pub(crate) many: f64,
}

/// Governor's and palisade's, measured in a process of their own.
pub(crate) fn measure() -> Result<[Decisions; 2]> {
    let output = Command::new(std::env::current_exe()?)
        .arg("decisions")
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let numbers: Vec<f64> = text
        .split_whitespace()
        .map_while(|number| number.parse().ok())
        .collect();
    let [hot_governor, many_governor, hot, many] = numbers[..] else {
        return Err("the process that measures single decisions failed; see above".into());
    };
    let governor = Decisions {
        hot: hot_governor,
        many: many_governor,
    };
    Ok([governor, Decisions { hot, many }])
}

/// Prints both limiters' medians.
pub(crate) fn print() -> Result<()> {
    // Each in the steady state of a client that uses all of its quota: one hit leaves the window as one comes.
    let hot_step = u64::try_from(WINDOW.as_micros())? / u64::from(LIMIT) + 1;
    let hot_keys = vec![0; HOT as usize];
    let mut many_keys: Vec<u32> = (0..MANY).collect();
    Shuffle::new(1).shuffle(&mut many_keys);

    let limiters = [decision::governor()?, decision::palisade()?];
    let many_limiters = [decision::governor()?, decision::palisade()?];
    let mut nanos = [const { (Vec::new(), Vec::new()) }; 2];
    for repetition in 0..=REPETITIONS {
        for which in 0..limiters.len() {
            let hot = time(&limiters[which], &hot_keys, hot_step)?;
            let many = time(&many_limiters[which], &many_keys, 1)?;
            // The first pass only fills the logs.
            if repetition > 0 {
                nanos[which].0.push(hot);
                nanos[which].1.push(many);
            }
        }
    }
    for (hot, many) in &nanos {
        println!("{:.0} {:.0}", median(hot), median(many));
    }
    Ok(())
}

/// ns for each decision over all keys; every one must pass.
fn time(decide: &Decide, keys: &[u32], step: u64) -> Result<f64> {
    let started = Instant::now();
    let passed = keys.iter().filter(|key| decide(**key, step)).count();
    let elapsed = started.elapsed();
    if passed < keys.len() {
        return Err(format!("{passed} of {} decisions passed", keys.len()).into());
    }
    Ok(elapsed.as_nanos() as f64 / keys.len() as f64)
}
