//! Which bytes of a piece lie where in which file (BEP 3 `files`, BEP 47 pad files).
//!
//! Pure arithmetic over a torrent's file list. It opens nothing and knows no folder: paths are relative to the folder
//! that holds the torrent's top-level name.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::types::{Geometry, PieceIndex};

/// The files do not make up the torrent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The files together are longer or shorter than the torrent.
    #[error("the files have {files} bytes, the torrent has {torrent}")]
    Size {
        /// Bytes in all files.
        files: u64,
        /// Bytes in the torrent.
        torrent: u64,
    },
    /// A path that is empty, absolute, or could lead out of the folder.
    #[error("{} is not a path inside the download folder", .0.display())]
    Path(PathBuf),
}

/// One file of a torrent, in torrent order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutFile {
    /// Path below the download folder, top-level name included. Plain names only: no root, no `..`.
    pub path: PathBuf,
    /// Length in bytes.
    pub len: u64,
    /// Padding (BEP 47): zeros that fill up to a piece boundary and exist on no disk.
    pub pad: bool,
}

/// The part of a piece that lies in one file. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Index into [`Layout::files`].
    pub file: usize,
    /// First byte, counted from the start of the file.
    pub offset: u64,
    /// First byte, counted from the start of the piece.
    pub begin: u32,
    /// Length in bytes, at least 1.
    pub len: u32,
    /// The file is padding: these bytes are zeros and on no disk.
    pub pad: bool,
}

/// A torrent's files behind each other, cut into pieces.
#[derive(Clone, Debug)]
pub struct Layout {
    geometry: Geometry,
    files: Box<[LayoutFile]>,
    /// Where each file but the first starts in the torrent, in bytes.
    starts: Box<[u64]>,
}

impl Layout {
    /// Puts the files behind each other.
    ///
    /// # Errors
    /// [`LayoutError`] if the lengths do not add up to the torrent's or a path is not a plain relative one.
    pub fn new(geometry: Geometry, files: Vec<LayoutFile>) -> Result<Self, LayoutError> {
        let mut starts = Vec::with_capacity(files.len().saturating_sub(1));
        let mut end = 0_u64;
        for (index, file) in files.iter().enumerate() {
            let plain = file.path.components().all(|part| matches!(part, Component::Normal(_)));
            if !plain || file.path.as_os_str().is_empty() {
                return Err(LayoutError::Path(file.path.clone()));
            }
            if index > 0 {
                starts.push(end);
            }
            end = end.saturating_add(file.len);
        }
        if end != geometry.total() {
            return Err(LayoutError::Size { files: end, torrent: geometry.total() });
        }
        Ok(Self { geometry, files: files.into(), starts: starts.into() })
    }

    /// The torrent's pieces.
    #[must_use]
    pub const fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// All files, pad files and empty ones included.
    #[must_use]
    pub const fn files(&self) -> &[LayoutFile] {
        &self.files
    }

    /// Where a file starts in the torrent.
    fn start(&self, file: usize) -> u64 {
        file.checked_sub(1).and_then(|before| self.starts.get(before)).copied().unwrap_or(0)
    }

    /// The spans of a piece in order. Together they are exactly the piece; empty files have none.
    pub fn spans(&self, piece: PieceIndex) -> impl Iterator<Item = Span> + '_ {
        let start = self.geometry.piece_start(piece);
        let end = start + u64::from(self.geometry.piece_len(piece));
        // The last file that starts at or before the piece; empty files before it are no matter.
        let first = self.starts.partition_point(|at| *at <= start);
        let files = self.files.iter().enumerate().skip(first).map(|(index, file)| (index, file, self.start(index)));
        files.take_while(move |(.., at)| *at < end).filter_map(move |(index, file, at)| {
            let from = start.max(at);
            let to = end.min(at + file.len);
            // Both lie inside one piece, so the differences fit.
            let len = u32::try_from(to.checked_sub(from)?).ok().filter(|len| *len > 0)?;
            let begin = u32::try_from(from - start).ok()?;
            Some(Span { file: index, offset: from - at, begin, len, pad: file.pad })
        })
    }

    /// The pieces that have bytes in this file. Empty for an empty file and for an index without file.
    pub fn pieces_of(&self, file: usize) -> impl Iterator<Item = PieceIndex> + use<> {
        let range = match (self.files.get(file), self.start(file)) {
            (Some(file), start) if file.len > 0 => {
                let last = self.geometry.piece_at(start + file.len - 1);
                self.geometry.piece_at(start).zip(last).map(|(first, last)| first.get()..last.get() + 1)
            }
            _ => None,
        };
        let geometry = self.geometry;
        range.unwrap_or(0..0).filter_map(move |piece| geometry.piece(piece))
    }
}

