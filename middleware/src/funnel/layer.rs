use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use super::service::Funnel;
use super::stage::Stage;
use super::stages::Stages;
use super::tally::FunnelTally;
use super::visitors::{VisitorTally, Visitors};
use crate::ConfigError;
use crate::model::{Countries, Room};

/// Counts the responses that reach a stage of the funnel; see the [module](crate::funnel) for which do.
///
/// Put it innermost, so that it sees none of the other layers' rejections. The default has no stages, and counts
/// nothing. Clones share their counts.
#[derive(Clone, Default)]
pub struct FunnelLayer {
    stages: Arc<Stages>,
}

impl FunnelLayer {
    /// Starts from: no stages, no countries.
    pub fn builder() -> FunnelLayerBuilder {
        FunnelLayerBuilder {
            stages: Vec::new(),
            countries: Countries::default(),
            visitors: None,
        }
    }

    /// How many responses reached each stage so far.
    #[must_use]
    pub fn tally(&self) -> Arc<FunnelTally> {
        Arc::clone(&self.stages.tally)
    }

    /// How many visitors reached each stage so far; `None` unless they are [counted](FunnelLayerBuilder::visitors).
    #[must_use]
    pub fn visitor_tally(&self) -> Option<Arc<VisitorTally>> {
        let visitors = self.stages.visitors.as_ref();
        visitors.map(|visitors| visitors.tally())
    }

    pub(crate) fn around<S>(&self, inner: S) -> Funnel<S> {
        Funnel::new(inner, Arc::clone(&self.stages))
    }
}

impl<S> Layer<S> for FunnelLayer {
    type Service = Funnel<S>;

    fn layer(&self, inner: S) -> Funnel<S> {
        self.around(inner)
    }
}

impl Room for FunnelLayer {
    #[cfg(feature = "otel")]
    fn measure(&self, meters: &impl crate::model::metrics::Meters) {
        meters.watch(&self.tally());
        if let Some(visitors) = self.visitor_tally() {
            meters.watch(&visitors);
        }
    }

    #[cfg(feature = "ops")]
    fn panel(&self) -> Option<Box<dyn crate::model::panel::Panel>> {
        Some(Box::new(super::panel::FunnelPanel::new(self)))
    }
}

impl fmt::Debug for FunnelLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunnelLayer").finish_non_exhaustive()
    }
}

/// Settings of a [`FunnelLayer`].
#[derive(Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct FunnelLayerBuilder {
    stages: Vec<Stage>,
    countries: Countries,
    visitors: Option<Visitors>,
}

impl FunnelLayerBuilder {
    /// Adds a stage; at most 16.
    pub fn stage(mut self, stage: Stage) -> Self {
        self.stages.push(stage);
        self
    }

    /// Which countries are counted apart: those that the client layer was given. Any other is `other`.
    pub fn countries(mut self, countries: Countries) -> Self {
        self.countries = countries;
        self
    }

    /// Counts visitors too, for which the order of the stages is the funnel's; off unless set, since it keeps a key for
    /// each visitor. See the [module](crate::funnel#visitors).
    pub fn visitors(mut self, visitors: Visitors) -> Self {
        self.visitors = Some(visitors);
        self
    }

    /// The layer, with all its series at 0.
    ///
    /// # Errors
    /// [`ConfigError`] for more than 16 stages or 2,000 series, a name that cannot be a label, a route that is not
    /// a template, two stages of one name or of one route and status class, and a window or queue of the visitors
    /// that is out of its range.
    pub fn build(self) -> Result<FunnelLayer, ConfigError> {
        Ok(FunnelLayer {
            stages: Arc::new(Stages::new(self.stages, &self.countries, self.visitors)?),
        })
    }
}
