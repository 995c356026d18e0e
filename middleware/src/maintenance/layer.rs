use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use tower_layer::Layer;
use tower_service::Service;

use super::MaintenanceConfig;
use crate::ConfigError;
use crate::body::{Body, Wrap};
use crate::http::refusable::Refusable;
use crate::http::refusal;
use crate::model::{Client, Code, PolicyResult, Reason, Room, Written};

impl Reason {
    /// The service is closed for [maintenance](crate::maintenance): 503.
    pub const MAINTENANCE: Self = Self::new(
        "maintenance",
        StatusCode::SERVICE_UNAVAILABLE,
        Code::Unavailable,
        ("about:blank", "Service Unavailable"),
        PolicyResult::None,
    );
}

const DETAIL: &str = "The service is closed for maintenance. Try again later.";

/// Refuses requests while it is on; see the [module](crate::maintenance). Clones share their counts.
///
/// It reads the `Client` of each request, so it belongs inside of [`IdentifyLayer`](crate::client::IdentifyLayer). The default
/// is off.
#[derive(Clone, Default)]
pub struct MaintenanceLayer {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    settings: MaintenanceConfig,
    tally: Arc<MaintenanceTally>,
    /// Whether a missing client was reported: once for a layer, not for each request.
    warned: AtomicBool,
}

/// Requests while maintenance was on, since start.
#[derive(Debug, Default)]
pub struct MaintenanceTally {
    on: bool,
    refused: AtomicU64,
    exempt: AtomicU64,
}

impl MaintenanceTally {
    /// Whether requests are refused.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// Requests that were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Exempt requests, which passed.
    #[must_use]
    pub fn exempt(&self) -> u64 {
        self.exempt.load(Ordering::Relaxed)
    }
}

impl MaintenanceLayer {
    /// A layer with these settings.
    ///
    /// # Errors
    /// A `retry_after` that is not 1 s to 7 days.
    pub fn new(settings: MaintenanceConfig) -> Result<Self, ConfigError> {
        const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
        if !(Duration::from_secs(1)..=WEEK).contains(&settings.retry_after) {
            let told = Written(settings.retry_after);
            return Err(ConfigError::new(
                "maintenance.retry_after",
                told,
                "1s to 7d",
            ));
        }
        let tally = MaintenanceTally {
            on: settings.on,
            ..MaintenanceTally::default()
        };
        if settings.on {
            tracing::warn!(
                target: "palisade::maintenance",
                event = "maintenance_on",
                retry_after = %Written(settings.retry_after),
                "maintenance is on: requests that are not exempt are answered 503"
            );
        }
        let shared = Shared {
            settings,
            tally: Arc::new(tally),
            warned: AtomicBool::new(false),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The layer's counts so far.
    #[must_use]
    pub fn tally(&self) -> Arc<MaintenanceTally> {
        Arc::clone(&self.shared.tally)
    }

    #[cfg(feature = "ops")]
    pub(super) fn retry_after(&self) -> Duration {
        self.shared.settings.retry_after
    }

    /// Around a service whose bodies are wrapped.
    pub(crate) fn around<S>(&self, inner: S) -> Maintenance<S> {
        Maintenance {
            inner,
            closed: self.shared.settings.on.then(|| Arc::clone(&self.shared)),
        }
    }
}

impl<S> Layer<S> for MaintenanceLayer {
    type Service = Maintenance<Wrap<S>>;

    fn layer(&self, inner: S) -> Maintenance<Wrap<S>> {
        self.around(Wrap::new(inner))
    }
}

impl Room for MaintenanceLayer {
    #[cfg(feature = "otel")]
    fn measure(&self, meters: &impl crate::model::metrics::Meters) {
        meters.watch(&self.tally());
    }

    #[cfg(feature = "ops")]
    fn panel(&self) -> Option<Box<dyn crate::model::panel::Panel>> {
        Some(Box::new(super::panel::MaintenancePanel::new(self)))
    }
}

/// A service that refuses requests while maintenance is on; see [`MaintenanceLayer`].
#[derive(Clone)]
pub struct Maintenance<S> {
    inner: S,
    /// `None` while maintenance is off.
    closed: Option<Arc<Shared>>,
}

impl<S, ReqBody, B> Service<Request<ReqBody>> for Maintenance<S>
where
    S: Service<Request<ReqBody>, Response = Response<Body<B>>> + Clone,
{
    type Response = Response<Body<B>>;
    type Error = S::Error;
    type Future = Refusable<S::Future, Response<Body<B>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        if let Some(closed) = &self.closed
            && let Some(response) = closed.refuse(&request)
        {
            // A reservation that the inner service made in `poll_ready` goes with the service that is dropped.
            self.inner = self.inner.clone();
            let response = Some(response.map(Body::refusal));
            return Refusable::Refused { response };
        }
        let future = self.inner.call(request);
        Refusable::Inner { future }
    }
}

impl Shared {
    /// The refusal, unless the request is exempt.
    fn refuse<B>(&self, request: &Request<B>) -> Option<Response<Bytes>> {
        let client = request.extensions().get::<Client>();
        if client.is_none() && !self.warned.swap(true, Ordering::Relaxed) {
            unidentified();
        }
        let Self {
            settings, tally, ..
        } = self;
        if client.is_some_and(|client| {
            settings
                .exempt
                .covers(request.method(), request.uri(), client)
        }) {
            tally.exempt.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        tally.refused.fetch_add(1, Ordering::Relaxed);
        let retry = Some(settings.retry_after);
        Some(refusal::response(
            Reason::MAINTENANCE,
            DETAIL,
            retry,
            request.method(),
            request.headers(),
        ))
    }
}

/// Without a client layer nothing can be exempt, and all is refused.
#[cold]
fn unidentified() {
    tracing::warn!(
        target: "palisade::maintenance",
        event = "maintenance_without_client",
        "maintenance found no `Client` in a request's extensions, so no exemption applies; add `IdentifyLayer` outside \
         of `MaintenanceLayer`"
    );
}

impl fmt::Debug for MaintenanceLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MaintenanceLayer")
            .field("settings", &self.shared.settings)
            .finish_non_exhaustive()
    }
}

impl<S: fmt::Debug> fmt::Debug for Maintenance<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Maintenance")
            .field("inner", &self.inner)
            .field("on", &self.closed.is_some())
            .finish()
    }
}
