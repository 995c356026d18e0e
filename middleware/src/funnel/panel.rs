//! The panel: how many reached each stage.

use std::sync::Arc;

use super::{FunnelLayer, FunnelTally, VisitorTally};
use crate::model::panel::{Fields, Panel, summed};

pub(super) struct FunnelPanel {
    stages: Arc<FunnelTally>,
    /// `None` where visitors are not counted.
    visitors: Option<Arc<VisitorTally>>,
}

impl FunnelPanel {
    pub(super) fn new(layer: &FunnelLayer) -> Self {
        Self {
            stages: layer.tally(),
            visitors: layer.visitor_tally(),
        }
    }

    /// The stages in their order, with the responses that reached each.
    fn stages(&self) -> Vec<(&str, u64)> {
        summed(self.stages.counts().map(|it| (it.stage, it.count)))
    }
}

impl Panel for FunnelPanel {
    fn name(&self) -> &'static str {
        "funnel"
    }

    fn script(&self) -> &'static str {
        include_str!("panel.js")
    }

    fn hello(&self, fields: &mut Fields) {
        fields.add("stages", &names(&self.stages()));
        fields.add("visitors", &self.visitors.is_some());
    }

    /// In the order of the stages; no visitors where they are not counted.
    fn sample(&self, fields: &mut Fields) {
        let visitors = self.visitors.as_ref();
        let visitors = visitors.map(|it| summed(it.counts().map(|it| (it.stage, it.count))));
        fields.add("stages", &counts(&self.stages()));
        fields.add("visitors", &counts(&visitors.unwrap_or_default()));
    }
}

fn names<'a>(sums: &[(&'a str, u64)]) -> Vec<&'a str> {
    sums.iter().map(|(name, _)| *name).collect()
}

fn counts(sums: &[(&str, u64)]) -> Vec<u64> {
    sums.iter().map(|(_, count)| *count).collect()
}
