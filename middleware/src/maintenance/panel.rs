//! The panel: whether maintenance is on, and what it refused.

use std::sync::Arc;

use serde::Serialize;

use super::{MaintenanceLayer, MaintenanceTally};
use crate::model::panel::{Fields, Panel};

pub(super) struct MaintenancePanel {
    tally: Arc<MaintenanceTally>,
    /// Such as `10m`.
    retry_after: String,
}

/// Requests since start.
#[derive(Debug, Serialize)]
struct Requests {
    refused: u64,
    exempt: u64,
}

impl MaintenancePanel {
    pub(super) fn new(layer: &MaintenanceLayer) -> Self {
        Self {
            tally: layer.tally(),
            retry_after: humantime::format_duration(layer.retry_after()).to_string(),
        }
    }
}

impl Panel for MaintenancePanel {
    fn name(&self) -> &'static str {
        "maintenance"
    }

    fn script(&self) -> &'static str {
        include_str!("panel.js")
    }

    /// When refused clients are to come back; `null` while maintenance is off.
    fn hello(&self, fields: &mut Fields) {
        let retry_after = self.tally.is_on().then_some(&self.retry_after);
        fields.add("maintenance", &retry_after);
    }

    fn sample(&self, fields: &mut Fields) {
        let requests = Requests {
            refused: self.tally.refused(),
            exempt: self.tally.exempt(),
        };
        fields.add("maintenance", &requests);
    }
}
