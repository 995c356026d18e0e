//! The arguments of `palisade replay access`.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueHint};
use palisade::rate_limit::Quota;
use palisade::suspicion::{IncidentKind, Threshold};

#[derive(Debug, Args)]
pub(crate) struct Access {
    /// Access logs; `-` is the standard input
    #[arg(value_name = "FILE", required = true, value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,

    /// The limits, in a service's own configuration file; the defaults without it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,

    /// A network or address of your proxies, such as 10.0.0.0/8, besides those of the configuration; may be repeated
    #[arg(long = "trusted-proxy", value_name = "CIDR")]
    pub(crate) trusted_proxies: Vec<String>,

    /// Another quota for the policy `ip`, such as 200/1m
    #[arg(long, value_name = "QUOTA")]
    pub(crate) ip: Option<Quota>,

    /// Another quota for the policy `user`, such as 60/1m
    #[arg(long, value_name = "QUOTA")]
    pub(crate) user: Option<Quota>,

    /// A further route of the service, where it would win over a route that a policy names, such as /admin/orders
    /// over /{country}/orders; may be repeated
    #[arg(long = "route", value_name = "TEMPLATE")]
    pub(crate) routes: Vec<String>,

    /// Another threshold of a kind of suspicious activity, such as endpoint_scanning=10/5m or abuse=off; may be
    /// repeated, and the last one of a kind holds
    #[arg(long, value_name = "KIND=THRESHOLD")]
    pub(crate) suspicion: Vec<Suspicious>,

    /// Bans convicted clients for this long, such as 10m, twice as long at each further offence up to 24h; nobody is
    /// banned without it, unless the configuration says so
    #[arg(long, value_name = "DURATION", value_parser = crate::replay::duration)]
    pub(crate) ban: Option<Duration>,

    /// Prints one JSON object, with all clients
    #[arg(long)]
    pub(crate) json: bool,

    /// How many clients to list for each policy and kind
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) top: usize,
}

impl Access {
    pub(crate) const ABOUT: &str = "\
Replays access logs through the rate limits: whom would they have denied? And whose failures add up to something?

Every line becomes a request from its client at its time, answered with its status, and passes through the very \
layers that a service runs, with their logs in memory and the time of the log as their clock. Lines may be out of \
order, over several files too: they are sorted by time first.

The logs are in common or combined format, as Apache and nginx write by default, and the client is an IP address; \
files of gzip are read as they are. \
Lines that cannot be read are counted and left out. A request line that makes no sense (`\"-\"`, a TLS handshake) \
still counts: its client sent something. The user in the third field counts as verified unless the status is 401.

Behind proxies the line's address is a proxy's. If it is one of `client.trusted_proxies` or --trusted-proxy, the client \
is found as the service finds it, by the same walk through the forwarding header, which is the third quoted text after \
the size, as in nginx's packaged format: `\"$http_referer\" \"$http_user_agent\" \"$http_x_forwarded_for\"`. A line of a \
trusted proxy without that text cannot be read. If half of the lines have it and no proxy is trusted, the report says so.

Suspicious activity is told from the log's own statuses, as a service would tell it: failures of one client in a \
sliding window, `credential_stuffing` (5 times 401 in 5 minutes), `endpoint_scanning` (10 times 404 in 5 minutes), \
`abuse` (20 times any 4xx but 429 in 5 minutes), `credential_stuffing_slow` (20 times 401 in 2 hours). The failure \
that reaches the threshold convicts, `incidents` counts it and one more for each full window that the activity goes \
on, and `requests before` says how many of the client's requests had passed until then, the convicting one included. \
A request that the replayed limits deny has not passed and is no failure, whatever its status in the log: the \
service would never have seen it. A 429 in the log was the old server's, and never counts.

With --ban, a client that fails at as many distinct things as a threshold says (paths of 404s; each 401, since a log \
has no credentials; statuses and paths of others) is refused for a time: its requests count as denied, meet no limit \
and are no failures. Failures of a verified user other than 401 ban nobody. Bans have no jitter here, so that every \
replay of a log says the same.

All of the log is held in memory to be sorted: about 40 bytes a line, and 300 bytes for each distinct path.";

    pub(crate) const EXAMPLES: &str = "\
Examples:
  What would the default limits (200 per minute and address, 60 per minute and user) have done?
      palisade replay access /var/log/nginx/access.log

  Would 60 per minute deny anyone?
      palisade replay access access.log --ip 60/1m

  The limits of a service's own configuration, over rotated files, one of them compressed:
      palisade replay access --config webstore.toml access.log access.log.1 access.log.2.gz

  The same behind a load balancer, whose log has X-Forwarded-For last:
      palisade replay access /var/log/nginx/access.log --trusted-proxy 10.0.0.0/8

  Whom to ask first, for a script:
      palisade replay access access.log --ip 20/1m --json | jq -r '.policies.ip.clients[:3][].client'

  Who scans for paths if only 30 times 404 in 10 minutes is suspicious, and nothing is said of abuse?
      palisade replay access access.log --suspicion endpoint_scanning=30/10m --suspicion abuse=off

  How many requests did each scanner get through before it was noticed?
      palisade replay access access.log --json | jq '.suspicious.endpoint_scanning[] | {client, requests_before}'

  What would bans of ten minutes have kept out?
      palisade replay access access.log --ban 10m

JSON of suspicious activity: `suspicious` holds for each kind a list, empty where nobody was convicted, of
`client`, `first` (the time of the conviction), `incidents` and `requests_before`, the first convicted first. `bans`
is a list of `client` (of a user, `user:` and the id), `reason` (that of the first ban), `first`, `bans` and `requests_refused`.

Exit status: 0 with a report, 1 when a log or every line cannot be read, 2 for a wrong argument, or a configuration that
cannot be read or used.";
}

/// When a kind of suspicious activity is reported.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Suspicious {
    pub(crate) kind: IncidentKind,
    /// `None` to count nothing.
    pub(crate) threshold: Option<Threshold>,
}

impl FromStr for Suspicious {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, threshold) = text
            .split_once('=')
            .ok_or("allowed is `<kind>=<count>/<duration>` or `<kind>=off`")?;
        let kind = IncidentKind::BY_STATUS
            .into_iter()
            .find(|kind| kind.as_str() == name);
        let kind = kind.ok_or_else(|| {
            let known = IncidentKind::BY_STATUS
                .map(|kind| format!("`{kind}`"))
                .join(", ");
            format!(
                "there is no kind `{}`: allowed are {known}",
                name.escape_debug()
            )
        })?;
        let threshold = match threshold {
            "off" => None,
            threshold => Some(
                threshold
                    .parse()
                    .map_err(|error| format!("{error}, or `off`"))?,
            ),
        };
        Ok(Self { kind, threshold })
    }
}
