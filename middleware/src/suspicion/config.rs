//! `[suspicion]` and `[suspicion.bans]` of the configuration.

use crate::model::Exemptions;
use crate::suspicion::{BanResponse, Kind, Sentence, Threshold};

/// What failures add up to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SuspicionConfig {
    /// The kinds that are counted, and when each is suspicious.
    pub thresholds: Vec<(Kind, Threshold)>,
    /// Whose failures never count.
    pub exempt: Exemptions,
    /// Whether events name clients by a keyed hash instead of their network.
    pub hash_clients: bool,
    /// `[suspicion.bans]`; without the section, nobody is banned.
    pub bans: Option<BansConfig>,
}

/// Who is banned for what failures add up to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BansConfig {
    /// How long.
    pub sentence: Sentence,
    /// The kinds that are banned for.
    pub kinds: Vec<Kind>,
    /// What a banned client is answered.
    pub response: BanResponse,
    /// Whether bans are imposed and counted, but refuse nothing.
    pub dry_run: bool,
}

impl Default for SuspicionConfig {
    fn default() -> Self {
        Self {
            thresholds: Kind::BY_STATUS
                .map(|kind| (kind, kind.default_threshold()))
                .into(),
            exempt: Exemptions::new(),
            hash_clients: false,
            bans: None,
        }
    }
}
