//! Why the daemon does not start, or ends with an error. Each is one line that says what and how to mend it.

use std::io;

use crate::component::library::LibraryError;
use crate::component::rpc::RpcError;
use crate::config::ConfigError;
use crate::node::EngineError;

/// The daemon could not start, or ended with an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// The data folder, the account or the token.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The BitTorrent side: port, resume data, threads.
    #[error("BitTorrent: {0}")]
    Engine(#[from] EngineError),
    /// The list of torrents.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// The JSON-RPC interface.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// A thread or signal handler that the system refuses.
    #[error("cannot start {what}: {source}")]
    System {
        /// What it was for.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A component ends again and again.
    #[error("{what} ended {times} times within ten minutes; the log says why")]
    Unstable {
        /// Which one.
        what: &'static str,
        /// How often it was started anew.
        times: usize,
    },
}

impl DaemonError {
    /// For `map_err` on what the system may refuse.
    pub(super) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}
