//! Reads a piece in steps, whatever files it is cut into. Runs on disk threads and on those that hash whole torrents.

use std::ops::Range;

/// Where the reading of a piece has come to.
pub(super) struct Cursor<I> {
    /// What comes after `now`: indices of files, and the bytes of each that belong to the piece.
    parts: I,
    /// The file that is being read, and what is left to read of it.
    now: Option<(usize, Range<u64>)>,
}

impl<I: Iterator<Item = (usize, Range<u64>)>> Cursor<I> {
    pub(super) const fn new(parts: I) -> Self {
        Self { parts, now: None }
    }

    /// The next bytes of the piece: as many as fit, or as are left. `read` fills a buffer from an offset of a file.
    pub(super) fn fill<E>(
        &mut self,
        buffer: &mut [u8],
        mut read: impl FnMut(usize, u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<usize, E> {
        let mut filled = 0;
        while let room @ [_, ..] = buffer.get_mut(filled..).unwrap_or_default() {
            let Some((file, mut range)) = self.now.take().or_else(|| self.parts.next()) else { break };
            let len = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX).min(room.len());
            let Some(room) = room.get_mut(..len) else { break };
            read(file, range.start, room)?;
            filled += len;
            range.start += len as u64;
            self.now = Some((file, range)).filter(|(_, range)| !range.is_empty());
        }
        Ok(filled)
    }
}
