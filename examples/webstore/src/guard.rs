//! Palisade around the shop: what a service of your own would copy.

use std::sync::Arc;

use axum::http::request::Parts;
use axum::{Extension, Router};
use palisade::client::Origin;
use palisade::config::{Config, CountVisitors};
use palisade::funnel::Visitors;
use palisade::session::Sessions;
use palisade::session::api::SessionsApi;
use palisade::stack::{Stack, StackBuilder};
use palisade::telemetry::HttpMetricsLayer;

use crate::routes::{ROUTES, SESSION_ROUTES};
use crate::{Shop, account, auth, country, customers, funnel, router};

/// Lines of the access log in a second of each class, where the configuration does not say.
const ACCESS_LINES: u16 = 5;

/// The layers that the configuration asks for. Customers are told apart, and the log has a sample of the requests, unless the
/// configuration says otherwise.
pub fn layers(mut config: Config) -> StackBuilder {
    config.segments.get_or_insert_default();
    config.log.access.get_or_insert(ACCESS_LINES);
    let has_sessions = config.sessions.is_some();
    let layers = Stack::builder().config(config);
    // Only a verified user has a quota: whoever sends an invalid token meets the limits of an anonymous client,
    // and then the handlers' 401. Sessions say by themselves whose they are.
    let layers = if has_sessions {
        let routes = ROUTES.into_iter().chain(SESSION_ROUTES);
        layers.routes(routes.chain(account::ROUTES))
    } else {
        layers
            .user(|request: &Parts| Some(auth::user(&request.headers).ok()??.to_owned()))
            .routes(ROUTES)
    };
    layers
        .country(country::served(), |request: &Parts, _: &Origin| {
            country::named(request)
        })
        .funnel(funnel::stages())
        // What is kept of a visitor are the times of four stages, for a day; a file can say `off`.
        .visitors(CountVisitors::Within(Visitors::DEFAULT_WINDOW))
        .actions(customers::actions())
}

/// The shop inside the layers, with the endpoints of sessions and the page for them if it has sessions.
///
/// `Router::layer` runs after routing, so that the route's template is known to every layer, and around the
/// fallback, so that requests for paths that do not exist are limited and measured too.
pub fn guarded(
    shop: Arc<Shop>,
    stack: Stack<HttpMetricsLayer>,
    sessions: Option<(&Sessions, &SessionsApi)>,
) -> Router {
    let suspicions = stack.suspicions();
    let shop = router(shop);
    let Some((sessions, api)) = sessions else {
        return shop.layer(stack).layer(Extension(suspicions));
    };
    shop.merge(api.router())
        .merge(account::router())
        .layer(stack)
        .layer(Extension(suspicions))
        .layer(Extension(sessions.clone()))
}
