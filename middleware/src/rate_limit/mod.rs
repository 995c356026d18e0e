//! May the request pass.
mod key;
mod quota;
mod store;
mod tally;

pub use key::PartitionKey;
pub use quota::Quota;
pub use store::{Admission, Admit, Charge, Store, StoreError, StoreErrorKind, Tier, Verdict};
pub use tally::{Outcome, PolicyCounts, Tally};
