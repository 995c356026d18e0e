use std::fmt;
use std::sync::Arc;

use super::recorder::Recorder;

/// What the service can ask of, and tell, the suspicion layer. Clones share it.
#[derive(Clone)]
pub struct Suspicions {
    pub(super) recorder: Arc<Recorder>,
}

impl fmt::Debug for Suspicions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suspicions")
            .field("watches", &self.recorder.watches)
            .finish_non_exhaustive()
    }
}
