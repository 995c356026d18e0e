//! The command line.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::Uri;
use clap::Parser;

/// A small shop that stands behind palisade's rate limits.
///
/// It serves on --listen; the live page, /metrics, /healthz and /readyz are on --admin. SIGTERM and SIGINT drain it: requests in
/// flight are answered, and it exits with status 0.
#[derive(Debug, Parser)]
#[command(version, after_long_help = EXAMPLES, after_help = "`--help` shows examples.")]
pub(crate) struct Cli {
    /// Settings of the limits, the store and the trusted proxies (TOML)
    ///
    /// examples/webstore/webstore.toml has them all. Without a file, every setting has its default. What cannot be
    /// used is refused at start with exit status 2.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Where the shop is served; port 0 takes any free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8000")]
    pub(crate) listen: SocketAddr,

    /// Where operators find the live page, /metrics, /healthz and /readyz; keep it from the public
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9464")]
    pub(crate) admin: SocketAddr,

    /// A name under which browsers and Prometheus reach --admin, beside `localhost` and IP addresses; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) admin_host: Vec<String>,

    /// How many connections one address may have at a time, those of the file's trusted proxies apart; a quarter of all by default
    #[arg(long, value_name = "NUMBER")]
    pub(crate) connections_per_address: Option<NonZeroUsize>,

    /// How long a client may take nothing of its answer, or send nothing of its body, before it is given up
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    pub(crate) stall: Duration,

    /// How long a drain may take before requests in flight are cut, with exit status 1
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    pub(crate) drain: Duration,

    /// Write the log to this file too; at 16 MiB it is moved to FILE.1 and begun anew
    #[arg(long, value_name = "FILE")]
    pub(crate) log_file: Option<PathBuf>,

    /// Ask a running webstore instead of being one: exit status 0 if the URL answers with a 2xx, otherwise 1
    #[arg(long, value_name = "URL", exclusive = true)]
    pub(crate) health: Option<Uri>,

    /// Visit the shop yourself: shoppers, customers with a past, crawlers and attackers, some forty requests a second
    ///
    /// They come over HTTP through --listen, each from an address of its own in the forwarding header, so the shop trusts
    /// loopback as a proxy and both listeners must be on loopback. Bans of seconds, every kind of suspicion, sessions with a page
    /// for them (/account) and a quota for VIPs are on unless the file says otherwise, and so is a prefix of its own,
    /// `palisade-demo:`, in Redis.
    #[arg(long)]
    pub(crate) demo: bool,

    /// Serve the shop without any layer around it: nothing is limited or counted. To measure against (scripts/load-test.sh)
    #[arg(long, conflicts_with_all = ["config", "demo"])]
    pub(crate) bare: bool,
}

const EXAMPLES: &str = "\
Environment:
  REDIS_URL        the Redis that keeps the limits, for several processes to share; beats the file's
                   store.redis_url. Without either, the memory of this process keeps them. A
                   rediss:// server is proved by the system's certificates, or those of
                   SSL_CERT_FILE.
  PALISADE_SECRET  keys the hashes that processes on one Redis must share; beats
                   store.secret_file. Empty, it is as if it were not there, as is an empty REDIS_URL.
  RUST_LOG         which events are logged to stderr as JSON; `info` by default.

Examples:
  webstore
      the shop on http://127.0.0.1:8000, nothing else needed; http://127.0.0.1:9464/ shows what
      happens

  webstore --demo
      the same with visitors: http://127.0.0.1:9464/metrics has something to tell within seconds;
      sign in on http://127.0.0.1:8000/account as ada or bob, password palisade

  REDIS_URL=redis://127.0.0.1:6379 webstore --config webstore.toml
      limits from the file, shared through Redis

  webstore --listen 127.0.0.1:8001 --admin 127.0.0.1:9465
      a second process beside the first

  curl -i http://127.0.0.1:8000/GB/products
  curl -i http://127.0.0.1:8000/GB/cart -H 'Authorization: Bearer user-token-ada' \\
       -d '{\"product_id\": 1, \"quantity\": 2}'
  curl -i http://127.0.0.1:8000/GB/orders -H 'Authorization: Bearer user-token-ada' \\
       -d '{\"order_id\": \"A-1\", \"payment_method\": \"paypal\"}'
      browse, fill a cart, buy it

  for i in $(seq 201); do
      curl -so /dev/null -w '%{http_code}\\n' http://127.0.0.1:8000/US/products
  done | uniq -c
      200 pass, the 201st is denied

Exit status: 0 after a drain; 1 when an address cannot be bound, the drain was cut short or a change
to a customer's record is lost; 2 for a command line or a configuration that cannot be used, or a
Redis Cluster as the store.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
