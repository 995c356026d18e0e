//! The panel: the sessions that live, what is done to them, and their security events.

use std::sync::Arc;

use serde::Serialize;

use super::{SessionOperation, SessionOutcome, SessionTally};
use crate::model::AlertKind;
use crate::model::panel::{Fields, Panel};

pub(super) struct SessionPanel(Arc<SessionTally>);

impl SessionPanel {
    pub(super) fn new(tally: Arc<SessionTally>) -> Self {
        Self(tally)
    }
}

/// Totals since start.
#[derive(Debug, Serialize)]
struct Done {
    created: u64,
    ended: u64,
    /// Tokens that were good: proved by the store, or known to the process.
    proved: u64,
    /// Tokens that open nothing any more.
    refused: u64,
    /// Tokens that this service did not make.
    forged: u64,
    /// What the store failed, whether something stood in for it or not.
    failed: u64,
    alerts: u64,
}

impl Panel for SessionPanel {
    fn name(&self) -> &'static str {
        "session"
    }

    fn script(&self) -> &'static str {
        include_str!("panel.js")
    }

    fn sample(&self, fields: &mut Fields) {
        use SessionOperation::{Create, End, Validate};
        use SessionOutcome::{Failed, FallenBack, Forged, Known, Refused};
        let tally = &self.0;
        let failures = SessionOperation::ALL.map(|operation| {
            tally.operations(operation, Failed) + tally.operations(operation, FallenBack)
        });
        let done = Done {
            created: tally.operations(Create, SessionOutcome::Done),
            ended: tally.operations(End, SessionOutcome::Done),
            proved: tally.operations(Validate, SessionOutcome::Done)
                + tally.operations(Validate, Known),
            refused: tally.operations(Validate, Refused),
            forged: tally.operations(Validate, Forged),
            failed: failures.iter().sum(),
            alerts: AlertKind::ALL.iter().map(|kind| tally.alerts(*kind)).sum(),
        };
        fields.add("sessions", &done);
    }

    fn now(&self, fields: &mut Fields) {
        let alerts = AlertKind::ALL.map(|kind| (kind.as_str(), self.0.alerts(kind)));
        fields.add("sessions_active", &self.0.active());
        fields.add("session_alerts", &alerts);
    }
}
