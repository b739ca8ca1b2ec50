//! More of a torrent than its state.

use crate::component::event::TorrentControl;
use crate::component::rpc::{Control as _, ControlError, Details};
use crate::types::InfoHash;

use super::DaemonControl;
use super::metrics::{self, Totals};

impl Details for DaemonControl {
    fn recheck(&self, hash: InfoHash) -> Result<(), ControlError> {
        self.change(hash, TorrentControl::Recheck)
    }

    fn metrics(&self, out: &mut String) -> Result<(), ControlError> {
        let (daemon, memory) = (self.status()?, self.memory()?);
        let totals = self.torrents.read().list.values().fold(Totals::default(), |sum, status| sum.add(status));
        metrics::write(out, &daemon, &memory, &totals);
        Ok(())
    }
}
