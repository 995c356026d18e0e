//! The rounds: every variant once in each, in a new order.

use std::net::SocketAddr;
use std::time::Instant;

use crate::Result;
use crate::arguments::{Comparison, Quotas};
use crate::client::{Answer, Connection};
use crate::load::{self, Measured};
use crate::process::{Tethered, cpu_micros};
use crate::redis_server::RedisServer;
use crate::statistics::Shuffle;
use crate::variants::Variant;

/// A variant that serves, and what was measured of it in each round.
pub(crate) struct Running {
    pub(crate) variant: Variant,
    pub(crate) samples: Vec<Sample>,
    address: SocketAddr,
    process: Tethered,
    redis: Option<RedisServer>,
    /// Decisions made without the store so far.
    fallbacks: f64,
}

/// One variant in one round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) measured: Measured,
    /// CPU of the service for each request, in µs, where the system tells.
    pub(crate) service_cpu: Option<f64>,
    /// CPU of Redis for each request, in µs.
    pub(crate) redis_cpu: Option<f64>,
}

impl Running {
    /// Starts the service, and a Redis of its own where it needs one.
    pub(crate) fn start(variant: Variant, quotas: Quotas) -> Result<Self> {
        let redis = variant.needs_redis().then(RedisServer::start).transpose()?;
        let mut arguments = vec![
            "serve".to_owned(),
            format!("--variant={variant}"),
            format!("--ip={}", quotas.ip),
            format!("--user={}", quotas.user),
        ];
        arguments.extend(
            redis
                .as_ref()
                .map(|redis| format!("--redis={}", redis.url())),
        );
        let mut process = Tethered::start(&arguments)?;
        let address = process.line()?.parse()?;
        Ok(Self {
            variant,
            samples: Vec::new(),
            address,
            process,
            redis,
            fallbacks: 0.0,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn redis(&mut self) -> Option<&mut RedisServer> {
        self.redis.as_mut()
    }

    /// `None` for a run in which the store was given up so often that it measures something else than it says.
    fn measure(&mut self, seconds: u32, asked: &Comparison) -> Result<Option<Sample>> {
        let clients = if self.variant == Variant::Flood {
            1
        } else {
            asked.clients
        };
        let redis_before = self
            .redis
            .as_mut()
            .map(RedisServer::cpu_micros)
            .transpose()?;
        let service_before = cpu_micros(self.process.id());
        let measured = load::run(self.address, seconds, asked.connections, clients)
            .and_then(|measured| self.check(measured))
            .map_err(|error| format!("{}: {error}", self.variant))?;
        let service_after = cpu_micros(self.process.id());
        if self.new_fallbacks()? > measured.requests / 1e3 {
            return Ok(None);
        }
        let redis_after = self
            .redis
            .as_mut()
            .map(RedisServer::cpu_micros)
            .transpose()?;
        let each =
            |before: Option<f64>, after: Option<f64>| Some((after? - before?) / measured.requests);
        Ok(Some(Sample {
            measured,
            service_cpu: each(service_before, service_after),
            redis_cpu: each(redis_before, redis_after),
        }))
    }

    /// Decisions made without the store since the last look.
    fn new_fallbacks(&mut self) -> Result<f64> {
        let total: f64 = self.process.ask()?.parse()?;
        Ok(total - std::mem::replace(&mut self.fallbacks, total))
    }

    /// No error status but in the flood, and there hardly anything else.
    fn check(&self, measured: Measured) -> Result<Measured> {
        let Measured {
            requests, refused, ..
        } = measured;
        match self.variant {
            Variant::Flood if refused < 0.98 * requests => Err(format!(
                "the flood was refused {refused} times in {requests} requests only"
            )
            .into()),
            Variant::Flood => Ok(measured),
            _ if refused > 0.0 => {
                Err(format!("{refused} of {requests} requests were refused; if clients came too often, raise --clients").into())
            }
            _ => Ok(measured),
        }
    }
}

/// What the rounds brought.
pub(crate) struct Compared {
    /// The variants, `bare` first, with a sample for each round.
    pub(crate) running: Vec<Running>,
    /// Rounds that were disturbed and measured again.
    pub(crate) repeated: u32,
}

/// Starts the variants, sees that all serve the same, and measures them round by round.
pub(crate) fn run(asked: &Comparison, usual: Quotas, flood: Quotas, seed: u64) -> Result<Compared> {
    let mut variants = asked.variants.clone();
    variants.push(Variant::Bare);
    variants.sort();
    variants.dedup();
    let mut running = variants
        .into_iter()
        .map(|variant| {
            Running::start(
                variant,
                if variant == Variant::Flood {
                    flood
                } else {
                    usual
                },
            )
        })
        .collect::<Result<Vec<_>>>()?;

    let expected = Connection::open(running[0].address)?.ask(0)?;
    for variant in &running {
        serves(variant, &expected)?;
    }
    for variant in &mut running {
        eprint!("\rwarming up {:<20}", variant.variant.to_string());
        variant.measure(1, asked)?;
    }
    eprintln!("\r{:<40}", "warmed up");

    let mut shuffle = Shuffle::new(seed);
    let started = Instant::now();
    let (mut done, mut repeated) = (0, 0);
    while done < asked.rounds {
        eprint!("round {:>2}/{}", done + 1, asked.rounds);
        if round(&mut running, &mut shuffle, asked)? {
            done += 1;
            let left = started.elapsed() / done * (asked.rounds - done);
            eprintln!("  ({} s left)", left.as_secs());
        } else {
            repeated += 1;
            eprintln!("  Redis was too late for more than 0.1 % of the decisions: once more");
        }
        if repeated > asked.rounds / 3 {
            return Err(format!("{repeated} rounds were disturbed: is the machine quiet?").into());
        }
    }
    Ok(Compared { running, repeated })
}

/// Measures every variant once; false, and nothing is kept, if one of them was disturbed.
fn round(running: &mut [Running], shuffle: &mut Shuffle, asked: &Comparison) -> Result<bool> {
    let mut order: Vec<usize> = (0..running.len()).collect();
    shuffle.shuffle(&mut order);
    let mut samples = Vec::new();
    for index in order {
        let variant = &mut running[index];
        let Some(sample) = variant.measure(asked.seconds, asked)? else {
            return Ok(false);
        };
        eprint!("  {} {:.0}/s", variant.variant, sample.measured.rate);
        samples.push((index, sample));
    }
    for (index, sample) in samples {
        running[index].samples.push(sample);
    }
    Ok(true)
}

fn serves(variant: &Running, expected: &Answer) -> Result<()> {
    let answer = Connection::open(variant.address)?.ask(0)?;
    if answer.status != 200 || answer != *expected {
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        return Err(format!(
            "{} answers otherwise than bare: {} {body}",
            variant.variant, answer.status
        )
        .into());
    }
    Ok(())
}
