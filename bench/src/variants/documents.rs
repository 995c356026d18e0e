//! The usual ZSET log: trim, count, add, expire in one MULTI for a tier, one tier after the other, counting what
//! it denies too.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use deadpool_redis::{Config, Connection, Pool, PoolConfig, Runtime};
use http::{StatusCode, header};
use palisade::rate_limit::Quota;

use crate::Result;
use crate::arguments::Quotas;

/// As many as served best, of 8, 16, 32 and 64 on two cores.
const CONNECTIONS: usize = 32;

struct Limiter {
    pool: Pool,
    quotas: Quotas,
}

pub(super) fn wrap(shop: Router, quotas: Quotas, redis: &str) -> Result<Router> {
    let mut config = Config::from_url(redis);
    config.pool = Some(PoolConfig::new(CONNECTIONS));
    let pool = config.create_pool(Some(Runtime::Tokio1))?;
    let limiter = Arc::new(Limiter { pool, quotas });
    Ok(shop.layer(from_fn_with_state(limiter, limit)))
}

async fn limit(State(limiter): State<Arc<Limiter>>, request: Request, next: Next) -> Response {
    let address = super::address(request.headers(), request.extensions());
    let user = super::user(request.headers());
    // A failure is an error here, where such limiters commonly let the request pass: the run must not measure an outage.
    match limiter.decide(address, user).await {
        Ok(None) => next.run(request).await,
        Ok(Some(tier)) => {
            let detail = format!("Rate limit exceeded for {tier}.");
            (
                StatusCode::TOO_MANY_REQUESTS,
                [(header::RETRY_AFTER, "60")],
                detail,
            )
                .into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

impl Limiter {
    /// The tier that denies, if one does.
    async fn decide(
        &self,
        address: Option<IpAddr>,
        user: Option<&str>,
    ) -> Result<Option<&'static str>> {
        let mut connection = self.pool.get().await?;
        if let Some(address) = address
            && !passes(
                &mut connection,
                &format!("rate:ip:{address}"),
                self.quotas.ip,
            )
            .await?
        {
            return Ok(Some("IP"));
        }
        if let Some(user) = user
            && !passes(
                &mut connection,
                &format!("rate:user:{user}"),
                self.quotas.user,
            )
            .await?
        {
            return Ok(Some("user"));
        }
        Ok(None)
    }
}

async fn passes(connection: &mut Connection, key: &str, quota: Quota) -> Result<bool> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
    let window = quota.window().as_secs();
    let ((), held, _, _): ((), u32, (), ()) = redis::pipe()
        .atomic()
        .cmd("ZREMRANGEBYSCORE")
        .arg(key)
        .arg(0)
        .arg(now - window as f64)
        .cmd("ZCARD")
        .arg(key)
        .cmd("ZADD")
        .arg(key)
        .arg(now)
        .arg(now)
        .cmd("EXPIRE")
        .arg(key)
        .arg(window + 1)
        .query_async(connection)
        .await?;
    Ok(held < quota.limit())
}
