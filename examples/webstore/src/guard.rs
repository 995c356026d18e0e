//! Palisade around the shop: what a service of your own would copy.

use std::sync::Arc;

use axum::http::request::Parts;
use axum::{Extension, Router};
use palisade::client::Origin;
use palisade::config::{Config, CountVisitors};
use palisade::funnel::Visitors;
use palisade::stack::{Stack, StackBuilder};
use palisade::telemetry::HttpMetricsLayer;

use crate::routes::ROUTES;
use crate::{Shop, auth, country, customers, funnel, router};

/// Lines of the access log in a second of each class, where the configuration does not say.
const ACCESS_LINES: u16 = 5;

/// The layers that the configuration asks for. Customers are told apart, and the log has a sample of the requests, unless the
/// configuration says otherwise.
pub fn layers(mut config: Config) -> StackBuilder {
    config.segments.get_or_insert_default();
    config.log.access.get_or_insert(ACCESS_LINES);
    Stack::builder()
        .config(config)
        // Only a verified user has a quota: whoever sends an invalid token meets the limits of an anonymous client,
        // and then the handlers' 401.
        .user(|request: &Parts| Some(auth::user(&request.headers).ok()??.to_owned()))
        .country(country::served(), |request: &Parts, _: &Origin| {
            country::named(request)
        })
        .routes(ROUTES)
        .funnel(funnel::stages())
        // What is kept of a visitor are the times of four stages, for a day; a file can say `off`.
        .visitors(CountVisitors::Within(Visitors::DEFAULT_WINDOW))
        .actions(customers::actions())
}

/// The shop inside the layers.
///
/// `Router::layer` runs after routing, so that the route's template is known to every layer, and around the
/// fallback, so that requests for paths that do not exist are limited and measured too.
pub fn guarded(shop: Arc<Shop>, stack: Stack<HttpMetricsLayer>) -> Router {
    let suspicions = stack.suspicions();
    router(shop).layer(stack).layer(Extension(suspicions))
}
