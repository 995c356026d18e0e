use std::fmt;

/// The label of a customer: recency, unless the customer is a VIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Segment {
    /// Never seen before.
    New,
    /// Last active less than 30 days ago.
    Returning,
    /// Last active 30 to under 90 days ago.
    AtRisk,
    /// Last active 90 days ago or earlier.
    Churned,
    /// Spent more than 500.00, or ordered more than five times, whenever that was.
    Vip,
}

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

impl Segment {
    /// Every segment.
    pub const ALL: [Self; 5] = [
        Self::New,
        Self::Returning,
        Self::AtRisk,
        Self::Churned,
        Self::Vip,
    ];

    /// The label's value, and the key in configuration files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Returning => "returning",
            Self::AtRisk => "at_risk",
            Self::Churned => "churned",
            Self::Vip => "vip",
        }
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
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
