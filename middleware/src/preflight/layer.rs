use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use super::service::Preflight;
use crate::ConfigError;
use crate::model::{Ask, Room, Turn};

/// Asks the store once for the layers inside of it; see the [module](crate::preflight). Clones share everything.
///
/// The default asks nothing.
#[derive(Clone, Default)]
pub struct PreflightLayer {
    asked: Arc<Layers>,
}

/// The layers that are asked.
#[derive(Default)]
pub(super) struct Layers {
    /// In the order in which they are asked; none where no two of them wait, and none must be asked before the others.
    pub(super) each: Box<[Box<dyn Ask>]>,
    /// The layer whose call proves sessions: the last one, if all those between may be asked either way.
    pub(super) proves: Option<usize>,
}

impl PreflightLayer {
    /// A layer that asks for the layers that it is given.
    pub fn builder() -> PreflightLayerBuilder {
        PreflightLayerBuilder { asked: Vec::new() }
    }

    pub(crate) fn around<S>(&self, inner: S) -> Preflight<S> {
        Preflight::new(inner, Arc::clone(&self.asked))
    }
}

impl<S> Layer<S> for PreflightLayer {
    type Service = Preflight<S>;

    fn layer(&self, inner: S) -> Preflight<S> {
        self.around(inner)
    }
}

/// The layers that a [`PreflightLayer`] asks for.
#[must_use]
pub struct PreflightLayerBuilder {
    asked: Vec<Box<dyn Ask>>,
}

impl PreflightLayerBuilder {
    /// Asks for this layer. It must stand further in, where it finds the answer in the request and acts on it.
    pub fn ask(self, layer: impl Ask) -> Self {
        self.ask_boxed(Box::new(layer))
    }

    pub(crate) fn ask_boxed(mut self, layer: Box<dyn Ask>) -> Self {
        self.asked.push(layer);
        self
    }

    /// The layer.
    ///
    /// # Errors
    /// Two layers of one room, which would take each other's answers, and bans that the limits' store does not know of.
    pub fn build(mut self) -> Result<PreflightLayer, ConfigError> {
        for (index, layer) in self.asked.iter().enumerate() {
            let room = layer.room();
            if self.asked[..index].iter().any(|other| other.room() == room) {
                let allowed = "one layer of each room";
                return Err(ConfigError::new("preflight", room, allowed));
            }
        }
        let mut places = self.asked.iter().filter_map(|layer| {
            let place = layer.bans_in()?;
            Some((layer.room(), place))
        });
        if let Some((room, place)) = places.next()
            && let Some((other, elsewhere)) = places.find(|(_, other)| *other != place)
        {
            let value = format!("{room} with {place}");
            let allowed = format!(
                "the store of {other}, {elsewhere}: the question about a ban travels in the call of the limits, so build both \
                 layers of clones of one store"
            );
            return Err(ConfigError::new("preflight", value, allowed));
        }
        let proves = self.asked.iter().any(|layer| layer.turn() == Turn::Prove);
        if !proves && self.asked.iter().filter(|layer| layer.waits()).count() < 2 {
            return Ok(PreflightLayer::default());
        }
        self.asked.sort_by_key(|layer| layer.turn());
        let proves = prover(&self.asked);
        Ok(PreflightLayer {
            asked: Arc::new(Layers {
                each: self.asked.into(),
                proves,
            }),
        })
    }
}

/// Which layer's call can prove the sessions of the first.
fn prover(asked: &[Box<dyn Ask>]) -> Option<usize> {
    let ([sessions, between @ .., limits], last) = (asked, asked.len().checked_sub(1)?) else {
        return None;
    };
    let place = sessions.sessions_in()?;
    let is_one = sessions.turn() == Turn::Prove
        && limits.sessions_in() == Some(place)
        && between.iter().all(|layer| layer.asks_either_way());
    is_one.then_some(last)
}

fn rooms(asked: &[Box<dyn Ask>]) -> Vec<&'static str> {
    asked.iter().map(|layer| layer.room()).collect()
}

impl Room for PreflightLayer {}

impl fmt::Debug for PreflightLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreflightLayer")
            .field("asked", &rooms(&self.asked.each))
            .finish()
    }
}

impl fmt::Debug for PreflightLayerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreflightLayerBuilder")
            .field("asked", &rooms(&self.asked))
            .finish()
    }
}
