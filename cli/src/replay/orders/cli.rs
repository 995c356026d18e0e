//! The arguments of `palisade replay orders`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum, ValueHint};

use super::moment::Moment;

#[derive(Debug, Args)]
pub(crate) struct Orders {
    /// The order history; `-` is the standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,

    /// What the file holds
    #[arg(long)]
    pub(crate) format: Format,

    /// What lines of one order id are, in CSV
    #[arg(long, value_enum, default_value_t = Lines::Orders)]
    pub(crate) lines: Lines,

    /// Loads the orders into this Redis server, such as redis://127.0.0.1:6379, or rediss:// through TLS; the server is
    /// then proved by the system's certificates, or those of SSL_CERT_FILE. Without a URL it is that of REDIS_URL, where a URL
    /// with a password belongs: everybody on the machine may read a command line
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url, num_args = 0..=1)]
    pub(crate) redis: Option<Option<String>>,

    /// As of when, inclusive: a date (its 00:00 UTC) or an RFC 3339 time; now without it. Later orders do not count
    #[arg(long, value_name = "DATE")]
    pub(crate) at: Option<Moment>,

    /// Prints one JSON object
    #[arg(long)]
    pub(crate) json: bool,

    /// Who spent more than this is a VIP, in cents
    #[arg(long, value_name = "CENTS", default_value_t = 50_000, value_parser = clap::value_parser!(i64).range(0..))]
    pub(crate) vip_spend: i64,

    /// Who ordered more often than this is a VIP
    #[arg(long, value_name = "ORDERS", default_value_t = 5)]
    pub(crate) vip_orders: u64,

    /// From how long after the last order on a customer is at risk
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = crate::replay::duration)]
    pub(crate) at_risk_after: Duration,

    /// From how long after the last order on a customer has churned
    #[arg(long, value_name = "DURATION", default_value = "90d", value_parser = crate::replay::duration)]
    pub(crate) churned_after: Duration,

    /// How long Redis keeps a customer after the load, or after a later change
    #[arg(long, value_name = "DURATION", default_value = "400d", value_parser = crate::replay::duration)]
    pub(crate) retention: Duration,

    /// What every key in Redis starts with, as in the service's configuration
    #[arg(long, value_name = "PREFIX", default_value = "palisade:")]
    pub(crate) prefix: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Lines of customer, date, number of items and dollars, set apart by spaces: `00001 19970101 1 11.77`
    Cdnow,
    /// The header order_id,customer_id,at,amount,currency and a line for each order
    Csv,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lines {
    /// The whole order again, which counts once; with another amount it is refused
    Orders,
    /// Items of the order, whose amounts are added, those of equal lines too
    Items,
}

impl Orders {
    pub(crate) const ABOUT: &str = "\
Loads past orders, and tells which segments the customers are in: `vip` who spent more than 500.00 USD or ordered \
more than five times, else by the last order `returning` (under 30 days ago), `at_risk` (30 to under 90 days) or \
`churned`. With --redis the orders are kept there, as the service would have recorded them, so that its segments are \
right on the first day; without, nothing is written.

An order counts once by its id, so loading a file again changes nothing. A line of CSV that repeats an order's id with \
the same amount is the same order, as where two exports overlap; one with another amount is refused, for it may be \
an item. With --lines items, each line is an item and an order's amount is the sum of its lines. Spend is counted in cents; amounts such as \
11.77 are read without rounding, and only US dollars are allowed. The first line that is wrong ends the run and is \
named, with its field, its value and what is allowed. Of CSV nothing is loaded then; of the CDNOW format the lines \
before it may have been, and loading the mended file is safe.

CSV begins with the header `order_id,customer_id,at,amount,currency`; fields may be quoted as in RFC 4180, `at` is an \
RFC 3339 time or a date, which is its 00:00 UTC. In the CDNOW format each line is one order and its number in the file \
is the order's id; a header may be line 1, so the first order below it is the order `2`.

A customer's id of 1 to 64 characters of `A-Za-z0-9._@-` stands as it is in keys, any other is hashed with the \
secret PALISADE_SECRET, which must be the service's own; with --redis such an id without it ends the run.

The file is read once, as a stream, of gzip too: memory grows with the customers, about 150 bytes each, and for CSV by \
some 60 bytes for each order, since an id may come again. In Redis a customer with three orders takes about 430 bytes.";

    pub(crate) const EXAMPLES: &str = "\
Examples:
  Which segments are the customers in today?
      palisade replay orders orders.csv --format csv

  A history in the CDNOW format, as of a day in the past; orders after its 00:00 UTC do not count:
      palisade replay orders cdnow.txt --format cdnow --at 1998-07-01

  Fill the store of a service before its first day, with the service's own secret:
      PALISADE_SECRET=$(cat /run/secrets/palisade) \\
          palisade replay orders orders.csv --format csv --redis redis://127.0.0.1:6379 --prefix shop:

  The same through a user with a password, which stands in no command line:
      export REDIS_URL=$(cat /run/secrets/redis-url)
      palisade replay orders orders.csv --format csv --redis

  An export with a line for each item:
      palisade replay orders items.csv.gz --format csv --lines items

  How many VIPs would there be from 1,000.00 USD on, for a script:
      palisade replay orders orders.csv --format csv --vip-spend 100000 --json | jq .segments.vip

JSON: {\"customers\": …, \"orders\": …, \"spend\": … (cents), \"segments\": {\"returning\": …, \"at_risk\": …,
\"churned\": …, \"vip\": …}}, each customer in one segment; nobody who ordered is `new`.

Exit status: 0 with a report, 1 when the file cannot be read or the store fails, 2 for a wrong argument or a missing secret.";
}
