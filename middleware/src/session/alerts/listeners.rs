use std::fmt;
use std::net::IpAddr;

use super::travel::Place;
use crate::model::{Alert, Network, Secret};
use crate::session::Session;

/// Writes to users about their sessions; see [`Listeners::notify`].
///
/// ```
/// use std::sync::mpsc::{Sender, channel};
///
/// use palisade::client::{Secret, UserId};
/// use palisade::config::SessionsConfig;
/// use palisade::session::{Listeners, NewSession, Notice, Notify, SessionLayer};
/// use palisade::store::memory::MemoryStore;
///
/// /// Hands over what another thread sends by mail.
/// struct Mail(Sender<String>);
///
/// impl Notify for Mail {
///     fn notify(&self, notice: &Notice<'_>) {
///         let text = match notice {
///             Notice::NewDevice { session, .. } => match &session.details.user_agent {
///                 Some(agent) => format!("{}: a login with {agent}", session.user),
///                 None => format!("{}: a login", session.user),
///             },
///             Notice::Alert(alert) => format!("{}: {}", alert.user, alert.kind),
///             _ => return,
///         };
///         let _ = self.0.send(text);
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let (mail, sent) = channel();
/// let secret = Secret::random()?;
/// let layer = SessionLayer::new(MemoryStore::new(), secret.clone(), SessionsConfig::default())?
///     .listening(Listeners::new().notify(Mail(mail)))?;
/// let sessions = layer.sessions().unwrap();
///
/// let begun = sessions.begin(&UserId::new("ada", &secret)).await?;
/// let agent = http::HeaderValue::from_static("Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0");
/// sessions.create(begun, NewSession::new().user_agent(Some(&agent))).await?;
/// # tokio::task::yield_now().await;
/// assert_eq!(sent.recv()?, "ada: a login with Firefox on Linux");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub trait Notify: Send + Sync + 'static {
    /// Is told off the requests' path, one notice after the other, so it must not block: hand the notice over. If it panics,
    /// nothing else suffers.
    fn notify(&self, notice: &Notice<'_>);
}

/// What a user is to be told.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Notice<'a> {
    /// A login with a device that no session of the user has that was created before and lives. Devices are told apart by
    /// their id, where the service gave one, else by session type and user agent.
    #[non_exhaustive]
    NewDevice {
        /// The session of the login.
        session: &'a Session,
        /// How many sessions the user has besides. The first login after all others have ended has none: nobody knows then
        /// which devices there were.
        others: usize,
    },
    /// A security event of the user's sessions.
    Alert(&'a Alert),
}

pub(super) type ObserveAlert = Box<dyn Fn(&Alert, Option<Network>, &str) + Send + Sync>;
pub(super) type Locate = Box<dyn Fn(IpAddr) -> Option<Place> + Send + Sync>;

/// Code of the service that is told of its sessions, beside their requests; see [`SessionLayer::listening`].
///
/// [`SessionLayer::listening`]: crate::session::SessionLayer::listening
#[derive(Default)]
#[must_use]
pub struct Listeners {
    pub(super) observers: Vec<ObserveAlert>,
    pub(super) notify: Option<Box<dyn Notify>>,
    pub(super) locate: Option<Locate>,
    pub(super) hash_clients: Option<Secret>,
}

impl Listeners {
    /// Nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Is told what users are to be told. The last that is set is.
    pub fn notify(mut self, notify: impl Notify) -> Self {
        self.notify = Some(Box::new(notify));
        self
    }

    /// Is told of each alert, whether or not it has a line of the log; several may be added. It runs off the requests' path,
    /// and must not block. If it panics, nothing else suffers.
    pub fn observe(self, observer: impl Fn(&Alert) + Send + Sync + 'static) -> Self {
        self.observe_named(move |alert, _, _| observer(alert))
    }

    /// As [`observe`](Self::observe), with the client, and the user's name in the log.
    pub(crate) fn observe_named(
        mut self,
        observer: impl Fn(&Alert, Option<Network>, &str) + Send + Sync + 'static,
    ) -> Self {
        self.observers.push(Box::new(observer));
        self
    }

    /// Latitude and longitude of an address, in degrees, by a database of the service's own. Without it, nothing is known to
    /// be [impossible travel](crate::session::AlertKind::ImpossibleTravel). It is asked for the first address of the /24 or
    /// the /48 of a client, off the requests' path. If it panics, it knows no place.
    pub fn locate(
        mut self,
        locate: impl Fn(IpAddr) -> Option<(f64, f64)> + Send + Sync + 'static,
    ) -> Self {
        self.locate = Some(Box::new(locate));
        self
    }

    /// Writes keyed hashes of clients and users into the log, `~` and 32 hexadecimal digits, instead of networks and ids.
    pub fn hash_clients(mut self, secret: Secret) -> Self {
        self.hash_clients = Some(secret);
        self
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listeners").finish_non_exhaustive()
    }
}
