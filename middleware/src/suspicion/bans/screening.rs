//! The bans' part of the one round trip by which an outer layer asks the store.

use std::time::Duration;

use http::Method;

use super::Known;
use crate::model::{Client, Network, StoreError, StoreErrorKind};
use crate::suspicion::SuspicionLayer;

/// The question about a client, before its request reaches the layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Screening {
    /// Nothing: the request will pass the layer.
    Open,
    /// Nothing: the layer will refuse the request by itself.
    Banned,
    /// Whether the store knows of a ban.
    Unknown {
        /// Whether a ban refuses the request; `false` in a dry run.
        enforced: bool,
    },
}

/// The store's answer about a request's client: how long it is still banned, if it is. An extension of the request; where
/// it is, the layer does not ask.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screened(pub(crate) Option<Duration>);

impl SuspicionLayer {
    /// Whether the layer may ask the store before a request.
    #[cfg(feature = "redis")]
    pub(crate) fn asks(&self) -> bool {
        self.recorder.warden.is_some()
    }

    /// The question to the store for a request.
    pub(crate) fn screening(&self, method: &Method, client: &Client) -> Screening {
        let Some(warden) = &self.recorder.warden else {
            return Screening::Open;
        };
        if self.recorder.exempt.covers(method, client) {
            return Screening::Open;
        }
        let enforced = warden.is_enforced();
        match warden.known(client.network, None) {
            Known::Banned(_) if enforced => Screening::Banned,
            // A dry run counts it and lets it pass.
            Known::Free | Known::Banned(_) => Screening::Open,
            Known::Unknown => Screening::Unknown { enforced },
        }
    }

    /// Whether a client is banned, by the shared store's answer, or without one by the bans that this process knows.
    pub(crate) fn screen(
        &self,
        client: Network,
        answer: Result<Option<Duration>, StoreErrorKind>,
    ) -> Screened {
        let warden = self.recorder.warden.as_ref();
        Screened(warden.and_then(|warden| warden.settle(client, answer.map_err(StoreError::new))))
    }
}
