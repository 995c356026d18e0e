use axum::Router;

use super::SessionsApi;
use super::call::{Call, Prefix};

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
        // Each path is one call's, whatever this service is at elsewhere, so that what is said of a route holds for its call.
        [
            ("/api/v1/users/me/sessions", Some(Call::List)),
            ("/api/v1/users/me/sessions/current", Some(Call::Current)),
            (
                "/api/v1/users/me/sessions/statistics",
                Some(Call::Statistics),
            ),
            ("/api/v1/users/me/sessions/events", Some(Call::Events)),
            (
                "/api/v1/users/me/sessions/terminate-all",
                Some(Call::TerminateAll),
            ),
            (
                "/api/v1/users/me/sessions/cleanup-expired",
                Some(Call::CleanUp),
            ),
            ("/api/v1/users/me/sessions/{session_id}", None),
            ("/profiles/me/login", Some(Call::Login)),
            ("/profiles/me/logout", Some(Call::Logout)),
        ]
        .into_iter()
        .fold(Router::new(), |router, (path, call)| {
            let mut api = self.clone();
            api.prefix = Prefix::Whole(call);
            router.route_service(path, api)
        })
    }
}
