//! More of a torrent than its state.

use crate::component::event::TorrentControl;
use crate::component::rpc::{ControlError, Details};
use crate::types::InfoHash;

use super::DaemonControl;

impl Details for DaemonControl {
    fn recheck(&self, hash: InfoHash) -> Result<(), ControlError> {
        self.change(hash, TorrentControl::Recheck)
    }
}
