//! SHA-1 over pieces (BEP 3): in windows, and in files without one. Runs on disk threads.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use sha1::{Digest, Sha1};

use super::error::StorageError;
use super::layout::Span;
use super::mapping::WriteWindow;
use super::torrent::Torrent;
use crate::types::{BLOCK_LEN, PieceHash, PieceIndex};

/// Bytes read at a time: small enough to be hashed from the processor's cache, large enough to make system calls rare.
const READ_LEN: usize = 256 * 1024;

/// Zeros, for padding and for pieces that were never written.
static ZEROS: [u8; 16 * 1024] = [0; 16 * 1024];

/// Hash of the piece in this window.
pub(super) fn hash_window(window: &WriteWindow) -> Result<PieceHash, StorageError> {
    let mut hasher = Sha1::new();
    window.read_with(0..window.len(), |bytes| hasher.update(bytes))?;
    Ok(PieceHash::new(hasher.finalize().into()))
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

/// Reads and hashes pieces where they lie; keeps its buffer from piece to piece. One for each disk thread.
#[derive(Default)]
pub(super) struct PieceReader {
    buffer: Vec<u8>,
}

impl PieceReader {
    /// Hash of a piece as it is in the files. `Ok(None)` if a file is missing or too short.
    pub(super) fn hash_piece(
        &mut self,
        torrent: &Torrent,
        piece: PieceIndex,
    ) -> Result<Option<PieceHash>, StorageError> {
        let mut hasher = Sha1::new();
        for span in torrent.place.layout.spans(piece) {
            if span.pad {
                update_zeros(&mut hasher, span.len);
                continue;
            }
            let file = match torrent.open_file(span.file, false) {
                Err(StorageError::Missing { .. }) => return Ok(None),
                answer => answer?,
            };
            match self.hash_span(&file, &span, &mut hasher) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(error) => return Err(StorageError::io(&torrent.place.path(span.file), "read", error)),
            }
        }
        Ok(Some(PieceHash::new(hasher.finalize().into())))
    }

    fn hash_span(&mut self, file: &File, span: &Span, hasher: &mut Sha1) -> io::Result<()> {
        self.buffer.resize(READ_LEN, 0);
        let mut offset = span.offset;
        let mut left = span.len as usize;
        while left > 0 {
            let now = left.min(READ_LEN);
            let part = self.buffer.get_mut(..now).unwrap_or_default();
            file.read_exact_at(part, offset)?;
            hasher.update(&*part);
            offset += now as u64;
            left -= now;
        }
        Ok(())
    }

    /// Gives the memory back until the next piece.
    pub(super) fn shrink(&mut self) {
        self.buffer = Vec::new();
    }
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
