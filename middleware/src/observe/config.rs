//! `[log]` of the configuration.

/// What is logged of each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LogConfig {
    /// Lines of the [access log](crate::observe::AccessLog) in a second of each class, at most 1,000 and 0 for none; where
    /// the file is silent it is `None`, and the service decides: none unless it says otherwise.
    pub access: Option<u16>,
}
