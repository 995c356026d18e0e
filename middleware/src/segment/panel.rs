//! The panel: customers by segment, and the actions of each segment.

use std::sync::Arc;

use super::{ClassifyLayer, SegmentTally};
use crate::model::Segment;
use crate::model::panel::{Fields, Panel, summed};

/// Without a tally, customers are not told apart.
pub(super) struct SegmentPanel(Option<Arc<SegmentTally>>);

impl SegmentPanel {
    pub(super) fn new(layer: &ClassifyLayer) -> Self {
        Self(layer.tally())
    }
}

impl Panel for SegmentPanel {
    fn name(&self) -> &'static str {
        "segment"
    }

    fn script(&self) -> &'static str {
        include_str!("panel.js")
    }

    fn hello(&self, fields: &mut Fields) {
        fields.add("segments", &self.0.is_some());
    }

    fn now(&self, fields: &mut Fields) {
        let population = self.0.as_ref().and_then(|tally| tally.population());
        // `None` unless this process counts the population. No known customer is new.
        let population = population.map(|population| {
            let known = Segment::ALL.into_iter().filter(|it| *it != Segment::New);
            let known = known.map(|it| (it.as_str(), population.of(it)));
            known.collect::<Vec<_>>()
        });
        let counts = self.0.iter().flat_map(|tally| tally.counts());
        let actions = summed(counts.map(|it| (it.segment.as_str(), it.count)));
        fields.add("population", &population);
        fields.add("segments", &actions);
    }
}
