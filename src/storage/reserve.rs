//! Reserving disk space behind a download that has begun: a file that gets its place in one go is not fragmented, and a
//! disk that is too small is noticed before it is full. A slice at a time, on disk threads, with other slow jobs in
//! between. Files never become longer here, and what is written in the meantime keeps its place.
//!
//! Not for mappings of files: those need their space before the first byte (`files::make`).

use std::sync::atomic::Ordering;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::error::StorageError;
use super::files::{self, FileState};
use super::resume::ResumeDb;
use super::torrent::Torrent;

/// Bytes reserved before other jobs get their turn; also what may be taken from a disk that turns out to be too small.
const SLICE: u64 = 64 * 1024 * 1024;

/// Files looked at before other jobs get their turn.
const FILES: usize = 64;

/// How far it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reservation {
    file: usize,
    offset: u64,
}

impl Reservation {
    /// Reserves a slice. Answers with what is left to do.
    pub(super) fn go_on(self, torrent: &Torrent, resume: Option<&ResumeDb>) -> Result<Option<Self>, StorageError> {
        if torrent.opened().is_ok() && torrent.is_complete() {
            return Ok(None);
        }
        let files = torrent.place.layout.files();
        let mut left = SLICE;
        let mut at = self;
        for _ in 0..FILES {
            let Some(file) = files.get(at.file) else { return Ok(None) };
            if torrent.closing.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let end = file.len.min(at.offset.saturating_add(left));
            if !file.pad && at.offset < end && !reserve(torrent, resume, at, end)? {
                return Ok(None);
            }
            left -= end.saturating_sub(at.offset);
            at.offset = end;
            if end >= file.len {
                at = Self { file: at.file + 1, offset: 0 };
            }
            if left == 0 {
                break;
            }
        }
        Ok(Some(at))
    }
}

/// Reserves a file's bytes from where `at` is to `end`. False if the file system cannot.
fn reserve(torrent: &Torrent, resume: Option<&ResumeDb>, at: Reservation, end: u64) -> Result<bool, StorageError> {
    let path = || torrent.place.path(at.file);
    let file = torrent.open_file(at.file, true)?;
    let state = file.metadata().map_err(|error| StorageError::io(&path(), "look at", error))?;
    let state = FileState::of(&state);
    let whole = torrent.place.layout.files().get(at.file).map_or(0, |file| file.len);
    if state.stamp.size < whole || state.allocated >= whole {
        return Ok(true); // Nothing to do; or somebody cut it short, which the next commit finds out.
    }
    let full = || StorageError::DiskFull { path: path(), missing: whole.saturating_sub(state.allocated) };
    // Not to take the last bytes in vain. That the slice may be there already matters only on a disk as good as full.
    let free = rustix::fs::fstatvfs(&file).ok().and_then(|disk| files::free_bytes(&disk));
    if free.is_some_and(|free| free < whole.saturating_sub(state.allocated).min(end - at.offset)) {
        return Err(full());
    }
    torrent.will_write(resume)?; // The file's time of change may move.
    files::allocate(&file, FallocateFlags::KEEP_SIZE, at.offset..end).map_err(|errno| match errno {
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => full(),
        errno => StorageError::io(&path(), "reserve space for", errno.into()),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::storage::files::{FileCache, Space};
    use crate::storage::layout::{Layout, LayoutFile, Place};
    use crate::storage::{CheckMode, Writing};
    use crate::types::{Geometry, InfoHash, PieceHashes, TorrentKey};

    fn torrent(dir: &Path, lens: [u64; 2]) -> Torrent {
        let geometry = Geometry::new(lens.iter().sum(), 1 << 20).unwrap();
        let file = |(name, len): (&str, u64)| LayoutFile { path: name.into(), len, pad: false };
        let layout = Layout::new(geometry, ["a", "b"].into_iter().zip(lens).map(file).collect()).unwrap();
        let place = Place { dir: dir.into(), layout };
        let mode = (CheckMode::TrustResume, Writing::Repair);
        let files = Arc::new(FileCache::new());
        let torrent =
            Torrent::new(TorrentKey(1), InfoHash::new([1; 20]), place, PieceHashes::from_iter([]), mode, files);
        files::make(&torrent.place, &[None, None], Space::Later, &|| false).unwrap();
        torrent
    }

    #[test]
    fn space_is_reserved_in_slices_and_no_file_grows() {
        let dir = tempfile::tempdir().unwrap();
        let lens = [SLICE / 2 + 5000, SLICE / 2 + 5000];
        let torrent = torrent(dir.path(), lens);
        let allocated = || torrent.look().iter().flatten().map(|state| state.allocated).sum::<u64>();
        assert!(allocated() < SLICE / 2, "made, and not reserved");
        let Some(rest) = Reservation::default().go_on(&torrent, None).unwrap().filter(|rest| rest.file == 1) else {
            println!("skipped: this file system cannot reserve space");
            return;
        };
        assert!((SLICE..SLICE + (1 << 20)).contains(&allocated()));
        torrent.open_file(1, true).unwrap().set_len(SLICE / 4).unwrap();
        assert!(rest.go_on(&torrent, None).unwrap().is_none());
        let sizes: Vec<u64> = torrent.look().iter().flatten().map(|state| state.stamp.size).collect();
        assert_eq!(sizes, [lens[0], SLICE / 4], "what somebody cut short stays short");
    }

    #[test]
    fn a_torrent_that_is_being_closed_reserves_nothing_more() {
        let dir = tempfile::tempdir().unwrap();
        let torrent = torrent(dir.path(), [1 << 20, 1 << 20]);
        torrent.defer_close(crate::storage::Ending::Clean);
        assert!(Reservation::default().go_on(&torrent, None).unwrap().is_none());
        assert!(torrent.look().iter().flatten().all(|state| state.allocated < 1 << 20));
    }
}
