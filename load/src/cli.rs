//! The command line: goose's own, and what visitors there are.

use clap::{CommandFactory, FromArgMatches, Parser};
use goose::config::GooseConfiguration;
use webstore::demo::personas::Kind;

/// Shoppers and attackers visit a running webstore.
///
/// Each visitor has an address of its own, of the networks for documentation, in X-Forwarded-For: start the webstore
/// with --config load/webstore.toml, which trusts the forwarding header of loopback and turns every kind of suspicion
/// on. An answer that is not the right one fails the run, and so does a --threshold.
#[derive(Parser)]
#[command(name = "load", after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// Who visits: any of shopper, returning, vip, two-devices, crawler, fast-crawler, credential-stuffer,
    /// distributed-stuffer, password-sprayer, token-forger, token-thief, scanner, broken-client, flood, reseller; or
    /// honest, attackers [default: all]
    #[arg(
        help_heading = "Visitors",
        long,
        value_name = "LIST",
        value_delimiter = ','
    )]
    personas: Vec<String>,

    /// Nobody buys anything: carts are filled and left
    #[arg(help_heading = "Visitors", long)]
    pub(crate) no_checkout: bool,

    /// A checkout may be answered 503, as when Redis is away and a policy is `closed`, and so may a login and whoever is
    /// signed in
    #[arg(help_heading = "Visitors", long)]
    pub(crate) expect_outage: bool,

    /// Divides the time that visitors think
    #[arg(help_heading = "Visitors", long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) haste: u32,

    /// Names, addresses and choices follow from it [default: another one each time]
    #[arg(help_heading = "Visitors", long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// Whether there is a --test-plan, which goose keeps to itself.
    #[arg(skip)]
    pub(crate) is_planned: bool,

    #[command(flatten)]
    pub(crate) goose: GooseConfiguration,
}

const EXAMPLES: &str = "\
Examples:
  cargo run -p webstore -- --config load/webstore.toml      in another terminal

  cargo run -p load -- --run-time 30s --report-file target/load.html
      a smoke run: everybody, for 30 seconds, with a report
  cargo run -p load -- --users 200 --increase-time 1m --run-time 2h --threshold 'p99<500ms' --report-file target/load.html
      a long run that fails when one request of a hundred takes half a second
  cargo run -p load -- --personas honest --expect-outage --run-time 5m
      an outage drill: meanwhile, stop and start the webstore's Redis
  cargo run -p load -- --personas shopper,returning --no-checkout --run-time 5m
      carts are filled and nothing is ordered

Exit status: 0 when every answer was a right one and every threshold was kept, 1 when not, 2 for a command line that
cannot be used.";

impl Cli {
    /// The command line; ends the process if it cannot be used.
    pub(crate) fn read() -> Self {
        let matches = Self::command().get_matches();
        let is_planned = matches.contains_id("test_plan");
        match Self::from_arg_matches(&matches) {
            Ok(cli) => Self { is_planned, ..cli },
            Err(error) => error.exit(),
        }
    }

    /// Who is to visit.
    pub(crate) fn kinds(&self) -> Result<Vec<Kind>, String> {
        if self.personas.is_empty() {
            return Ok(Kind::ALL.into());
        }
        let mut kinds = Vec::new();
        for name in &self.personas {
            let named: Vec<Kind> = Kind::ALL
                .into_iter()
                .filter(|kind| match name.as_str() {
                    "honest" => kind.is_honest(),
                    "attackers" => !kind.is_honest(),
                    name => kind.as_str() == name,
                })
                .collect();
            if named.is_empty() {
                let known = Kind::ALL.map(Kind::as_str).join(", ");
                return Err(format!(
                    "--personas knows no `{name}`: allowed are honest, attackers, {known}"
                ));
            }
            kinds.extend(named);
        }
        Ok(Kind::ALL
            .into_iter()
            .filter(|kind| kinds.contains(kind))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(list: &str) -> Result<Vec<Kind>, String> {
        Cli::parse_from(["load", "--personas", list]).kinds()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn haste_is_at_least_1() {
        assert!(Cli::try_parse_from(["load", "--haste", "0"]).is_err());
    }

    #[test]
    fn the_help_names_every_persona() {
        let help = Cli::command().render_long_help().to_string();
        for kind in Kind::ALL {
            assert!(help.contains(kind.as_str()), "{kind:?}");
        }
    }

    #[test]
    fn personas_are_chosen_by_name_or_as_a_group_and_each_once() {
        assert_eq!(kinds("vip,shopper,vip"), Ok(vec![Kind::Shopper, Kind::Vip]));
        let (honest, attackers) = (kinds("honest").unwrap(), kinds("attackers").unwrap());
        assert_eq!(honest.len() + attackers.len(), Kind::ALL.len());
        assert_eq!(kinds("attackers,honest"), Ok(Kind::ALL.into()));
        assert!(kinds("shopper,nobody").unwrap_err().contains("`nobody`"));
        assert_eq!(Cli::parse_from(["load"]).kinds(), Ok(Kind::ALL.into()));
    }
}
