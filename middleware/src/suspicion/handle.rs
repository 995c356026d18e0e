//! The layer's handle for the service, outside of a request.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::login::AccountHash;
use super::recorder::{Recorder, Stores};
use super::{Ban, BanReason, Subject};
#[cfg(feature = "ops")]
use super::{Sentence, store::Rule};
use crate::model::{StoreError, StoreErrorKind};

/// The suspicion layer's handle for the service: it lists, imposes and lifts bans, and looks accounts up. Clones share it.
///
/// Bans, where [they are on](super::SuspicionLayerBuilder::bans):
///
/// ```
/// use std::time::Duration;
/// use palisade::client::Network;
/// use palisade::store::memory::MemoryStore;
/// use palisade::suspicion::{Bans, SuspicionLayer};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let store = MemoryStore::new();
/// let layer = SuspicionLayer::embedded(store.clone()).bans(Bans::embedded(store)).build()?;
/// let suspicions = layer.suspicions();
/// let client = Network::of("2001:db8::1".parse()?, 64);
///
/// let ban = suspicions.ban(client, Duration::from_secs(3_600)).await?;
/// assert_eq!((ban.left.as_secs(), ban.strikes), (3_600, 0));
/// assert_eq!(suspicions.bans().await?[0].subject, client.into());
/// assert!(suspicions.lift(client).await?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Suspicions {
    pub(super) recorder: Arc<Recorder>,
}

impl Suspicions {
    /// The most bans that [`Suspicions::bans`] returns.
    pub const MOST_BANS: usize = 1_000;

    /// The bans that last, in the order of their ends, the latest end first. Beyond [`Suspicions::MOST_BANS`] those that end
    /// soonest are left out. There are none where bans are off.
    ///
    /// With a shared store, bans that hold in this process alone are among them: the store failed when they were imposed.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn bans(&self) -> Result<Vec<Ban>, StoreError> {
        match &self.recorder.warden {
            Some(warden) => warden.list(Self::MOST_BANS).await,
            None => Ok(Vec::new()),
        }
    }

    /// Bans a client or a user for [`Ban::SHORTEST`] to [`Ban::LONGEST`], in this process at once and in others within a second.
    /// Returns the ban as it then stands: one that lasts longer already stays as it is.
    ///
    /// A client is named by the network that it counts as: an IPv6 address has the prefix of the client layer.
    ///
    /// # Errors
    /// The store's failure, and [`StoreErrorKind::Failed`] where bans are off.
    pub async fn ban(
        &self,
        subject: impl Into<Subject>,
        length: Duration,
    ) -> Result<Ban, StoreError> {
        let subject = subject.into();
        let Some(warden) = &self.recorder.warden else {
            let error = StoreError::new(StoreErrorKind::Failed);
            return Err(error.with_source("bans are off"));
        };
        let ban = warden.ban(&subject, length).await?;
        let client = subject.network();
        self.recorder.announce(BanReason::Manual, &ban, client);
        Ok(ban)
    }

    /// Ends the ban of a client or a user and forgets its offences, in this process at once and in others within a second.
    /// Returns whether it was banned; `false` where bans are off.
    ///
    /// Another process learns of the lift by the next such request there. If the store fails before that request, the
    /// ban holds in that process until the store answers, the ban ends, or it is lifted there too.
    ///
    /// # Errors
    /// The store's failure. Then the ban ends in this process alone, and holds again once the store answers and knows of it.
    pub async fn lift(&self, subject: impl Into<Subject>) -> Result<bool, StoreError> {
        let subject = subject.into();
        match &self.recorder.warden {
            Some(warden) => {
                let was_banned = warden.lift(&subject).await?;
                if was_banned {
                    self.recorder.reporter.report_lift(&subject);
                }
                Ok(was_banned)
            }
            None => Ok(false),
        }
    }

    /// Tells the security log and its observers that an operator let a client or a user in.
    pub(crate) fn report_unblock(&self, subject: &Subject) {
        self.recorder.reporter.report_unblock(subject);
    }

    /// Whether an account, by the name that [`Login`](super::Login) gets, is under attack: a question for the login
    /// handler, before it checks the password.
    ///
    /// Step up then: ask for a second factor, or answer a second later, to right and wrong passwords alike. Never lock the
    /// account, since anybody can bring it under attack. It is one read of the store, and at most its deadline; while
    /// the store fails, the memory of this process answers, so there is no error. Always quiet unless
    /// [`DistributedStuffing`](super::IncidentKind::DistributedStuffing) is on.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use http::{Request, Response};
    /// use http_body_util::BodyExt;
    /// use palisade::client::{IdentifyLayer, Peer, Secret};
    /// use palisade::store::memory::MemoryStore;
    /// use palisade::suspicion::{IncidentKind, Login, SuspicionLayer};
    /// use tower::{Service, ServiceBuilder, ServiceExt};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let layer = SuspicionLayer::embedded(MemoryStore::new())
    ///     .threshold(IncidentKind::DistributedStuffing, "4/1h".parse()?)
    ///     .secret(Secret::from_bytes(b"at least sixteen bytes, from a file"))
    ///     .build()?;
    /// let tally = layer.tally();
    /// let suspicions = layer.suspicions();
    /// let mut service = ServiceBuilder::new()
    ///     .layer(IdentifyLayer::builder().build()?)
    ///     .layer(layer)
    ///     .service_fn(move |request: Request<&'static str>| {
    ///         let suspicions = suspicions.clone();
    ///         async move {
    ///             let attacked = suspicions.account("ada").await.under_attack;
    ///             if attacked {
    ///                 tokio::time::sleep(Duration::from_millis(1)).await; // a second, in earnest
    ///             }
    ///             let right = *request.body() == "the password";
    ///             let mut response = Response::new(String::from(if attacked { "later" } else { "at once" }));
    ///             let login = if right { Login::succeeded("ada") } else { Login::failed("ada") };
    ///             response.extensions_mut().insert(login);
    ///             Ok::<_, std::convert::Infallible>(response)
    ///         }
    ///     });
    /// let mut guess = async |octet: u8| {
    ///     let mut request = Request::new("a guess");
    ///     request.extensions_mut().insert(Peer(([192, 0, 2, octet], 5000).into()));
    ///     let response = service.ready().await.unwrap().call(request).await.unwrap();
    ///     response.into_body().collect().await.unwrap().to_bytes() == "later"
    /// };
    /// for octet in 1..=4 {
    ///     assert!(!guess(octet).await);
    /// }
    /// while tally.incidents(IncidentKind::DistributedStuffing) == 0 {
    ///     tokio::task::yield_now().await;
    /// }
    /// assert!(guess(5).await);
    /// # Ok::<(), palisade::ConfigError>(())
    /// # }).unwrap();
    /// ```
    pub fn account(&self, account_name: &str) -> impl Future<Output = AccountState> + Send + use<> {
        let account = self.recorder.logins.as_ref();
        let account = account.map(|logins| AccountHash::of(account_name, &logins.secret));
        let recorder = Arc::clone(&self.recorder);
        async move {
            let Some(account) = account else {
                return AccountState::default();
            };
            let rules = &recorder.rules;
            match &recorder.stores {
                Stores::Embedded(store) => store.account_now(rules, account),
                Stores::Shared { store, local } => match store.account(rules, account).await {
                    Ok(state) => state,
                    Err(_) => local.account_now(rules, account),
                },
            }
        }
    }
}

