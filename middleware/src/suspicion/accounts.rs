//! A login handler's question about an account.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::Suspicions;
use super::login::AccountHash;
use super::recorder::Stores;

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

impl Suspicions {
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
