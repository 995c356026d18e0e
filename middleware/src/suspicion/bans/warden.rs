//! The bans, as this process knows them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::request::Parts;

use super::cache::{BanCache, GRACE};
use super::since::Since;
use super::{Ban, BanReason, BanResponse, Bans, Sentence, Subject};
use crate::log::{Fallback, News};
use crate::model::{Barred, Network, Reply, Screened, StoreError, UserId};
use crate::suspicion::IncidentKind;
use crate::suspicion::store::{BanStore, Evidence, LocalBanStore};
use crate::suspicion::tally::{SuspicionTally, Turned};

/// How long an answer of the shared store is good for. With the grace of the cache it is a second: a lift in another
/// process is seen within it, and a banned client that floods costs one question in it.
const FRESH: Duration = Duration::from_secs(1).saturating_sub(GRACE);
/// Bans that are remembered, at 64 bytes each.
const REMEMBERED: usize = 16_384;

/// Asks the stores, and remembers their answers.
pub(in crate::suspicion) struct Warden {
    stores: Stores,
    cache: BanCache,
    pub(super) started: Since,
    sentence: Sentence,
    kinds: Box<[IncidentKind]>,
    response: BanResponse,
    enforced: bool,
    tally: Arc<SuspicionTally>,
    /// Whether the shared store keeps the bans.
    fallback: Fallback,
}

pub(super) enum Stores {
    Embedded(Box<dyn LocalBanStore>),
    Shared {
        store: Box<dyn BanStore>,
        local: Box<dyn LocalBanStore>,
    },
}

/// Whether a request is banned, without a wait.
pub(in crate::suspicion) enum Known {
    Free,
    Banned(Duration),
    /// The shared store is to say.
    Unknown,
}

impl Warden {
    pub(super) fn new(bans: Bans, tally: Arc<SuspicionTally>) -> Self {
        Self {
            stores: bans.stores,
            cache: BanCache::new(REMEMBERED),
            started: Since::start(),
            sentence: bans.sentence,
            kinds: bans.kinds.into(),
            response: bans.response,
            enforced: bans.enforced,
            tally,
            fallback: Fallback::default(),
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether a store that others share keeps the bans.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.stores, Stores::Shared { .. })
    }

    /// Where they are kept, if others share them.
    pub(super) fn place(&self) -> Option<&str> {
        match &self.stores {
            Stores::Embedded(_) => None,
            Stores::Shared { store, .. } => Some(store.place()),
        }
    }

    pub(in crate::suspicion) fn is_enforced(&self) -> bool {
        self.enforced
    }

    #[cfg(feature = "ops")]
    pub(in crate::suspicion) fn sentence(&self) -> Sentence {
        self.sentence
    }

    pub(in crate::suspicion) fn bans_for(&self, kind: IncidentKind) -> bool {
        self.kinds.contains(&kind)
    }

    /// Whether a client or its user is known to be banned; `screened` is the store's answer to an outer layer.
    pub(in crate::suspicion) fn known(
        &self,
        client: Network,
        user: Option<&UserId>,
        screened: Option<&Screened>,
    ) -> Known {
        let banned = |left: Option<Duration>| left.map_or(Known::Free, Known::Banned);
        match (&self.stores, screened) {
            (_, Some(Screened::Heard(left))) => banned(*left),
            (Stores::Embedded(store), _) => banned(barred(&**store, client, user).left()),
            (Stores::Shared { .. }, _) => {
                let now = self.now();
                let of_user = || self.cache.get(&self.of(user)?, now);
                match self.cache.get(&client.into(), now).or_else(of_user) {
                    Some(left) => Known::Banned(left),
                    None => Known::Unknown,
                }
            }
        }
    }

    /// A user as a subject; `None` where this process knows no ban of any user.
    fn of(&self, user: Option<&UserId>) -> Option<Subject> {
        let user = user.filter(|_| self.cache.knows_users())?;
        Some(user.clone().into())
    }

    /// Asks the shared store; the embedded one is asked by [`known`](Self::known).
    pub(in crate::suspicion) fn ask(
        &self,
        client: Network,
        user: Option<&UserId>,
    ) -> Reply<Barred> {
        match &self.stores {
            Stores::Embedded(store) => Reply::Ready(Ok(barred(&**store, client, user))),
            Stores::Shared { store, .. } => store.banned_for(client, user),
        }
    }

    /// Whether a request is banned, by the store's answer, or without one by the bans that this process knows.
    pub(in crate::suspicion) fn judge(
        &self,
        client: Network,
        user: Option<&UserId>,
        answer: Result<Barred, StoreError>,
    ) -> Option<Duration> {
        self.note(answer.as_ref().err());
        match answer {
            Ok(barred) => {
                self.learn(&client.into(), barred.client);
                match (user, barred.user) {
                    (Some(user), Some(_)) => self.learn(&user.clone().into(), barred.user),
                    _ => {
                        if let Some(user) = self.of(user) {
                            self.learn(&user, None);
                        }
                    }
                }
                barred.left()
            }
            Err(_) => {
                let barred = self.known_here(client, user);
                let subjects = [
                    (Some(client.into()), barred.client),
                    (self.of(user), barred.user),
                ];
                for (subject, left) in subjects {
                    if let (Some(subject), Some(left)) = (subject, left) {
                        self.cache.insert(&subject, left, FRESH, self.now());
                    }
                }
                barred.left()
            }
        }
    }

    /// Remembers the shared store's answer about a subject.
    pub(super) fn learn(&self, subject: &Subject, left: Option<Duration>) {
        let Stores::Shared { local, .. } = &self.stores else {
            return;
        };
        match left {
            Some(left) => {
                self.cache.insert(subject, left, FRESH, self.now());
                local.impose_for_now(subject, left);
            }
            None => {
                // Most have no ban here, and what counts towards one here is not forgotten for that.
                if self.cache.remove_stale(subject, self.now())
                    && local.banned_for_now(subject).is_some()
                {
                    local.lift_now(subject);
                }
            }
        }
    }

