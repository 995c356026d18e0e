//! palisade: its whole stack, with the configuration that an operator would write.

use std::sync::Arc;

use axum::Router;
use http::request::Parts;
use palisade::config::Config;
use palisade::ops::Ops;
use palisade::rate_limit::PolicyTally;
use palisade::stack::{Stack, StackBuilder};
use palisade::telemetry::Telemetry;

use super::Fallbacks;
use crate::Result;
use crate::arguments::Quotas;

/// Which headers responses carry, in the words of the configuration.
pub(super) const HEADERS: &str = "draft-11";
/// None of them.
pub(super) const NO_HEADERS: &str = "none";

pub(super) fn memory(shop: Router, quotas: Quotas, headers: &str) -> Result<Router> {
    Ok(shop.layer(stack(quotas, headers, None)?.build()?))
}

pub(super) fn memory_metrics(shop: Router, quotas: Quotas) -> Result<Router> {
    let telemetry = Telemetry::builder("webstore").build()?;
    Ok(shop.layer(stack(quotas, HEADERS, None)?.build_measured(&telemetry)?))
}

pub(super) fn redis(shop: Router, quotas: Quotas, url: &str) -> Result<(Router, Fallbacks)> {
    let stack = stack(quotas, HEADERS, Some(url))?.build()?;
    let fallbacks = fallbacks(stack.tally());
    Ok((shop.layer(stack), fallbacks))
}

/// Every layer with all it can do, as the webstore has it, and measured; also watched, by the access log and the live page.
pub(super) fn everything(
    shop: Router,
    quotas: Quotas,
    redis: Option<&str>,
    watched: bool,
) -> Result<(Router, Fallbacks)> {
    const ALL: &str = "[suspicion]\npassword_spraying = '5/5m'\ndistributed_stuffing = '4/1h'\n\
                       success_after_failures = 'on'\n[suspicion.bans]\n[segments]\n[funnel]\nvisitors = '24h'\n";
    let mut config = Config::from_toml(&format!("{}{ALL}", limits(quotas, HEADERS, redis)))?;
    if !watched {
        config.log.access = Some(0);
    }
    let mut layers = webstore::layers(config);
    if watched {
        layers = layers.ops(&Ops::new("webstore"));
    }
    let stack = layers.build_measured(&Telemetry::builder("webstore").build()?)?;
    let fallbacks = fallbacks(stack.tally());
    Ok((shop.layer(stack), fallbacks))
}

/// Every policy counts a request that it fell back for.
fn fallbacks(tally: Arc<PolicyTally>) -> Fallbacks {
    Box::new(move || {
        let counts = tally.policies().map(|(_, counts)| counts);
        counts
            .map(|counts| counts.fallback_admitted + counts.fallback_denied)
            .max()
            .unwrap_or(0)
    })
}

fn limits(quotas: Quotas, headers: &str, redis: Option<&str>) -> String {
    let store = redis
        .map(|url| format!("redis_url = '{url}'"))
        .unwrap_or_default();
    let Quotas { ip, user } = quotas;
    format!(
        "[store]\n{store}\n[client]\ntrusted_proxies = ['127.0.0.0/8']\n\
         [rate_limit]\nip = '{ip}'\nuser = '{user}'\nheaders = '{headers}'\n"
    )
}

fn stack(quotas: Quotas, headers: &str, redis: Option<&str>) -> Result<StackBuilder> {
    let config = Config::from_toml(&limits(quotas, headers, redis))?;
    let user = |request: &Parts| super::user(&request.headers).map(str::to_owned);
    Ok(Stack::builder().config(config).user(user))
}
