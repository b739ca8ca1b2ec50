//! What is remembered of a torrent from one run to the next.

use super::files::FileStamp;
use crate::types::Bitfield;

/// What is remembered of one torrent in one folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Pieces that are on disk.
    pub(super) have: Bitfield,
    /// After a clean stop: every file as it was then, `None` for one that was not there.
    pub(super) clean: Option<Vec<Option<FileStamp>>>,
    /// Some of the pieces may be gone after all: each has to be looked at.
    pub(super) doubted: bool,
}
