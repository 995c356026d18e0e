//! What a customer is: last active how long ago, and a VIP or not.

use crate::model::Segment;

/// How long ago a customer was last active before this request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Recency {
    /// Never.
    New,
    /// Under [`Criteria::at_risk_after`](super::Criteria).
    Returning,
    /// From there to under [`Criteria::churned_after`](super::Criteria).
    AtRisk,
    /// That long or longer.
    Churned,
}

/// Both facts about a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Standing {
    /// How long ago the customer was last active.
    pub recency: Recency,
    /// Whether the customer's spend or orders make a VIP.
    pub is_vip: bool,
}

impl Standing {
    pub(super) const fn new(recency: Recency, is_vip: bool) -> Self {
        Self { recency, is_vip }
    }

    /// The two facts as one label.
    #[must_use]
    pub const fn segment(self) -> Segment {
        match self {
            Self { is_vip: true, .. } => Segment::Vip,
            Self {
                recency: Recency::New,
                ..
            } => Segment::New,
            Self {
                recency: Recency::Returning,
                ..
            } => Segment::Returning,
            Self {
                recency: Recency::AtRisk,
                ..
            } => Segment::AtRisk,
            Self {
                recency: Recency::Churned,
                ..
            } => Segment::Churned,
        }
    }
}
