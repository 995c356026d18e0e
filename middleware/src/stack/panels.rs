//! The panels of a stack on the live page: those of the list, and three that are fed by observers.

use std::sync::Arc;

use super::unblock_action::Unblocking;
use super::{Stack, StackBuilder};
use crate::model::panel::Panel;
use crate::observe::panel::{Feed, ObservePanel};
use crate::store::panel::{Calls, StorePanel};
use crate::suspicion::panel::{Events, SuspicionPanel};

/// The observers that feed panels.
pub(super) struct Heard {
    exchanges: Arc<Feed>,
    calls: Arc<Calls>,
    events: Arc<Events>,
}

impl Heard {
    /// Adds observers to the builder's stack, beside the user's own.
    pub(super) fn from(mut builder: StackBuilder) -> (Self, StackBuilder) {
        let heard = Self {
            exchanges: Feed::new(),
            calls: Arc::default(),
            events: Arc::default(),
        };
        #[cfg(feature = "redis")]
        {
            let calls = Arc::clone(&heard.calls);
            builder = builder.observe_store(move |_, outcome, took| calls.count(outcome, took));
        }
        let events = Arc::clone(&heard.events);
        builder = builder
            .observe(Arc::clone(&heard.exchanges))
            .observe_security(move |event| events.note(event));
        (heard, builder)
    }
}

impl Stack {
    /// The panels, in the order in which they stand on the page.
    pub(super) fn panels(&self, heard: Heard) -> Vec<Box<dyn Panel>> {
        let suspicion =
            SuspicionPanel::new(self.suspicions(), self.suspicion_tally(), heard.events);
        let mut panels: Vec<Box<dyn Panel>> = vec![
            Box::new(ObservePanel::new(heard.exchanges, suspicion.banned())),
            Box::new(StorePanel {
                calls: heard.calls,
                #[cfg(feature = "redis")]
                health: self.health.clone(),
            }),
        ];
        panels.extend(self.own_panels().into_iter().map(|panel| {
            if panel.name() == "rate_limit" {
                Box::new(Unblocking::new(panel, self.unblock()))
            } else {
                panel
            }
        }));
        panels.push(Box::new(suspicion));
        panels
    }
}
