use std::fmt;
use std::sync::Arc;

use super::warden::{Stores, Warden};
use super::{BanResponse, Sentence};
use crate::suspicion::store::{BanStore, LocalBanStore};
use crate::suspicion::{IncidentKind, SuspicionTally};

/// The kinds that ban a client, the length of the ban, and the answer to a banned client; for
/// [`SuspicionLayerBuilder::bans`](crate::suspicion::SuspicionLayerBuilder::bans).
#[must_use]
pub struct Bans {
    pub(super) stores: Stores,
    pub(super) sentence: Sentence,
    pub(super) kinds: Vec<IncidentKind>,
    pub(super) response: BanResponse,
    pub(super) enforced: bool,
}

impl Bans {
    /// Bans that are this process's alone.
    pub fn embedded(store: impl LocalBanStore) -> Self {
        Self::new(Stores::Embedded(Box::new(store)))
    }

    /// Bans that processes share through a store that may fail. While it fails, the bans that this process knows hold,
    /// and `local` keeps the new ones.
    pub fn shared(store: impl BanStore, local: impl LocalBanStore) -> Self {
        Self::new(Stores::Shared {
            store: Box::new(store),
            local: Box::new(local),
        })
    }

    fn new(stores: Stores) -> Self {
        Self {
            stores,
            sentence: Sentence::default(),
            kinds: Vec::new(),
            response: BanResponse::default(),
            enforced: true,
        }
        .kinds(IncidentKind::ALL)
    }

    /// How long, 10 minutes up to 24 hours unless set.
    pub fn sentence(mut self, sentence: Sentence) -> Self {
        self.sentence = sentence;
        self
    }

    /// The kinds that ban, of those that are their client's doing; all unless set.
    pub fn kinds(mut self, kinds: impl IntoIterator<Item = IncidentKind>) -> Self {
        let kinds = kinds.into_iter();
        self.kinds = kinds.filter(|kind| kind.names_its_client()).collect();
        self
    }

    /// The answer to a banned client, 429 unless set.
    pub fn response(mut self, response: BanResponse) -> Self {
        self.response = response;
        self
    }

    /// Imposes bans and counts the requests that they would refuse, but lets them pass.
    pub fn dry_run(mut self) -> Self {
        self.enforced = false;
        self
    }

    pub(in crate::suspicion) fn start(self, tally: &Arc<SuspicionTally>) -> Warden {
        Warden::new(self, Arc::clone(tally))
    }
}

impl fmt::Debug for Bans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bans")
            .field("sentence", &self.sentence)
            .field("kinds", &self.kinds)
            .field("response", &self.response)
            .field("enforced", &self.enforced)
            .finish_non_exhaustive()
    }
}
