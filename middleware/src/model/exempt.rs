use crate::ConfigError;
use crate::model::assets::is_asset;
use crate::model::{Cidrs, Client, RouteFilter, UserId};

use http::{Method, Uri};

/// Clients, users and routes that a layer leaves alone. The rate limits neither count such a request nor tell it any
/// limits. [Maintenance](crate::maintenance) lets it pass. A [`SuspicionLayer`](crate::suspicion::SuspicionLayer) counts none of its failures, and no ban refuses it.
///
/// ```
/// use palisade::rate_limit::Exemptions;
///
/// let exempt = Exemptions::new()
///     .cidrs(["10.0.0.0/8", "2001:db8::1"])?
///     .users(["monitoring"])?
///     .routes(["GET /healthz".parse()?]);
/// # Ok::<(), palisade::ConfigError>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Exemptions {
    cidrs: Cidrs,
    users: Vec<Box<str>>,
    routes: Vec<RouteFilter>,
    assets: bool,
}

impl Exemptions {
    /// Nobody and nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Clients of these networks (`10.0.0.0/8`) and addresses, as the client layer identified them.
    ///
    /// # Errors
    /// Text that is neither a network nor an address.
    pub fn cidrs<'a>(
        mut self,
        cidrs: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, ConfigError> {
        self.cidrs = Cidrs::parse("cidrs", cidrs)?;
        Ok(self)
    }

    /// Verified users, by the ids that keys use: plain ones as they are, others in their hashed form.
    ///
    /// # Errors
    /// Text that no user's id can be: see [`UserId`].
    pub fn users<'a>(
        mut self,
        users: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, ConfigError> {
        const ALLOWED: &str = "1 to 64 characters of `A-Za-z0-9._@-`, or the hash that stands for another id: `~` and \
                               32 hexadecimal digits";
        let read = |user: &str| {
            let known = UserId::is_legal(user);
            known
                .then(|| user.into())
                .ok_or_else(|| ConfigError::new("users", user, ALLOWED))
        };
        self.users = users.into_iter().map(read).collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// Requests of these routes; without a route, of these paths (`/favicon.ico`).
    pub fn routes(mut self, routes: impl IntoIterator<Item = RouteFilter>) -> Self {
        self.routes = routes.into_iter().collect();
        self
    }

    /// Failures at paths that browsers, phones and crawlers ask for by themselves: `favicon.ico` and other icons,
    /// `robots.txt`, `/.well-known/…` and their like; and at scripts, styles, fonts and pictures below the folders of bundlers
    /// (`/assets/`, `/static/`, `/_next/static/`, `/build/` and their like), which a page asks for whose release is gone. Only a [`SuspicionLayer`](crate::suspicion::SuspicionLayer) heeds it: it
    /// counts no 404 of them.
    pub fn assets(mut self) -> Self {
        self.assets = true;
        self
    }

    /// The exempt routes.
    #[must_use]
    pub fn get_routes(&self) -> &[RouteFilter] {
        &self.routes
    }

    /// Whether [assets](Self::assets) are exempt.
    pub(crate) fn has_assets(&self) -> bool {
        self.assets
    }

    /// Whether a 404 of this path is exempt.
    #[must_use]
    pub fn covers_missing(&self, path: &str) -> bool {
        self.assets && is_asset(path)
    }

    /// The exempt networks.
    pub(crate) fn get_cidrs(&self) -> &Cidrs {
        &self.cidrs
    }

    /// The exempt users.
    pub(crate) fn get_users(&self) -> impl Iterator<Item = &str> {
        self.users.iter().map(|user| &**user)
    }

    /// Whether a layer leaves a request of this client alone.
    #[must_use]
    #[inline]
    pub fn covers(&self, method: &Method, uri: &Uri, client: &Client) -> bool {
        // Most exempt nobody.
        let exempts_nobody =
            self.cidrs.is_empty() && self.users.is_empty() && self.routes.is_empty();
        !exempts_nobody && self.covers_some(method, uri, client)
    }

    fn covers_some(&self, method: &Method, uri: &Uri, client: &Client) -> bool {
        self.cidrs.contains(client.address)
            || client
                .user
                .as_ref()
                .is_some_and(|user| self.users.iter().any(|id| **id == *user.as_str()))
            || self
                .routes
                .iter()
                .any(|route| route.matches(method, &client.route, uri))
    }
}
