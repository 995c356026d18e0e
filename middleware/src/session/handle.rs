use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderValue;
use http::header::ORIGIN;
use http::request::Parts;

use super::core::Core;
use super::store::{Began, Claim, Created, Creation, Proved, Renewal, Statistics};
use super::tally::{SessionOperation as Operation, SessionOutcome as Outcome};
use super::{Begun, EndReason, NewSession, Session, SessionId, Token, cookie, origin};
use crate::http::sole;
use crate::model::{AlertKind, Network, StoreError, UserId};

/// The session layer's handle for the service: creates, lists and ends sessions. Clones share it.
///
/// ```
/// use palisade::client::{Secret, UserId};
/// use palisade::config::SessionsConfig;
/// use palisade::session::{NewSession, SessionLayer};
/// use palisade::store::memory::MemoryStore;
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let secret = Secret::random()?;
/// let layer = SessionLayer::new(MemoryStore::new(), secret.clone(), SessionsConfig::default())?;
/// let sessions = layer.sessions().unwrap();
///
/// let ada = UserId::new("ada", &secret);
/// let begun = sessions.begin(&ada).await?;
/// // Here the service checks the password.
/// let issued = sessions.create(begun, NewSession::new().method("password")?).await?;
/// assert!(issued.token.expose().starts_with("pls_"));
/// assert_eq!(sessions.list(&ada).await?, [issued.session.clone()]);
///
/// assert!(sessions.end(&ada, issued.session.id).await?);
/// assert!(sessions.list(&ada).await?.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Sessions {
    core: Arc<Core>,
}

/// A session with its token, which is told this once.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Issued {
    /// The token, for the client.
    pub token: Token,
    /// The session.
    pub session: Session,
    /// Whether an earlier login with the same idempotency key made it.
    pub repeated: bool,
    /// The `Set-Cookie` for a browser; `None` where tokens come as bearers alone.
    pub cookie: Option<HeaderValue>,
}

/// What became of the sessions of a user whose factor was changed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FactorChanged {
    /// How many sessions ended.
    pub ended: u64,
    /// The session that was kept, with its new token; `None` if none was to be, or it had ended.
    pub kept: Option<Issued>,
}

/// Why no session was created.
#[derive(Debug)]
#[non_exhaustive]
pub enum CreateError {
    /// All sessions of the user were ended since the login began: it must begin again.
    Overtaken,
    /// The user has as many sessions as may live, and `on_max` is `deny`.
    AtMax,
    /// An earlier login with the same idempotency key made a session that has ended.
    Ended,
    /// An earlier login with the same idempotency key made a session that has another token by now, which cannot be told again.
    Rotated,
    /// The store holds as many sessions as it may.
    Full,
    /// The operating system gave no random bytes.
    Random,
    /// The store failed. The session may have been created: repeat the login with the same idempotency key.
    Store(StoreError),
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overtaken => "all sessions of the user were ended since the login began",
            Self::AtMax => "the user has as many sessions as may live",
            Self::Ended => "the session of this idempotency key has ended",
            Self::Rotated => "the session of this idempotency key has another token by now",
            Self::Full => "the store holds as many sessions as it may",
            Self::Random => "the operating system gave no random bytes",
            Self::Store(_) => "the store did not create the session",
        })
    }
}

impl Error for CreateError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}

impl Sessions {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// The key form of a user's id, hashed by the service's secret where it is not plain.
    #[must_use]
    pub fn user(&self, subject: &str) -> UserId {
        UserId::new(subject, self.core.keys.current())
    }

