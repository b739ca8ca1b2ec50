//! May a download write to the files that it finds? Only to those that are the torrent's own: a file that merely has the
//! same name is somebody's data.
//!
//! A file is taken for the torrent's if the resume data vouches for it: it says that a download was writing here (a row
//! that is not clean) and the file has its length, or that it is as the last orderly stop left it. A file without that
//! has to prove itself: at least one piece that touches it is good, or there are only zeros in it, as a reservation leaves
//! them. So that a process which is killed early finds its own files again, the row is written before the first byte is.
//!
//! In a folder that is this program's alone no file has to prove anything.
//!
//! Looks and reads only; runs on disk threads.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::error::StorageError;
use super::files::{FileStamp, FileState};
use super::record::Record;
use super::torrent::Torrent;
use crate::types::Bitfield;

/// Bytes read at a time when a file is searched for something that is not zero.
const READ_LEN: usize = 256 * 1024;

/// Files that have to prove something once it is known which pieces are good.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    /// Nobody vouches for them.
    unknown: Vec<usize>,
    /// They were complete when the resume data was written, and were changed since.
    changed: Vec<usize>,
}

impl Doubts {
    /// Compares the files with what the resume data says of them.
    ///
    /// # Errors
    /// [`StorageError::TooLong`]: whatever its pieces are, the bytes behind them are not the torrent's.
    pub(super) fn raise(
        torrent: &Torrent,
        record: Option<&Record>,
        states: &[Option<FileState>],
    ) -> Result<Self, StorageError> {
        let mut doubts = Self::default();
        let was_writing = record.is_some_and(|record| record.clean.is_none());
        let stamps = record.and_then(|record| record.clean.as_deref()).unwrap_or_default();
        let layout = &torrent.place.layout;
        for ((index, file), state) in layout.files().iter().enumerate().zip(states) {
            let Some(FileStamp { size, .. }) = state.map(|state| state.stamp).filter(|_| !file.pad) else { continue };
            if size > file.len {
                return Err(StorageError::TooLong { path: torrent.place.path(index), expected: file.len, found: size });
            }
            // A download gives every file its length before it writes.
            let vouched = was_writing && size == file.len || stamps.get(index) == Some(&state.map(|state| state.stamp));
            if size == 0 || vouched || torrent.scratch {
                continue;
            }
            doubts.unknown.push(index);
            if torrent.keep_edits
                && record.is_some_and(|record| layout.pieces_of(index).all(|p| record.have.contains(p)))
            {
                doubts.changed.push(index);
            }
        }
        Ok(doubts)
    }

    /// True if no file has to prove anything.
    pub(super) fn is_empty(&self) -> bool {
        self.unknown.is_empty()
    }

    /// Settles them, knowing which pieces are good. `cancelled` is asked now and then while a file is read.
    ///
    /// # Errors
    /// [`StorageError::Foreign`] or [`StorageError::Edited`]; [`StorageError::NotOpen`] if it was cancelled.
    pub(super) fn settle(
        &self,
        torrent: &Torrent,
        good: &Bitfield,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(), StorageError> {
        let pieces = |file: usize| torrent.place.layout.pieces_of(file);
        if let Some(file) = self.changed.iter().find(|file| !pieces(**file).all(|piece| good.contains(piece))) {
            return Err(StorageError::Edited { path: torrent.place.path(*file) });
        }
        for file in self.unknown.iter().filter(|file| !pieces(**file).any(|piece| good.contains(piece))) {
            if !is_blank(torrent, *file, cancelled)? {
                return Err(StorageError::Foreign { path: torrent.place.path(*file) });
            }
        }
        Ok(())
    }
}

/// True if there is nothing but zeros in the file. Holes and reserved space are not read.
fn is_blank(torrent: &Torrent, index: usize, cancelled: &dyn Fn() -> bool) -> Result<bool, StorageError> {
    let failed = |error: io::Error| StorageError::io(&torrent.place.path(index), "read", error);
    let file = torrent.open_file(index, false)?;
    let mut buffer = vec![0; READ_LEN];
    let mut offset = 0;
    loop {
        if cancelled() {
            return Err(StorageError::NotOpen);
        }
        offset = match next_data(&file, offset) {
            Some(offset) => offset,
            None => return Ok(true),
        };
        let read = file.read_at(&mut buffer, offset).map_err(failed)?;
        let bytes = buffer.get(..read).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(true);
        }
        if bytes.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        offset += bytes.len() as u64;
    }
}

/// Where bytes that were written go on; `None` if there are no more.
fn next_data(file: &File, offset: u64) -> Option<u64> {
    // Moves the position that the handle shares; nobody uses that.
    match rustix::fs::seek(file, SeekFrom::Data(offset)) {
        Ok(data) => Some(data),
        Err(Errno::NXIO) => None,
        // The file system cannot tell.
        Err(_) => Some(offset),
    }
}
