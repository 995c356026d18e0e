use axum::Router;

use super::SessionsApi;
use super::call::Prefix;

impl SessionsApi {
    /// The endpoints at their paths, `/api/v1/users/me/sessions…` and `/profiles/me/…`. Put the stack around the whole router.
    ///
    /// ```
    /// # use palisade::session::api::SessionsApi;
    /// # fn app(api: &SessionsApi) -> axum::Router {
    /// axum::Router::new().nest("/shop", api.router())
    /// # }
    /// ```
    pub fn router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        const SESSIONS: &str = "/api/v1/users/me/sessions";
        // The router's paths are whole, whatever this service is at elsewhere.
        let mut api = self.clone();
        api.prefix = Prefix::Unknown;
        let names = [
            "",
            "/current",
            "/statistics",
            "/events",
            "/terminate-all",
            "/cleanup-expired",
            "/{session_id}",
        ];
        let mut paths: Vec<_> = names
            .iter()
            .map(|name| format!("{SESSIONS}{name}"))
            .collect();
        paths.extend(["login", "logout"].map(|name| format!("/profiles/me/{name}")));
        paths.iter().fold(Router::new(), |router, path| {
            router.route_service(path, api.clone())
        })
    }
}
