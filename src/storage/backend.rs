//! The ways from memory to files and back, behind one trait.
//!
//! *Mapped*: a window is made of mappings of the files, so what is received is in the file at once, and a verified piece
//! needs no further step. *Positional*: a window is a buffer that is used again and again; only a piece that proved
//! good is written, with one call for each file. *Mixed*, what is measured to be fastest: received like positional,
//! since a fresh page of a file costs more than the copy into it; served like mapped, since pages that are there
//! already can be sent without a copy. Mapping pays off for large spans only; where a piece is cut into many small
//! ones, or cannot be mapped, a buffer serves.
//!
//! Runs on disk threads.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::error::StorageError;
use super::files::Space;
use super::layout::Span;
use super::mapping::{BufferPool, MapError, ReadWindow, Segment, WriteWindow};
use super::torrent::Torrent;
use crate::types::PieceIndex;

/// Most files in one mapped piece; each costs several system calls.
const MAX_MAPPED_SPANS: usize = 8;

/// Smallest span that is mapped, in bytes. Below, copying is cheaper than changing the page tables.
const MIN_MAPPED_SPAN: u32 = 64 * 1024;

/// Moves pieces between memory and files.
pub(super) trait Backend: Send + Sync {
    /// Room for a piece that is about to be received, resident in memory.
    fn open_window(&self, torrent: &Torrent, piece: PieceIndex) -> Result<WriteWindow, StorageError>;

    /// Sees to it that a verified piece is in its files (not: on the disk). Answers with its memory if that is worth
    /// keeping.
    fn store(
        &self,
        torrent: &Torrent,
        piece: PieceIndex,
        window: WriteWindow,
    ) -> Result<Option<ReadWindow>, StorageError> {
        if window.is_buffered() {
            write(torrent, piece, &window)?;
        }
        Ok(self.keeps_received().then(|| window.into_read()))
    }

    /// The same without waiting for anything, if that is possible; for the reactor thread.
    fn ready_window(&self, _torrent: &Torrent, _piece: PieceIndex) -> Option<WriteWindow> {
        None
    }

    /// When the files must have their disk space.
    fn space(&self) -> Space {
        Space::Later
    }

    /// Whether the memory that a piece was received into is worth keeping for those who ask for the piece.
    fn keeps_received(&self) -> bool;

    /// A piece that is in its files, in memory.
    fn populate(&self, torrent: &Torrent, piece: PieceIndex) -> Result<ReadWindow, StorageError>;
}

/// `pread` and `pwrite`.
#[derive(Clone)]
pub(super) struct Positional {
    pool: BufferPool,
}

/// Mappings of the files.
pub(super) struct Mapped {
    positional: Positional,
}

/// Positional for what is received, mapped for what is served.
pub(super) struct Mixed(Mapped);

impl Positional {
    pub(super) const fn new(pool: BufferPool) -> Self {
        Self { pool }
    }
}

impl Mixed {
    pub(super) const fn new(pool: BufferPool) -> Self {
        Self(Mapped::new(pool))
    }
}

impl Mapped {
    pub(super) const fn new(pool: BufferPool) -> Self {
        Self { positional: Positional::new(pool) }
    }

    /// Maps a piece. `Ok(None)` if a buffer suits it better.
    fn map(&self, torrent: &Torrent, piece: PieceIndex, write: bool) -> Result<Option<WriteWindow>, StorageError> {
        let spans: Vec<Span> = torrent.place.layout.spans(piece).take(MAX_MAPPED_SPANS + 1).collect();
        let suits = |span: &Span| span.pad || span.len >= MIN_MAPPED_SPAN;
        if spans.len() > MAX_MAPPED_SPANS || !spans.iter().all(suits) {
            return Ok(None);
        }
        let mut segments = Vec::with_capacity(spans.len());
        for span in &spans {
            if span.pad {
                let zeros = Segment::zeros(&self.positional.pool, span);
                segments.push(zeros.map_err(|error| no_memory(torrent, error))?);
                continue;
            }
            let file = torrent.open_file(span.file, write)?;
            check_len(torrent, &file, span)?;
            match Segment::map(&file, span, write) {
                Ok(segment) => segments.push(segment),
                Err(MapError::Unsuitable) => return Ok(None),
                Err(MapError::Populate(error)) => return Err(not_resident(torrent, &file, span, error)),
            }
        }
        Ok(Some(WriteWindow::mapped(&torrent.place, segments)))
    }
}

impl Backend for Mapped {
    fn open_window(&self, torrent: &Torrent, piece: PieceIndex) -> Result<WriteWindow, StorageError> {
        match self.map(torrent, piece, true)? {
            Some(window) => Ok(window),
            None => self.positional.open_window(torrent, piece),
        }
    }

    fn space(&self) -> Space {
        Space::First
    }

    fn keeps_received(&self) -> bool {
        true
    }

    fn populate(&self, torrent: &Torrent, piece: PieceIndex) -> Result<ReadWindow, StorageError> {
        match self.map(torrent, piece, false)? {
            Some(window) => Ok(window.into_read()),
            None => self.positional.populate(torrent, piece),
        }
    }
}

impl Backend for Positional {
    fn open_window(&self, torrent: &Torrent, piece: PieceIndex) -> Result<WriteWindow, StorageError> {
        let layout = &torrent.place.layout;
        let len = layout.geometry().piece_len(piece);
        let window = WriteWindow::buffered(&self.pool, &torrent.place, len, layout.spans(piece));
        window.map_err(|error| no_memory(torrent, error))
    }

