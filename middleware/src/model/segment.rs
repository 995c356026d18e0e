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
