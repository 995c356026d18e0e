use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use super::alerts::Alerts;
use super::core::Core;
use super::operator::OperatorToken;
use super::store::SessionStore;
use super::{Authenticate, Keyring, Listeners, SessionTally, Sessions, SessionsConfig};
use crate::ConfigError;
use crate::body::Wrap;
use crate::model::{Room, Secret};
use crate::task::ticker;

/// Knows whose session a request has; see the [module](crate::session). Clones share everything.
///
/// The default knows no sessions, and does nothing.
#[derive(Clone, Default)]
pub struct SessionLayer {
    pub(super) core: Option<Arc<Core>>,
}

impl SessionLayer {
    /// A layer over this store, with tokens by this secret, which all processes of the service share.
    ///
    /// # Errors
    /// A setting that cannot be used: its key, its value and what is allowed.
    pub fn new(
        store: impl SessionStore,
        secret: Secret,
        settings: SessionsConfig,
    ) -> Result<Self, ConfigError> {
        let keys = Keyring::new(secret, None);
        Self::with_keys(&store, keys, settings, Listeners::new())
    }

    /// As [`new`](Self::new); tokens by the previous secret are valid too.
    ///
    /// # Errors
    /// As there.
    pub fn with_previous_secret(
        store: impl SessionStore,
        secret: Secret,
        previous: Secret,
        settings: SessionsConfig,
    ) -> Result<Self, ConfigError> {
        let keys = Keyring::new(secret, Some(previous));
        Self::with_keys(&store, keys, settings, Listeners::new())
    }

    pub(crate) fn with_keys(
        store: &dyn SessionStore,
        keys: Keyring,
        settings: SessionsConfig,
        listeners: Listeners,
    ) -> Result<Self, ConfigError> {
        settings.validate()?;
        let store = store.keep_sessions(&settings.keeping());
        let token = settings.operator_token_file.as_deref();
        let operator = token.map(OperatorToken::from_file).transpose()?;
        let core = Core::new(settings, keys, store, operator, listeners);
        Ok(Self {
            core: Some(Arc::new(core)),
        })
    }

    /// The layer with code of the service that is told of security events; a layer that knows no sessions has none to tell.
    ///
    /// # Errors
    /// A layer that was cloned, or whose handle was taken: set it first.
    pub fn listening(mut self, listeners: Listeners) -> Result<Self, ConfigError> {
        if let Some(core) = &mut self.core {
            let allowed = "before the layer is cloned and its handle is taken";
            let core = Arc::get_mut(core)
                .ok_or_else(|| ConfigError::without_value("listeners", allowed))?;
            core.alerts = Alerts::new(listeners);
        }
        Ok(self)
    }

    /// The handle for the service; `None` of a layer that knows no sessions. Called within a runtime, it starts the count of
    /// the sessions that live, which otherwise begins with the first request.
    #[must_use]
    pub fn sessions(&self) -> Option<Sessions> {
        let core = self.core.as_ref()?;
        ticker::start(core);
        Some(Sessions::new(Arc::clone(core)))
    }

    /// The layer's counts so far; `None` of a layer that knows no sessions.
    #[must_use]
    pub fn tally(&self) -> Option<Arc<SessionTally>> {
        let core = self.core.as_ref()?;
        Some(Arc::clone(&core.tally))
    }

    /// Around a service whose bodies are wrapped.
    pub(crate) fn around<S>(&self, inner: S) -> Authenticate<S> {
        Authenticate::new(inner, self.core.clone())
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = Authenticate<Wrap<S>>;

    fn layer(&self, inner: S) -> Authenticate<Wrap<S>> {
        self.around(Wrap::new(inner))
    }
}

impl Room for SessionLayer {
    fn ask(&self) -> Option<Box<dyn crate::model::Ask>> {
        let is_on = self.core.is_some();
        is_on.then(|| Box::new(self.clone()) as _)
    }

    #[cfg(feature = "otel")]
    fn measure(&self, meters: &impl crate::model::metrics::Meters) {
        if let Some(tally) = self.tally() {
            meters.watch(&tally);
        }
    }

    #[cfg(feature = "ops")]
    fn panel(&self) -> Option<Box<dyn crate::model::panel::Panel>> {
        Some(Box::new(super::panel::SessionPanel::new(self.tally()?)))
    }
}

impl fmt::Debug for SessionLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLayer")
            .field("settings", &self.core.as_ref().map(|core| &core.settings))
            .finish_non_exhaustive()
    }
}
