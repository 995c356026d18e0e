//! May the request pass.
mod key;
mod quota;
mod store;

pub use key::PartitionKey;
pub use quota::Quota;
pub use store::{Admission, Admit, Charge, Store, StoreError, StoreErrorKind, Tier, Verdict};