    fn ready_window(&self, torrent: &Torrent, piece: PieceIndex) -> Option<WriteWindow> {
        let layout = &torrent.place.layout;
        let len = layout.geometry().piece_len(piece);
        WriteWindow::buffered_idle(&self.pool, &torrent.place, len, layout.spans(piece))
    }

    fn keeps_received(&self) -> bool {
        true
    }

    fn populate(&self, torrent: &Torrent, piece: PieceIndex) -> Result<ReadWindow, StorageError> {
        let mut window = self.open_window(torrent, piece)?;
        for span in torrent.place.layout.spans(piece).filter(|span| !span.pad) {
            let file = torrent.open_file(span.file, false)?;
            let bytes = window.buffer_mut(span.begin..span.begin + span.len).unwrap_or_default();
            if let Err(error) = file.read_exact_at(bytes, span.offset) {
                check_len(torrent, &file, &span)?;
                return Err(StorageError::io(&torrent.place.path(span.file), "read", error));
            }
        }
        Ok(window.into_read())
    }
}

impl Backend for Mixed {
    fn open_window(&self, torrent: &Torrent, piece: PieceIndex) -> Result<WriteWindow, StorageError> {
        self.0.positional.open_window(torrent, piece)
    }

    fn ready_window(&self, torrent: &Torrent, piece: PieceIndex) -> Option<WriteWindow> {
        self.0.positional.ready_window(torrent, piece)
    }

    fn keeps_received(&self) -> bool {
        false // The buffer is wanted for the next piece: who asks for this one gets the pages of the file.
    }

    fn populate(&self, torrent: &Torrent, piece: PieceIndex) -> Result<ReadWindow, StorageError> {
        self.0.populate(torrent, piece)
    }
}

/// Writes a buffered piece to its files.
fn write(torrent: &Torrent, piece: PieceIndex, window: &WriteWindow) -> Result<(), StorageError> {
    for span in torrent.place.layout.spans(piece).filter(|span| !span.pad) {
        let file = torrent.open_file(span.file, true)?;
        check_end(torrent, &file, &span)?;
        let mut written = Ok(());
        let mut offset = span.offset;
        window.read_with(span.begin..span.begin + span.len, |bytes| {
            if written.is_ok() {
                written = file.write_all_at(bytes, offset);
                offset += bytes.len() as u64;
            }
        })?;
        written.map_err(|error| not_written(torrent, &span, error))?;
    }
    Ok(())
}

/// True for file systems on which mapping is asking for trouble: the bytes are on another machine, or in another
/// process, which may take its time or change them without our page tables knowing.
pub(super) fn is_remote(dir: &Path) -> bool {
    // Type numbers of NFS, SMB (three), 9P and FUSE: statfs(2).
    is_one_of(dir, &[0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42, 0x0102_1997, 0x6573_5546])
}

/// True for file systems without a disk.
pub(super) fn is_in_memory(dir: &Path) -> bool {
    // Type numbers of tmpfs and ramfs: statfs(2).
    is_one_of(dir, &[0x0102_1994, 0x8584_58f6])
}

fn is_one_of(dir: &Path, types: &[u64]) -> bool {
    // A 32-bit type with the top bit set may come sign-extended.
    rustix::fs::statfs(dir).is_ok_and(|disk| types.contains(&(disk.f_type.cast_unsigned() & 0xffff_ffff)))
}

/// Writing makes a file that was cut short longer again, with a hole where verified pieces were. Only what ends the file
/// can make it whole, and with that look as if nothing had happened; so only then is it looked at first. Otherwise it stays
/// too short, which `Torrent::check_cut` finds before anything is committed.
fn check_end(torrent: &Torrent, file: &File, span: &Span) -> Result<(), StorageError> {
    let whole = torrent.place.layout.files().get(span.file).map_or(0, |file| file.len);
    if span.offset + u64::from(span.len) < whole { Ok(()) } else { check_file(torrent, file, span.file, whole) }
}

fn check_len(torrent: &Torrent, file: &File, span: &Span) -> Result<(), StorageError> {
    check_file(torrent, file, span.file, span.offset + u64::from(span.len))
}

fn check_file(torrent: &Torrent, file: &File, index: usize, expected: u64) -> Result<(), StorageError> {
    let path = || torrent.place.path(index);
    let found = file.metadata().map_err(|error| StorageError::io(&path(), "look at", error))?.len();
    if found < expected { Err(StorageError::TooShort { path: path(), expected, found }) } else { Ok(()) }
}

/// Why pages could not be made resident. The kernel answers `EFAULT` for all reasons, so look for the likely ones.
fn not_resident(torrent: &Torrent, file: &File, span: &Span, error: io::Error) -> StorageError {
    if let Err(short) = check_len(torrent, file, span) {
        return short;
    }
    let path = torrent.place.path(span.file);
    let missing = u64::from(span.len);
    match rustix::fs::fstatvfs(file) {
        Ok(disk) if disk.f_bavail.saturating_mul(disk.f_frsize) < missing => StorageError::DiskFull { path, missing },
        _ => StorageError::io(&path, "map", error),
    }
}

fn not_written(torrent: &Torrent, span: &Span, error: io::Error) -> StorageError {
    match StorageError::io(&torrent.place.path(span.file), "write", error) {
        StorageError::DiskFull { path, .. } => StorageError::DiskFull { path, missing: u64::from(span.len) },
        other => other,
    }
}

fn no_memory(torrent: &Torrent, source: io::Error) -> StorageError {
    StorageError::Io { path: torrent.place.dir.to_path_buf(), action: "get memory for a piece of", source }
}
