//! The layer's settings as an operator reads them.

use super::{Sentence, Suspicions, Watch};

impl Suspicions {
    /// The kinds that are counted.
    pub(crate) fn watches(&self) -> &[Watch] {
        &self.recorder.watches
    }

    /// How long bans are, and whether they refuse anybody; `None` where they are off.
    pub(crate) fn sentence(&self) -> Option<(Sentence, bool)> {
        let warden = self.recorder.warden.as_ref();
        warden.map(|warden| (warden.sentence(), warden.is_enforced()))
    }
}
