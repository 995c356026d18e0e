use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Method, StatusCode};

use super::reached::{Reached, What};
use super::stage::Stage;
use super::store::Reach;
use super::tally::FunnelTally;
use super::visitors::{Recorder, Visitors, Who};
use crate::ConfigError;
use crate::model::{Countries, Country, Route};

/// All stages and their counts, which the services of one layer share.
#[derive(Debug, Default)]
pub(super) struct Stages {
    stages: Box<[Stage]>,
    pub(super) tally: Arc<FunnelTally>,
    pub(super) visitors: Option<Arc<Recorder>>,
    /// Whether a handler's unknown stage was reported: once for a layer, not for each response.
    warned: AtomicBool,
}

/// Stages as a set, one bit for each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Set(u16);

impl Stages {
    /// As many as a [`Set`] can hold.
    const MOST_STAGES: usize = Reach::STAGES;
    /// The series that the OpenTelemetry SDK keeps of one instrument by default; all others would be lost in one.
    const MOST_SERIES: usize = 2_000;

    pub(super) fn new(
        stages: Vec<Stage>,
        countries: &Countries,
        visitors: Option<Visitors>,
    ) -> Result<Self, ConfigError> {
        if stages.len() > Self::MOST_STAGES {
            return Err(ConfigError::new(
                "stages",
                stages.len(),
                format!("at most {} stages", Self::MOST_STAGES),
            ));
        }
        for (index, stage) in stages.iter().enumerate() {
            stage.validate()?;
            for earlier in &stages[..index] {
                refuse_two_of(earlier, stage)?;
            }
        }
        // And `other`.
        let in_countries = countries.iter().count() + 1;
        let of_stages: usize = stages.iter().map(Stage::series).sum();
        if of_stages.saturating_mul(in_countries) > Self::MOST_SERIES {
            let value = format!(
                "{of_stages} (stages, each times its payment methods and `other`) times {in_countries} (countries \
                 and `other`)"
            );
            let allowed = format!("at most {} series in all", Self::MOST_SERIES);
            return Err(ConfigError::new("stages", value, allowed));
        }
        let names = stages.iter().map(|stage| stage.name.clone()).collect();
        let visitors = visitors.map(|visitors| visitors.build(names, countries));
        Ok(Self {
            visitors: visitors.transpose()?,
            tally: Arc::new(FunnelTally::new(&stages, countries)),
            stages: stages.into(),
            warned: AtomicBool::new(false),
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// The stages that a response of some status can reach here.
    pub(super) fn on(&self, method: &Method, route: &Route) -> Set {
        let stages = self.stages.iter().enumerate();
        Set(stages.fold(0, |set, (index, stage)| {
            set | (u16::from(stage.is_on(method, route)) << index)
        }))
    }

    /// Counts a response for the stage that it reached, if any.
    pub(super) fn count(
        &self,
        Set(on_route): Set,
        country: Country,
        status: StatusCode,
        said: Option<&Reached>,
        who: Option<Who>,
    ) {
        let mut stages = self.stages.iter();
        let (found, payment_method) = match said {
            None => {
                // No two stages share a route and a class.
                let found = stages.enumerate().position(|(index, stage)| {
                    on_route & (1 << index) != 0 && stage.class.contains(status)
                });
                (found, "")
            }
            Some(Reached(What::Nothing)) => return,
            Some(Reached(What::Stage {
                name,
                payment_method,
            })) => {
                let found = stages.position(|stage| *stage.name == **name);
                if found.is_none() {
                    self.warn_of(name);
                }
                let found = found.filter(|index| self.stages[*index].class.contains(status));
                (found, &**payment_method)
            }
        };
        if let Some(stage) = found {
            self.tally.count(stage, country, payment_method);
            if let (Some(visitors), Some(who)) = (&self.visitors, who) {
                visitors.note(who, stage, country);
            }
        }
    }

    #[cold]
    fn warn_of(&self, stage: &'static str) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                target: "palisade::funnel",
                event = "funnel_stage_unknown",
                stage,
                "a handler reached a stage that the funnel does not declare; it is not counted"
            );
        }
    }
}

/// A response reaches at most one stage, and a name has one meaning.
fn refuse_two_of(earlier: &Stage, stage: &Stage) -> Result<(), ConfigError> {
    if earlier.name == stage.name {
        let allowed = "a name of its own for each stage";
        return Err(ConfigError::new("stages", &stage.name, allowed));
    }
    let shared = stage
        .routes
        .iter()
        .find(|(method, template)| earlier.is_on(method, template));
    match shared {
        Some((method, template)) if earlier.class == stage.class => Err(ConfigError::new(
            format!("stages.{}.routes", stage.name),
            format_args!("{method} {template}"),
            format!(
                "a route or a status class that `{}` does not have: a response reaches one stage",
                earlier.name
            ),
        )),
        _ => Ok(()),
    }
}
