//! How a command ends when it does not succeed: one line for the user and an exit code.
//!
//! 0 done, 1 failed, 2 wrong use (command line or configuration), 3 no daemon reached.

use std::fmt::Display;
use std::io;

#[cfg(feature = "web")]
use crate::config::ConfigError;

/// A command's failure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CliError {
    /// One line that says what is wrong and how to mend it, safe to print. Empty: say nothing.
    pub message: String,
    /// The program's exit code.
    pub code: u8,
}

impl CliError {
    /// The command could not do its work (1).
    pub fn failed(message: impl Display) -> Self {
        Self { message: message.to_string(), code: 1 }
    }

    /// The command was used wrongly (2).
    pub fn usage(message: impl Display) -> Self {
        Self { message: message.to_string(), code: 2 }
    }

    /// No daemon was reached (3).
    pub fn no_daemon(message: impl Display) -> Self {
        Self { message: message.to_string(), code: 3 }
    }

    /// Whoever reads our output has seen enough (`| head`): end quietly, as if done.
    #[must_use]
    pub const fn reader_gone() -> Self {
        Self { message: String::new(), code: 0 }
    }
}

/// Errors of writing the output.
impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::reader_gone(),
            _ => Self::failed(format_args!("cannot write the output: {error}")),
        }
    }
}

#[cfg(feature = "web")]
impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::Missing { .. } | ConfigError::UnknownKey { .. } | ConfigError::Value { .. } => {
                Self::usage(error)
            }
            _ => Self::failed(error),
        }
    }
}
