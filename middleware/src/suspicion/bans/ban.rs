use std::fmt;
use std::time::{Duration, SystemTime};

use super::Subject;
use crate::suspicion::IncidentKind;

/// A client or a user that is refused for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ban {
    /// Who is refused.
    pub subject: Subject,
    /// The reason.
    pub reason: BanReason,
    /// The moment since which it has been banned without a break, by the store's clock.
    pub since: SystemTime,
    /// The end, by the store's clock.
    pub until: SystemTime,
    /// How long the ban still lasted when the store was asked.
    pub left: Duration,
    /// How many offences the store remembers; none for one that was only banned by hand.
    pub strikes: u32,
}

/// The reason of a ban; the label `reason` of `security.bans`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BanReason {
    /// Failures of this kind.
    Incident(IncidentKind),
    /// The service said so: [`Suspicions::ban`](crate::suspicion::Suspicions::ban).
    Manual,
}

impl Ban {
    /// The longest ban by hand; a longer one is as long as this.
    pub const LONGEST: Duration = Duration::from_secs(365 * 86_400);
    /// The shortest; a shorter one is as long as this.
    pub const SHORTEST: Duration = Duration::from_millis(1);

    /// A ban as a store keeps it.
    pub(crate) fn new(
        subject: impl Into<Subject>,
        reason: BanReason,
        strikes: u32,
        [since, until, left]: [Duration; 3],
    ) -> Self {
        let time = |since_epoch| {
            let time = SystemTime::UNIX_EPOCH.checked_add(since_epoch);
            time.unwrap_or(SystemTime::UNIX_EPOCH)
        };
        Self {
            subject: subject.into(),
            reason,
            since: time(since),
            until: time(until),
            left,
            strikes,
        }
    }
}

impl BanReason {
    /// Every reason.
    pub fn all() -> impl Iterator<Item = Self> {
        let kinds = IncidentKind::ALL
            .into_iter()
            .filter(|kind| kind.names_its_client());
        kinds.map(Self::Incident).chain([Self::Manual])
    }

    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Incident(kind) => kind.as_str(),
            Self::Manual => "manual",
        }
    }

    /// The reason's place among all.
    pub(crate) const fn place(self) -> usize {
        match self {
            Self::Incident(kind) => kind as usize,
            Self::Manual => IncidentKind::ALL.len(),
        }
    }
}

impl IncidentKind {
    /// Whether an incident of the kind is its client's doing, so that the client can be banned for it.
    pub(crate) const fn names_its_client(self) -> bool {
        !self.is_of_an_account()
    }
}

impl fmt::Display for BanReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