/// A layout in its folder.
#[derive(Debug)]
pub(super) struct Place {
    /// The folder that holds the top-level name.
    pub(super) dir: Arc<Path>,
    /// The files below it.
    pub(super) layout: Layout,
}

impl Place {
    /// Full path of a file; the folder itself for an index without file.
    pub(super) fn path(&self, file: usize) -> PathBuf {
        self.layout.files().get(file).map_or_else(|| self.dir.to_path_buf(), |file| self.dir.join(&file.path))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn layout(piece_length: u64, lens: &[(u64, bool)]) -> Layout {
        let file = |(index, (len, pad)): (usize, &(u64, bool))| LayoutFile {
            path: format!("t/{index}").into(),
            len: *len,
            pad: *pad,
        };
        let total = lens.iter().map(|(len, _)| len).sum();
        Layout::new(Geometry::new(total, piece_length).unwrap(), lens.iter().enumerate().map(file).collect()).unwrap()
    }

    #[test]
    fn a_piece_spans_files_and_skips_empty_ones() {
        let layout = layout(10, &[(0, false), (4, false), (0, false), (3, true), (8, false), (0, false)]);
        let piece = |raw| layout.spans(layout.geometry().piece(raw).unwrap()).collect::<Vec<_>>();
        assert_eq!(
            piece(0),
            [
                Span { file: 1, offset: 0, begin: 0, len: 4, pad: false },
                Span { file: 3, offset: 0, begin: 4, len: 3, pad: true },
                Span { file: 4, offset: 0, begin: 7, len: 3, pad: false },
            ]
        );
        assert_eq!(piece(1), [Span { file: 4, offset: 3, begin: 0, len: 5, pad: false }]);
    }

    #[test]
    fn a_file_knows_its_pieces() {
        let layout = layout(10, &[(0, false), (25, false), (5, false)]);
        let pieces = |file| layout.pieces_of(file).map(PieceIndex::get).collect::<Vec<_>>();
        assert_eq!(pieces(0), [] as [u32; 0]);
        assert_eq!(pieces(1), [0, 1, 2]);
        assert_eq!(pieces(2), [2]);
        assert_eq!(pieces(3), [] as [u32; 0]);
    }

    #[test]
    fn paths_that_lead_out_of_the_folder_are_refused() {
        for path in ["", "/etc/passwd", "../x", "a/../../x", "."] {
            let file = LayoutFile { path: path.into(), len: 1, pad: false };
            let refused = Layout::new(Geometry::new(1, 1).unwrap(), vec![file]);
            assert!(matches!(refused, Err(LayoutError::Path(_))), "{path:?}");
        }
        let short = LayoutFile { path: "a".into(), len: 1, pad: false };
        let refused = Layout::new(Geometry::new(2, 1).unwrap(), vec![short]);
        assert_eq!(refused.unwrap_err(), LayoutError::Size { files: 1, torrent: 2 });
    }

    proptest! {
        #[test]
        fn spans_cover_every_byte_once(
            lens in prop::collection::vec((0_u64..40, any::<bool>()), 1..20),
            piece_length in 1_u64..50,
        ) {
            let layout = layout(piece_length, &lens);
            let mut next = vec![0_u64; lens.len()];
            for piece in layout.geometry().pieces() {
                let mut begin = 0;
                for span in layout.spans(piece) {
                    prop_assert_eq!(span.begin, begin);
                    prop_assert_eq!(span.offset, next[span.file]);
                    begin += span.len;
                    next[span.file] += u64::from(span.len);
                }
                prop_assert_eq!(begin, layout.geometry().piece_len(piece));
            }
            prop_assert_eq!(next, lens.iter().map(|(len, _)| *len).collect::<Vec<_>>());
        }
    }
}
