use std::sync::Arc;
use std::task::{Context, Poll};

use http::Request;
use tower_service::Service;

use super::layer::Config;
use crate::model::{Client, Country, Network};

/// The service of a [`IdentifyLayer`](super::IdentifyLayer): inserts a [`Client`] into each request's extensions.
///
/// It is named for what it does, since `Client` is the extension. It never rejects, changes no response and needs
/// no future of its own.
#[derive(Debug, Clone)]
pub struct Identify<S> {
    inner: S,
    config: Arc<Config>,
}

impl<S> Identify<S> {
    pub(super) fn new(inner: S, config: Arc<Config>) -> Self {
        Self { inner, config }
    }
}

impl<S, ReqBody> Service<Request<ReqBody>> for Identify<S>
where
    S: Service<Request<ReqBody>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> S::Future {
        let config = &*self.config;
        let origin = config.origin(request.headers(), request.extensions());
        let route = config.route(&request);
        let (mut user, mut country) = (None, Country::OTHER);
        if config.reads_parts() {
            let (parts, body) = request.into_parts();
            user = config.user(&parts);
            country = config.country(&parts, &origin);
            request = Request::from_parts(parts, body);
        }
        request.extensions_mut().insert(Client {
            address: origin.address,
            network: Network::of(origin.address, config.ipv6_prefix),
            user,
            country,
            route,
        });
        self.inner.call(request)
    }
}
