//! Bytes that a key takes when its log is full.

use std::process::{Command, Stdio};

use crate::Result;
use crate::arguments::Quotas;
use crate::client::Connection;
use crate::comparison::Running;
use crate::process::resident_bytes;
use crate::variants::{Variant, decision};

/// Keys to fill in this process; their memory dwarfs what else moves.
const KEYS: u32 = 20_000;
/// Clients to fill in Redis, one request at a time.
const CLIENTS: u32 = 50;

/// Bytes per key with a full log of `quotas.ip`, or `None` where a variant keeps none.
pub(crate) fn measure(variant: Variant, quotas: Quotas) -> Result<Option<f64>> {
    match variant {
        Variant::Bare | Variant::Flood => Ok(None),
        Variant::Documents | Variant::Redis => in_redis(variant, quotas).map(Some),
        Variant::Governor | Variant::Memory => in_memory(variant).map(Some),
        _ => Ok(None),
    }
}

/// Fills logs through the service itself, and asks Redis: name, value and overhead.
fn in_redis(variant: Variant, quotas: Quotas) -> Result<f64> {
    let mut running = Running::start(variant, quotas)?;
    let mut connection = Connection::open(running.address())?;
    for hit in 0..=quotas.ip.limit() {
        let expected = if hit < quotas.ip.limit() { 200 } else { 429 };
        for client in 0..CLIENTS {
            let status = connection.ask(client)?.status;
            if status != expected {
                return Err(format!("{variant}: request {} was answered {status}", hit + 1).into());
            }
        }
    }
    let redis = running.redis().ok_or("started without Redis")?;
    let (bytes, keys) = redis.bytes_per_key("*rate:*")?;
    if keys != 2 * CLIENTS as usize {
        return Err(
            format!("{variant}: {keys} keys for {CLIENTS} clients with a user each").into(),
        );
    }
    Ok(bytes)
}

/// In a process of its own, so that nothing else has been allocated and freed before.
fn in_memory(variant: Variant) -> Result<f64> {
    let output = Command::new(std::env::current_exe()?)
        .args(["footprint", &format!("--variant={variant}")])
        .stderr(Stdio::inherit())
        .output()?;
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// Prints how much the resident memory of this process grows for each key.
pub(crate) fn print(variant: Variant) -> Result<()> {
    let decide = match variant {
        Variant::Governor => decision::governor()?,
        _ => decision::palisade()?,
    };
    let before = resident_bytes().ok_or("no /proc to read the resident memory from")?;
    // Hit by hit over all keys, so that every log grows as under real traffic.
    for _ in 0..decision::LIMIT {
        for key in 0..KEYS {
            if !decide(key, 1) {
                return Err(format!("{variant}: key {key} was denied").into());
            }
        }
    }
    let after = resident_bytes().ok_or("no /proc to read the resident memory from")?;
    println!("{:.0}", (after - before) / f64::from(KEYS));
    Ok(())
}
