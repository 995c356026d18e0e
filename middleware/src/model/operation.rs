use std::fmt;

/// A kind of call to a store's server; the label `operation` of `store_operation_duration_seconds`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// One request decided under its policies.
    Admit,
    /// Failed requests counted, off the requests' path.
    Count,
    /// An account looked up for its login handler.
    Account,
    /// Bans imposed, lifted, listed or asked for, and the limits of a client forgotten.
    Ban,
    /// A visitor's stages of the funnel, off the requests' path.
    Reach,
    /// A customer's record read.
    Fetch,
    /// Changes of customers written, off the requests' path.
    Record,
    /// Upkeep of the customers' index, and the count of the population.
    Sweep,
    /// A session created, proved, listed or ended.
    Session,
    /// Whether the server can decide again, asked off the requests' path.
    Probe,
}

/// How an operation ended; the label `outcome` of `store_operation_duration_seconds`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// Answered.
    Ok,
    /// The connection failed, or the server answered with an error.
    Error,
    /// No answer within the deadline.
    Timeout,
    /// Not asked: the breaker is open.
    Rejected,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 10] = [
        Self::Admit,
        Self::Count,
        Self::Account,
        Self::Ban,
        Self::Reach,
        Self::Fetch,
        Self::Record,
        Self::Sweep,
        Self::Session,
        Self::Probe,
    ];

    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admit => "admit",
            Self::Count => "count",
            Self::Account => "account",
            Self::Ban => "ban",
            Self::Reach => "reach",
            Self::Fetch => "fetch",
            Self::Record => "record",
            Self::Sweep => "sweep",
            Self::Session => "session",
            Self::Probe => "probe",
        }
    }
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Error, Self::Timeout, Self::Rejected];

    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Rejected => "rejected",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