    /// Begins a login, before credentials are checked: if all sessions of the user are ended meanwhile, it creates none.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn begin(&self, user: &UserId) -> Result<Begun, StoreError> {
        let began = self.core.store.begin(user).await;
        self.core.heed(began.as_ref().err());
        Ok(Begun {
            user: user.clone(),
            began: began?,
        })
    }

    /// A login that an identity provider has finished, with its moment on the provider's clock.
    pub fn begun_at(&self, user: &UserId, auth_time: SystemTime) -> Begun {
        Begun {
            user: user.clone(),
            began: Began::At(auth_time),
        }
    }

    /// Creates the session of a login whose credentials were right.
    ///
    /// # Errors
    /// See [`CreateError`].
    pub async fn create(&self, begun: Begun, new: NewSession) -> Result<Issued, CreateError> {
        let created = self.try_create(begun, new).await;
        let outcome = match &created {
            Ok(issued) if issued.repeated => Outcome::Known,
            Ok(_) => Outcome::Done,
            Err(CreateError::Store(_) | CreateError::Random) => Outcome::Failed,
            Err(_) => Outcome::Refused,
        };
        self.core.tally.count(Operation::Create, outcome);
        created
    }

    async fn try_create(&self, begun: Begun, new: NewSession) -> Result<Issued, CreateError> {
        let Core {
            settings,
            keys,
            store,
            known,
            ..
        } = &*self.core;
        let Begun { user, began } = begun;
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|_| CreateError::Random)?;
        let id = SessionId::of(random);
        let once = new.once(keys.current());
        let (token, proof) = match &once {
            Some(once) => keys.derive(&user, id, &once.0),
            None => keys.draw(&user, id).map_err(|_| CreateError::Random)?,
        };
        let client = new.client.as_ref().map(|client| client.network);
        let lifetime = if new.remember {
            settings.remember
        } else {
            settings.lifetime
        };
        let mut creation = Creation::new(Claim { user, id, proof }, began, lifetime);
        creation.origin = client.and_then(|client| keys.origins(client).next());
        creation.details = new.details;
        creation.once = once;
        let created = store.create(&creation).await;
        self.core.heed(created.as_ref().err());
        let lasts = new.remember.then_some(lifetime.absolute);
        match created.map_err(CreateError::Store)? {
            Created::New {
                session,
                evicted,
                over,
            } => {
                for session in &evicted {
                    known.forget(session.id);
                }
                self.ended(&evicted, EndReason::Evicted);
                if over || !evicted.is_empty() {
                    self.at_max(&session.user, Some(session.id), client);
                }
                self.core.heed_login(&session);
                Ok(self.issue(token, session, false, lasts))
            }
            Created::Repeated(session) => {
                let once = creation.once.ok_or(CreateError::Ended)?;
                let (user, id) = (session.user.clone(), session.id);
                let (token, proof) = keys.derive(&user, id, &once.0);
                let first = store.prove(&Claim { user, id, proof }, false).await;
                self.core.heed(first.as_ref().err());
                match first.map_err(CreateError::Store)? {
                    Proved::Lives(..) => Ok(self.issue(token, session, true, lasts)),
                    Proved::Rotated => Err(CreateError::Rotated),
                    Proved::Gone => Err(CreateError::Ended),
                }
            }
            Created::Ended => Err(CreateError::Ended),
            Created::Overtaken => Err(CreateError::Overtaken),
            Created::AtMax => {
                self.at_max(&creation.user, None, client);
                Err(CreateError::AtMax)
            }
            Created::Full => Err(CreateError::Full),
        }
    }

    /// A login found as many sessions as may live.
    fn at_max(&self, user: &UserId, session: Option<SessionId>, client: Option<Network>) {
        let kind = AlertKind::ConcurrentSessions;
        self.core.alert(kind, user, session, client);
    }

    /// Tells of a login that succeeded although too many had failed before it, by the client or for the account.
    pub(crate) fn succeeded_after_failures(&self, user: &UserId, client: Network) {
        let kind = AlertKind::SuccessAfterFailures;
        self.core.alert(kind, user, None, Some(client));
    }

    fn issue(
        &self,
        token: Token,
        session: Session,
        repeated: bool,
        lasts: Option<std::time::Duration>,
    ) -> Issued {
        let name = self.core.cookie;
        Issued {
            cookie: name.and_then(|name| cookie::set(name, &token, lasts)),
            token,
            session,
            repeated,
        }
    }

    /// Gives a request's session another token, after a login within it or a change of privilege. The old token is worth
    /// nothing from then on. `claim` is the request's extension beside its [`Session`]; `None` if the session has ended.
    ///
    /// # Errors
    /// See [`CreateError`].
    pub async fn rotate(
        &self,
        claim: &Claim,
        renewal: &Renewal,
    ) -> Result<Option<Issued>, CreateError> {
        let Core { keys, store, .. } = &*self.core;
        let drawn = keys.draw(&claim.user, claim.id);
        let (token, proof) = drawn.map_err(|_| CreateError::Random)?;
        let forget = || self.core.known.forget(claim.id);
        forget();
        let rotated = store.rotate(claim, &proof, renewal).await;
        forget();
        self.note(Operation::Rotate, rotated.as_ref().map(Option::is_some));
        let session = rotated.map_err(CreateError::Store)?;
        Ok(session.map(|session| {
            let remembered = session.lifetime == self.core.settings.remember;
            let left = session.created + session.lifetime.absolute;
            let left = left.duration_since(session.last_activity).ok();
            self.issue(token, session, false, left.filter(|_| remembered))
        }))
    }

    /// The user's sessions that live, the newest activity first.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn list(&self, user: &UserId) -> Result<Vec<Session>, StoreError> {
        let listed = self.core.store.list(user).await;
        self.note(Operation::List, listed.as_ref().map(|_| true));
        listed
    }

    /// Ends a session, in this process at once and in all others within a second; whether it lived.
    ///
    /// # Errors
    /// The store's failure: the session may live on.
    pub async fn end(&self, user: &UserId, id: SessionId) -> Result<bool, StoreError> {
        self.end_for(user, id, EndReason::UserRequest).await
    }

    /// As [`end`](Self::end), for another reason than that its user wanted so.
    ///
    /// # Errors
    /// As there.
    pub async fn end_for(
        &self,
        user: &UserId,
        id: SessionId,
        reason: EndReason,
    ) -> Result<bool, StoreError> {
        let forget = || self.core.known.forget(id);
        forget();
        let ended = self.core.store.end(user, id).await;
        forget();
        self.note(Operation::End, ended.as_ref().map(Option::is_some));
        let ended = ended?;
        self.ended(ended.as_slice(), reason);
        Ok(ended.is_some())
    }

    /// Ends all sessions of a user but the kept one, as [`end`](Self::end) ends one; a login that has begun creates none. How
    /// many lived.
    ///
    /// # Errors
    /// The store's failure: the sessions may live on.
    pub async fn end_all(&self, user: &UserId, keep: Option<SessionId>) -> Result<u64, StoreError> {
        self.end_all_for(user, keep, EndReason::UserRequest).await
    }

    /// As [`end_all`](Self::end_all), for another reason than that their user wanted so.
    ///
    /// # Errors
    /// As there.
    pub async fn end_all_for(
        &self,
        user: &UserId,
        keep: Option<SessionId>,
        reason: EndReason,
    ) -> Result<u64, StoreError> {
        let forget = || self.core.known.forget_all(user, keep);
        forget();
        let ended = self.core.store.end_all(user, keep).await;
        forget();
        self.note(Operation::End, ended.as_ref().map(|_| true));
        let ended = ended?;
        self.ended(&ended, reason);
        Ok(ended.len() as u64)
    }

    /// Ends the sessions of a user whose password or other factor was changed, as [`end_all`](Self::end_all) does; a login
    /// that has begun creates none. Ask the user first whether all are to end (`keep` is `None`) or all but the one of the
    /// request: `keep` is its [`Claim`], the request's extension. That one goes on with another token, which the answer
    /// has; the old one is worth nothing, so whoever else held it is out.
    ///
    /// # Errors
    /// See [`CreateError`]. The other sessions may have ended.
    pub async fn factor_changed(
        &self,
        user: &UserId,
        keep: Option<&Claim>,
        renewal: &Renewal,
    ) -> Result<FactorChanged, CreateError> {
        let keep = keep.filter(|claim| claim.user == *user);
        let id = keep.map(|claim| claim.id);
        let ended = self.end_all_for(user, id, EndReason::FactorChanged).await;
        let ended = ended.map_err(CreateError::Store)?;
        let kept = match keep {
            Some(claim) => self.rotate(claim, renewal).await?,
            None => None,
        };
        Ok(FactorChanged { ended, kept })
    }

    fn ended(&self, sessions: &[Session], reason: EndReason) {
        self.core.tally.end(reason, sessions.len() as u64);
        for session in sessions {
            self.core.ends.note(session.id, reason);
        }
    }

    /// How many sessions the user had within 30 days.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn statistics(&self, user: &UserId) -> Result<Statistics, StoreError> {
        self.core.store.statistics(user).await
    }

    /// Removes what is left of the user's sessions that have expired; how many.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn clean(&self, user: &UserId) -> Result<u64, StoreError> {
        self.core.store.clean(user).await
    }

    /// Whether a request that is to set the cookie comes from a page of this service. The layer asks this of requests that
    /// carry the cookie; see [`sets_cookie`](Self::sets_cookie) for a login.
    #[must_use]
    pub fn is_same_origin(&self, request: &Parts) -> bool {
        origin::is_same(request, &self.core.settings.allowed_origins)
    }

    /// Whether the answer to a login is to set the cookie; `None` if a page of another site asks, so that no other site logs a
    /// browser in: refuse the login then. A program, which is given the token alone, says neither `Origin` nor
    /// `Sec-Fetch-Site`; browsers say one of them with every POST.
    #[must_use]
    pub fn sets_cookie(&self, request: &Parts) -> Option<bool> {
        let says = |name| sole(&request.headers, name) != Ok(None);
        let is_browser = says(ORIGIN.as_str()) || says("sec-fetch-site");
        if self.core.cookie.is_none() || !is_browser {
            return Some(false);
        }
        self.is_same_origin(request).then_some(true)
    }

    /// The `Set-Cookie` that removes the cookie; `None` where tokens come as bearers alone.
    #[must_use]
    pub fn clear_cookie(&self) -> Option<HeaderValue> {
        self.core.cookie.and_then(cookie::clear)
    }

    fn note(&self, operation: Operation, done: Result<bool, &StoreError>) {
        self.core.heed(done.err());
        self.core.tally.count(
            operation,
            match done {
                Ok(true) => Outcome::Done,
                Ok(false) => Outcome::Refused,
                Err(_) => Outcome::Failed,
            },
        );
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}
