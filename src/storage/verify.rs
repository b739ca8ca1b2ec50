//! SHA-1 over pieces (BEP 3): in windows, and in files without one. Runs on disk threads.

use std::io;
use std::os::unix::fs::FileExt;

use sha1::{Digest, Sha1};

use super::cursor::Cursor;
use super::error::StorageError;
use super::mapping::WriteWindow;
use super::sha1_pair::{Pair, hash_both};
use super::torrent::Torrent;
use crate::types::{BLOCK_LEN, PieceHash, PieceIndex};

/// Bytes read at a time: small enough to be hashed from the processor's cache, large enough to make system calls rare.
const READ_LEN: usize = 256 * 1024;

/// Zeros, for padding and for pieces that were never written. They are part of the program's file: not too many.
static ZEROS: [u8; 1024] = [0; 1024];

/// Hash of the piece in this window.
pub(super) fn hash_window(window: &WriteWindow) -> Result<PieceHash, StorageError> {
    let mut hasher = Sha1::new();
    window.read_with(0..window.len(), |bytes| hasher.update(bytes))?;
    Ok(PieceHash::new(hasher.finalize().into()))
}

/// Hashes of the pieces in two windows, at once.
pub(super) fn hash_windows(windows: [&WriteWindow; 2]) -> [Result<PieceHash, StorageError>; 2] {
    let mut pair = Pair::default();
    let mut parts = windows.map(WriteWindow::slices);
    let mut rests: [&[u8]; 2] = [&[], &[]];
    loop {
        for (rest, parts) in rests.iter_mut().zip(&mut parts).filter(|(rest, _)| rest.is_empty()) {
            *rest = parts.next().unwrap_or_default();
        }
        // As far as both go; once one has ended, what the other has left.
        let both = match (rests[0].len(), rests[1].len()) {
            (0, len) | (len, 0) => len,
            (left, right) => left.min(right),
        };
        if both == 0 {
            break;
        }
        let [left, right] = rests.each_mut().map(|rest| {
            let (now, later) = rest.split_at(both.min(rest.len()));
            *rest = later;
            now
        });
        pair.update(left, right);
    }
    drop(parts);
    let [left, right] = pair.finish().map(PieceHash::new);
    [windows[0].still_there().map(|()| left), windows[1].still_there().map(|()| right)]
}

/// First 8 bytes of each block's SHA-1: enough to see which blocks of two attempts differ, since nobody gains by
/// forging it.
pub(super) fn block_digests(window: &WriteWindow) -> Result<Vec<u64>, StorageError> {
    let begins = (0..window.len()).step_by(BLOCK_LEN as usize);
    begins
        .map(|begin| {
            let end = begin.saturating_add(BLOCK_LEN).min(window.len());
            let mut hasher = Sha1::new();
            window.read_with(begin..end, |bytes| hasher.update(bytes))?;
            let hash: [u8; 20] = hasher.finalize().into();
            Ok(hash.first_chunk().map_or(0, |start| u64::from_be_bytes(*start)))
        })
        .collect()
}

/// Hash of a piece of `len` zeros.
pub(super) fn hash_zeros(len: u32) -> PieceHash {
    let mut hasher = Sha1::new();
    update_zeros(&mut hasher, len);
    PieceHash::new(hasher.finalize().into())
}

fn update_zeros(hasher: &mut Sha1, len: u32) {
    let mut left = len as usize;
    while left > 0 {
        let zeros = ZEROS.get(..left.min(ZEROS.len())).unwrap_or(&ZEROS);
        hasher.update(zeros);
        left -= zeros.len();
    }
}

/// Reads and hashes pieces where they lie; keeps its buffers from piece to piece. One for each disk thread.
#[derive(Default)]
pub(super) struct PieceReader {
    buffers: [Vec<u8>; 2],
}

impl PieceReader {
    /// Hashes of one or two pieces as they are in the files. `None` for one whose file is missing or too short.
    pub(super) fn hash_pieces(
        &mut self,
        torrent: &Torrent,
        pieces: [Option<PieceIndex>; 2],
    ) -> [Result<Option<PieceHash>, StorageError>; 2] {
        for (buffer, piece) in self.buffers.iter_mut().zip(pieces) {
            buffer.resize(if piece.is_some() { READ_LEN } else { 1 }, 0);
        }
        let parts = |piece| {
            let spans = torrent.place.layout.spans(piece);
            spans.map(|span| (span.file, span.offset..span.offset + u64::from(span.len)))
        };
        let mut cursors = pieces.map(|piece| piece.map(|piece| Cursor::new(parts(piece))));
        let fill = |lane: usize, buffer: &mut [u8]| match cursors.get_mut(lane) {
            Some(Some(cursor)) => cursor.fill(buffer, |file, offset, room| read(torrent, file, offset, room)),
            _ => Ok(0),
        };
        hash_both(&mut self.buffers, fill).map(|hash| match hash {
            Ok(hash) => Ok(Some(PieceHash::new(hash))),
            Err(StorageError::Missing { .. } | StorageError::TooShort { .. }) => Ok(None),
            Err(error) => Err(error),
        })
    }

    /// Gives the memory back until the next piece.
    pub(super) fn shrink(&mut self) {
        self.buffers = Default::default();
    }
}

fn read(torrent: &Torrent, file: usize, offset: u64, room: &mut [u8]) -> Result<(), StorageError> {
    if torrent.place.layout.files().get(file).is_some_and(|file| file.pad) {
        room.fill(0);
        return Ok(());
    }
    torrent.open_file(file, false)?.read_exact_at(room, offset).map_err(|error| {
        let path = torrent.place.path(file);
        match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                StorageError::TooShort { path, expected: offset + room.len() as u64, found: offset }
            }
            _ => StorageError::io(&path, "read", error),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_hash_like_zeros() {
        for len in [0, 1, 16 * 1024, 50_001] {
            let expected: [u8; 20] = Sha1::digest(vec![0; len as usize]).into();
            assert_eq!(hash_zeros(len), PieceHash::new(expected), "{len}");
        }
    }
}