/// What the panel shows.
#[cfg(feature = "ops")]
impl Suspicions {
    /// Of the bans that last, those that hold in this process alone.
    pub(super) fn bans_here(&self) -> Vec<Ban> {
        let warden = self.recorder.warden.as_ref();
        warden.map_or_else(Vec::new, |warden| warden.list_here(Self::MOST_BANS))
    }

    /// The kinds that are counted.
    pub(super) fn rules(&self) -> &[Rule] {
        &self.recorder.rules
    }

    /// How long bans are, and whether they refuse anybody; `None` where they are off.
    pub(super) fn sentence(&self) -> Option<(Sentence, bool)> {
        let warden = self.recorder.warden.as_ref();
        warden.map(|warden| (warden.sentence(), warden.is_enforced()))
    }
}

impl fmt::Debug for Suspicions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suspicions")
            .field("rules", &self.recorder.rules)
            .finish_non_exhaustive()
    }
}

/// Whether an account is under attack from many networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct AccountState {
    /// Whether an episode of [`DistributedStuffing`](super::IncidentKind::DistributedStuffing) has begun and not ended.
    pub under_attack: bool,
    /// Distinct networks whose login failed for the account: since the attack began, or else within the window.
    pub networks: u64,
    /// Whether their number is an estimate, by HyperLogLog: beyond 64, or beyond a window.
    pub estimated: bool,
    /// How long ago the first of the attack's failures was; zero without an attack.
    pub lasting: Duration,
}

impl AccountState {
    /// A state as a store knows it.
    #[must_use]
    pub const fn new(
        under_attack: bool,
        networks: u64,
        estimated: bool,
        lasting: Duration,
    ) -> Self {
        Self {
            under_attack,
            networks,
            estimated,
            lasting,
        }
    }
}
