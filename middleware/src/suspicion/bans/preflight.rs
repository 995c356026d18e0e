//! The bans' part of preflight.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Method, Uri};

use super::Known;
use crate::model::{
    Ask, Asked, Barred, Client, Gate, HearBan, Screened, StoreError, StoreErrorKind, Turn,
};
use crate::suspicion::SuspicionLayer;
use crate::suspicion::recorder::Recorder;

/// The question about a request, before its request reaches the layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Screening {
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

impl Ask for SuspicionLayer {
    fn room(&self) -> &'static str {
        "suspicion"
    }

    fn turn(&self) -> Turn {
        Turn::Screen
    }

    fn waits(&self) -> bool {
        let warden = self.recorder.warden.as_ref();
        warden.is_some_and(|warden| warden.is_shared())
    }

    fn bans_in(&self) -> Option<&str> {
        self.recorder.warden.as_ref()?.place()
    }

    fn asks_either_way(&self) -> bool {
        true
    }

    /// Leaves its question for the limits, which ask it in their own call.
    fn ask(&self, request: &mut Parts) -> Asked {
        let Some(client) = request.extensions.get::<Client>() else {
            return Asked::Known;
        };
        match self.screening(&request.method, &request.uri, client) {
            Screening::Banned => Asked::Refused,
            Screening::Open => Asked::Known,
            Screening::Unknown { enforced } => {
                let gate = Gate {
                    client: client.network,
                    user: client.user.clone(),
                    enforced,
                };
                let bans: Arc<dyn HearBan> = self.recorder.clone();
                request.extensions.insert(Screened::Open(gate, bans));
                Asked::Known
            }
        }
    }
}

impl SuspicionLayer {
    /// What is to be asked of the store for a request.
    pub(super) fn screening(&self, method: &Method, uri: &Uri, client: &Client) -> Screening {
        let Some(warden) = &self.recorder.warden else {
            return Screening::Open;
        };
        if self.recorder.exempt.covers(method, uri, client) {
            return Screening::Open;
        }
        let enforced = warden.is_enforced();
        match warden.known(client.network, client.user.as_ref(), None) {
            Known::Banned(_) if enforced => Screening::Banned,
            // A dry run counts it and lets it pass.
            Known::Free | Known::Banned(_) => Screening::Open,
            Known::Unknown => Screening::Unknown { enforced },
        }
    }
}

impl HearBan for Recorder {
    fn hear(&self, gate: &Gate, answer: Result<Barred, StoreErrorKind>) -> Option<Duration> {
        let warden = self.warden.as_ref()?;
        let answer = answer.map_err(StoreError::new);
        warden.judge(gate.client, gate.user.as_ref(), answer)
    }
}
