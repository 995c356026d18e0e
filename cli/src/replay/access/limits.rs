use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Duration;

use palisade::client::Route;
use palisade::config::{BansConfig, Config};
use palisade::rate_limit::{PartitionBy, Policy, Quota, RouteFilter};
use palisade::suspicion::{IncidentKind, Sentence};

use super::cli::{Access, Suspicious};
use crate::failure::Failure;
use crate::replay::log::Log;

/// The limits to try: those of a service's configuration, or the defaults, with what the arguments change.
pub(super) struct Limits {
    pub(super) config: Config,
    pub(super) routes: Routes,
    pub(super) bans: Option<Banning>,
}

/// Which incidents a client is banned for, and for how long: without jitter, so that every replay says the same.
#[derive(Clone)]
pub(super) struct Banning {
    pub(super) sentence: Sentence,
    pub(super) kinds: Vec<IncidentKind>,
    pub(super) dry_run: bool,
}

impl Banning {
    /// Those of the configuration, with the first ban that an argument says.
    fn new(
        configured: Option<BansConfig>,
        first: Option<Duration>,
    ) -> Result<Option<Self>, Failure> {
        let mut banning = match configured {
            Some(bans) => Self {
                sentence: bans.sentence,
                kinds: bans.kinds,
                dry_run: bans.dry_run,
            },
            None if first.is_none() => return Ok(None),
            None => Self {
                sentence: Sentence::default(),
                kinds: IncidentKind::BY_STATUS.into(),
                dry_run: false,
            },
        };
        if let Some(first) = first {
            let longest = banning.sentence.longest();
            if first > longest {
                let [first, longest] = [first, longest].map(humantime::format_duration);
                return Err(Failure::Setting(format!(
                    "--ban cannot be `{first}`: allowed is a duration of 1s to {longest}, the longest ban"
                )));
            }
            banning.sentence = Sentence::new(first, longest)
                .map_err(|error| Failure::Setting(format!("--ban: {error}")))?;
        }
        Ok(Some(banning))
    }
}

impl Limits {
    pub(super) fn new(arguments: &Access) -> Result<Self, Failure> {
        let mut config = match &arguments.config {
            Some(file) => Config::from_file(file)?,
            None => Config::default(),
        };
        let proxies = arguments.trusted_proxies.iter().cloned();
        config.client.trusted_proxies.extend(proxies);
        // Whether the service is closed today changes nothing of its past.
        config.maintenance.on = false;
        // The replay keeps its own logs, and needs no key that other processes share.
        config.store.redis_url = None;
        config.store.secret_file = None;
        for (name, quota) in [("ip", arguments.ip), ("user", arguments.user)] {
            if let Some(quota) = quota {
                config.rate_limit.policies = with_quota(config.rate_limit.policies, name, quota);
            }
        }
        for Suspicious { kind, threshold } in &arguments.suspicion {
            let watches = &mut config.suspicion.watches;
            watches.retain(|(other, _)| other != kind);
            watches.extend(threshold.map(|threshold| (*kind, threshold.into())));
        }
        let bans = Banning::new(config.suspicion.bans.take(), arguments.ban)?;
        let watches = config.suspicion.watches.iter();
        let named = config
            .rate_limit
            .policies
            .iter()
            .flat_map(Policy::get_routes)
            .chain(config.rate_limit.exempt.get_routes())
            .chain(config.suspicion.exempt.get_routes())
            .chain(watches.flat_map(|(_, watch)| &watch.routes))
            .map(|filter| template(filter, &arguments.routes));
        let named: Vec<_> = named.collect::<Result<_, _>>()?;
        let named = named.into_iter().flatten();
        let routes =
            Routes::new(named.chain(arguments.routes.iter().map(|route| route.as_str().into())))?;
        Ok(Self {
            config,
            routes,
            bans,
        })
    }

    pub(super) fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.config.rate_limit.policies.iter()
    }

    /// The same limits, none of them enforced.
    pub(super) fn in_dry_run(&self) -> Config {
        let mut config = self.config.clone();
        let policies = config.rate_limit.policies.into_iter();
        config.rate_limit.policies = policies.map(Policy::dry_run).collect();
        config
    }
}

/// Whether a policy counts by the verified user; from a configuration, else by the network.
pub(super) fn counts_by_user(policy: &Policy) -> bool {
    matches!(policy.get_key(), PartitionBy::User)
}

/// The template that a filter adds to the routes, if it needs one: a path without parameters decides by itself.
fn template<'a>(
    filter: &'a RouteFilter,
    routes: &[String],
) -> Result<Option<Cow<'a, str>>, Failure> {
    let template = filter.template();
    if !filter.is_open() {
        return Ok(Some(template.into()));
    }
    if !template.contains('{') || routes.iter().any(|route| route.starts_with(template)) {
        return Ok(None);
    }
    match template.strip_suffix('/') {
        Some(parent) => Ok(Some(format!("{parent}/{{*rest}}").into())),
        None => Err(Failure::Setting(format!(
            "the route `{filter}` cannot be replayed, since a log has no templates: name those that it takes by --route"
        ))),
    }
}

fn with_quota(policies: Vec<Policy>, name: &str, quota: Quota) -> Vec<Policy> {
    policies
        .into_iter()
        .map(|policy| match policy.get_name() == name {
            true => policy.quota(quota),
            false => policy,
        })
        .collect()
}

/// The routes that the limits name, since a log knows only paths.
#[derive(Clone)]
pub(super) struct Routes(matchit::Router<Route>);

impl Routes {
    fn new<'a>(templates: impl Iterator<Item = Cow<'a, str>>) -> Result<Self, Failure> {
        let mut router = matchit::Router::new();
        let mut known: Vec<Cow<'_, str>> = Vec::new();
        for template in templates {
            if template == Route::UNMATCHED.as_str() || known.contains(&template) {
                continue;
            }
            let route = Route::from(std::sync::Arc::<str>::from(&*template));
            router.insert(&*template, route).map_err(|error| {
                Failure::Setting(format!(
                    "the route `{}` cannot be used: {error}",
                    template.escape_debug()
                ))
            })?;
            known.push(template);
        }
        Ok(Self(router))
    }

    /// Those of the templates that no request met.
    pub(super) fn unmet(&self, log: &Log, templates: &[String]) -> Vec<String> {
        let paths = log.requests.iter().map(|(_, uri)| uri.path());
        let met: HashSet<_> = paths
            .filter_map(|path| Some(self.0.at(path).ok()?.value.as_str()))
            .collect();
        let unmet = templates.iter().filter(|it| !met.contains(it.as_str()));
        unmet.cloned().collect()
    }

    pub(super) fn resolve(&self, path: &str) -> Option<Route> {
        self.0.at(path).ok().map(|matched| matched.value.clone())
    }
}