    /// For the time that the shared store does not answer.
    fn known_here(&self, client: Network, user: Option<&UserId>) -> Barred {
        match &self.stores {
            Stores::Embedded(store) | Stores::Shared { local: store, .. } => {
                barred(&**store, client, user)
            }
        }
    }

    /// Counts a request that is banned; whether it is to be refused.
    pub(in crate::suspicion) fn turns_away(&self) -> bool {
        self.tally.turn(if self.enforced {
            Turned::Denied
        } else {
            Turned::DryRunDenied
        });
        self.enforced
    }

    pub(in crate::suspicion) fn respond(&self, left: Duration, request: &Parts) -> Response<Bytes> {
        self.response.respond(left, request)
    }

    /// Counts evidence, and bans for it.
    pub(in crate::suspicion) async fn convict(&self, mut evidence: Vec<Evidence>) -> Vec<Ban> {
        let Stores::Shared { store, local } = &self.stores else {
            return self.convict_here(evidence);
        };
        // Of a ban that the shared store does not know.
        evidence.retain(|piece| !self.cache.is_good_to_its_end(&piece.subject, self.now()));
        if evidence.is_empty() {
            return Vec::new();
        }
        let answer = store.convict(&evidence, &self.sentence, roll()).await;
        self.note(answer.as_ref().err());
        match answer {
            Ok(bans) => {
                for ban in &bans {
                    self.cache.insert(&ban.subject, ban.left, FRESH, self.now());
                    local.impose_for_now(&ban.subject, ban.left);
                }
                bans
            }
            Err(_) => self.convict_here(evidence),
        }
    }

    /// As [`convict`](Self::convict), in this process alone.
    pub(in crate::suspicion) fn convict_here(&self, evidence: Vec<Evidence>) -> Vec<Ban> {
        match &self.stores {
            Stores::Embedded(store) => store.convict_now(&evidence, &self.sentence, roll()),
            Stores::Shared { local, .. } => {
                let bans = local.convict_now(&evidence, &self.sentence, roll());
                for ban in &bans {
                    // The shared store will not know of it when it is back, so it is good for all of its time.
                    self.cache
                        .insert(&ban.subject, ban.left, ban.left, self.now());
                }
                bans
            }
        }
    }

    pub(in crate::suspicion) async fn ban(
        &self,
        subject: &Subject,
        length: Duration,
    ) -> Result<Ban, StoreError> {
        match &self.stores {
            Stores::Embedded(store) => Ok(store.impose_for_now(subject, length)),
            Stores::Shared { store, .. } => {
                let ban = store.impose_for(subject, length).await?;
                self.learn(subject, Some(ban.left));
                Ok(ban)
            }
        }
    }

    pub(in crate::suspicion) async fn lift(&self, subject: &Subject) -> Result<bool, StoreError> {
        match &self.stores {
            Stores::Embedded(store) => Ok(store.lift_now(subject)),
            Stores::Shared { store, local } => {
                let lifted = store.lift(subject).await;
                // Even if the store does not answer: it may know nothing of a ban that holds here alone. Any other is a
                // copy for the time that the store fails, and no ban where the store knows of none.
                let held_alone = self.cache.is_good_to_its_end(subject, self.now());
                let lifted_here = local.lift_now(subject) && held_alone;
                self.cache.remove(subject);
                Ok(lifted? || lifted_here)
            }
        }
    }

    pub(in crate::suspicion) async fn list(&self, limit: usize) -> Result<Vec<Ban>, StoreError> {
        match &self.stores {
            Stores::Embedded(store) => Ok(store.list_now(limit)),
            Stores::Shared { store, .. } => {
                let mut bans = store.list(limit).await?;
                let known: HashSet<_> = bans.iter().map(|ban| ban.subject.clone()).collect();
                let here = self.list_here(limit).into_iter();
                bans.extend(here.filter(|ban| !known.contains(&ban.subject)));
                bans.sort_by_key(|ban| std::cmp::Reverse(ban.until));
                bans.truncate(limit);
                Ok(bans)
            }
        }
    }

    /// The bans that hold in this process alone; none where nobody shares them.
    pub(in crate::suspicion) fn list_here(&self, limit: usize) -> Vec<Ban> {
        let Stores::Shared { local, .. } = &self.stores else {
            return Vec::new();
        };
        let mut here = local.list_now(limit);
        // The local store keeps the shared store's bans as bans by hand.
        here.retain(|ban| ban.reason != BanReason::Manual);
        here
    }

    /// Logs when the shared store stops or begins to answer.
    fn note(&self, failed: Option<&StoreError>) {
        match self.fallback.heed(failed) {
            Some(News::Failed(error, cause)) => tracing::warn!(
                target: "palisade::suspicion",
                event = "bans_fallback",
                %error,
                cause,
                "only those bans hold that this process knows of: the shared store does not answer"
            ),
            Some(News::Restored) => tracing::info!(
                target: "palisade::suspicion",
                event = "bans_restored",
                "bans are kept by the shared store again"
            ),
            None => {}
        }
    }
}

/// What a local store knows of a client and its user.
fn barred(store: &dyn LocalBanStore, client: Network, user: Option<&UserId>) -> Barred {
    Barred {
        client: store.banned_for_now(&client.into()),
        user: user.and_then(|user| store.banned_for_now(&user.clone().into())),
    }
}

/// How much of the jitter. Bans without any are no reason to fail.
fn roll() -> u32 {
    getrandom::u32().unwrap_or(0)
}
