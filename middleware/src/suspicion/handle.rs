//! The layer's handle for the service, outside of a request.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::recorder::Recorder;
use super::{Ban, BanReason};
use crate::model::{Network, StoreError, StoreErrorKind};

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
/// assert_eq!(suspicions.bans().await?[0].client, client);
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

    /// Of the bans that last, those that hold in this process alone.
    #[cfg(feature = "ops")]
    pub(crate) fn bans_here(&self) -> Vec<Ban> {
        let warden = self.recorder.warden.as_ref();
        warden.map_or_else(Vec::new, |warden| warden.list_here(Self::MOST_BANS))
    }

    /// Bans a client for [`Ban::SHORTEST`] to [`Ban::LONGEST`], in this process at once and in others within a second.
    /// Returns the ban as it then stands: one that lasts longer already stays as it is.
    ///
    /// `client` must be the network that the client counts as: an IPv6 address has the prefix of the client layer.
    ///
    /// # Errors
    /// The store's failure, and [`StoreErrorKind::Failed`] where bans are off.
    pub async fn ban(&self, client: Network, length: Duration) -> Result<Ban, StoreError> {
        let Some(warden) = &self.recorder.warden else {
            let error = StoreError::new(StoreErrorKind::Failed);
            return Err(error.with_source("bans are off"));
        };
        let ban = warden.ban(client, length).await?;
        self.recorder.announce(BanReason::Manual, &ban);
        Ok(ban)
    }

    /// Ends a client's ban and forgets its offences, in this process at once and in others within a second. Returns whether
    /// the client was banned; `false` where bans are off.
    ///
    /// Another process learns of the lift by the client's next request there. If the store fails before that request, the
    /// ban holds in that process until the store answers, the ban ends, or it is lifted there too.
    ///
    /// # Errors
    /// The store's failure. Then the ban ends in this process alone, and holds again once the store answers and knows of it.
    pub async fn lift(&self, client: Network) -> Result<bool, StoreError> {
        match &self.recorder.warden {
            Some(warden) => {
                let was_banned = warden.lift(client).await?;
                if was_banned {
                    self.recorder.reporter.report_lift(client);
                }
                Ok(was_banned)
            }
            None => Ok(false),
        }
    }
}

impl fmt::Debug for Suspicions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suspicions")
            .field("rules", &self.recorder.rules)
            .finish_non_exhaustive()
    }
}
