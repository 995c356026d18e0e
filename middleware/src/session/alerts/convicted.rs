//! Sessions that a client created before it was convicted of trying credentials.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};

use crate::model::{AlertKind, Network, UserId};
use crate::session::core::Core;
use crate::session::{EndReason, OnConviction, SessionId, Sessions};

/// When the sessions are looked for, after the conviction: a login that was under way then ends in this time.
const LOOKS: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_secs(2),
    Duration::from_secs(30),
];
/// Convictions whose sessions are looked for at a time.
pub(super) const AT_A_TIME: usize = 4_096;

impl Sessions {
    /// Says that a client was convicted of trying credentials: the sessions that it created within this time, two hours at
    /// most, are alerted of or ended, as `on_conviction` says; those too that it creates within 30 s. In a
    /// [`Stack`](crate::stack::Stack) the bans say it.
    ///
    /// It returns at once; a task of the runtime looks for the sessions. A client is the network of [`NewSession::from`].
    ///
    /// [`NewSession::from`]: super::super::NewSession::from
    pub fn convicted(&self, client: Network, within: Duration) {
        let core = self.core();
        let place = Arc::clone(&core.alerts.convicting).try_acquire_owned();
        match (place, Handle::try_current()) {
            (Ok(place), Ok(runtime)) => {
                let core = Arc::clone(core);
                drop(runtime.spawn(async move {
                    core.convict(client, within).await;
                    drop(place);
                }));
            }
            _ => core.lose(),
        }
    }
}

impl Core {
    async fn convict(self: &Arc<Self>, client: Network, within: Duration) {
        let begun = Instant::now();
        for look in LOOKS {
            sleep_until(begun + look).await;
            for origin in self.keys.origins(client) {
                let found = self.store.created_from(origin, within + look).await;
                self.heed(found.as_ref().err());
                for (user, id) in found.unwrap_or_default() {
                    self.convict_one(&user, id, client).await;
                }
            }
        }
    }

    async fn convict_one(self: &Arc<Self>, user: &UserId, id: SessionId, client: Network) {
        let kind = AlertKind::SessionFromConvictedClient;
        if self.settings.on_conviction == OnConviction::Terminate {
            // Where the store fails, the next look finds the session again.
            let ended = Sessions::new(Arc::clone(self))
                .end_for(user, id, EndReason::Conviction)
                .await;
            if let Ok(false) = ended {
                return;
            }
        }
        self.alert(kind, user, Some(id), Some(client));
    }
}
