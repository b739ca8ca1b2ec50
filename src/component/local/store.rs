//! Whom the user accepts, in memory and on disk. A list that cannot be used costs a warning and the memory.

use std::path::Path;

use crate::share::{Accepted, Fingerprint, Neighbors, Verdict};
use crate::storage::{NeighborList, NeighborRow, StorageError};

pub(super) struct Store {
    pub(super) neighbors: Neighbors,
    list: Option<NeighborList>,
}

impl Store {
    pub(super) fn open(path: &Path) -> Self {
        let list = NeighborList::open(path).map_err(warn).ok();
        let rows = list.as_ref().and_then(|list| list.all().map_err(warn).ok()).unwrap_or_default();
        let accepted = |row: NeighborRow| {
            let fingerprint = Fingerprint::new(row.fingerprint);
            Accepted { name: row.name, fingerprint, mutual: row.mutual }
        };
        Self { neighbors: Neighbors::new(rows.into_iter().map(accepted)), list }
    }

    /// See [`Neighbors::judge`].
    pub(super) fn judge(&mut self, name: &str, fingerprint: Fingerprint) -> Verdict {
        let verdict = self.neighbors.judge(name, fingerprint);
        if verdict == Verdict::Renamed {
            self.keep(&fingerprint);
        }
        verdict
    }

    /// See [`Neighbors::accept`].
    pub(super) fn accept(&mut self, name: &str, fingerprint: Fingerprint) -> bool {
        let accepted = self.neighbors.accept(name, fingerprint);
        self.keep(&fingerprint);
        accepted
    }

    /// See [`Neighbors::remove`].
    pub(super) fn remove(&mut self, name: &str) -> Option<Accepted> {
        let removed = self.neighbors.remove(name)?;
        self.with(|list| list.remove(removed.fingerprint.as_bytes()));
        Some(removed)
    }

    /// See [`Neighbors::set_mutual`].
    pub(super) fn set_mutual(&mut self, fingerprint: &Fingerprint, mutual: bool) {
        if self.neighbors.set_mutual(fingerprint, mutual) {
            self.keep(fingerprint);
        }
    }

    fn keep(&self, fingerprint: &Fingerprint) {
        let Some(known) = self.neighbors.get(fingerprint) else { return };
        let row = NeighborRow { fingerprint: *fingerprint.as_bytes(), name: known.name.clone(), mutual: known.mutual };
        self.with(|list| list.put(&row));
    }

    fn with(&self, work: impl FnOnce(&NeighborList) -> Result<(), StorageError>) {
        let _ = self.list.as_ref().map(work).transpose().map_err(warn);
    }
}

#[expect(clippy::needless_pass_by_value, reason = "an error is handed over")]
fn warn(error: StorageError) {
    log::warn!("what is known of neighbours cannot be used: {error}");
}
