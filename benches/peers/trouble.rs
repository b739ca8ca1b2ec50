//! What goes wrong while measuring: one line that says what. One client's trouble never ends the run.

use std::fmt::Display;
use std::io;

/// Why a measurement has no result.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The client has no way to do this, so nothing was tried.
    #[error("{0}")]
    CannotDo(&'static str),
    /// It was tried and did not work.
    #[error("{0}")]
    Failed(String),
    /// Somebody pressed Ctrl-C: everything is cleaned up and the run ends.
    #[error("interrupted")]
    Interrupted,
}

impl Trouble {
    /// A failure, in words.
    pub fn failed(what: impl Display) -> Self {
        Self::Failed(what.to_string())
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::failed(error)
    }
}
