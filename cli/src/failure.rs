use std::fmt;
use std::process::ExitCode;

use palisade::ConfigError;

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something about the input: exit status 1.
    Input(String),
    /// Something about the store: exit status 1.
    Store(String),
    /// Something about what is written: exit status 1.
    Output(String),
    /// A setting that cannot be used: exit status 2, as for a wrong argument.
    Setting(String),
}

impl Failure {
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Input(_) | Self::Store(_) | Self::Output(_) => ExitCode::from(1),
            Self::Setting(_) => ExitCode::from(2),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Setting(error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(why) | Self::Store(why) | Self::Output(why) | Self::Setting(why) => {
                f.write_str(why)
            }
        }
    }
}
