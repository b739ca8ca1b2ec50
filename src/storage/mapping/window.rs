//! One piece in memory: a [`WriteWindow`] while it is received, a [`ReadWindow`] once it is verified.
//!
//! A window is made of segments: one mapping for each file that the piece lies in, or one buffer for all of it. Disk
//! threads make and drop windows; the reactor thread copies into the one and sends from the other. The types are the
//! lock: writing needs `&mut` of a value that is not `Clone`, and a [`ReadWindow`] is made only by giving that value up.

use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, ptr, slice};

use memmap2::{Advice, MmapOptions, MmapRaw};

use super::buffer::{Buffer, BufferPool};
use super::guard::Registration;
use crate::storage::StorageError;
use crate::storage::layout::{Place, Span};

/// Room for one piece that is being received. It has one owner; see [`Job::OpenWindow`](crate::storage::Job).
pub struct WriteWindow(Window);

/// A verified piece in memory. Clones share it; it is unmapped with the last one.
#[derive(Clone)]
pub struct ReadWindow(Arc<Window>);

struct Window {
    place: Arc<Place>,
    /// In the order of the piece, without gaps.
    segments: Box<[Segment]>,
    len: u32,
    /// The bytes are in a buffer and not yet (or not at all) in the files.
    buffered: bool,
}

/// A run of bytes of a piece that lies in one mapping.
pub(in crate::storage) struct Segment {
    /// First byte, counted from the start of the piece.
    begin: u32,
    len: u32,
    memory: Memory,
}

enum Memory {
    /// Declared first, dropped first: the handler must not know a range that is unmapped.
    File {
        registration: Registration,
        map: MmapRaw,
        file: usize,
    },
    Buffer(Buffer),
}

/// Why a file could not be mapped.
#[derive(Debug)]
pub(in crate::storage) enum MapError {
    /// It cannot be mapped at all, or there are too many mappings: a buffer does as well.
    Unsuitable,
    /// The pages could not be made resident: the file is too short or the disk is full or failing.
    Populate(io::Error),
}

impl Segment {
    /// Maps a span of a file and makes it resident: for writing, so that later writes never wait, or for reading.
    pub(in crate::storage) fn map(file: &File, span: &Span, writable: bool) -> Result<Self, MapError> {
        let len = usize::try_from(span.len).map_err(|_| MapError::Unsuitable)?;
        let mut options = MmapOptions::new();
        options.offset(span.offset).len(len);
        let map = if writable { options.map_raw(file) } else { options.map_raw_read_only(file) };
        let map = map.map_err(|_| MapError::Unsuitable)?;
        let page = page_size();
        let first = map.as_ptr().addr() / page * page;
        let end = (map.as_ptr().addr() + len).next_multiple_of(page);
        let registration = Registration::new(first, end - first).ok_or(MapError::Unsuitable)?;
        // Without this, faults read ahead beyond the window, and what was read counts as written data in the next
        // open's search for it. A kernel that does not know the advice loses nothing else.
        let _ = map.advise(Advice::Random);
        if !writable {
            // It also turns off the reading ahead inside the window, page by page from the disk then; so all of it is
            // asked for at once. Measured on pages that were not in memory: 3 MiB/s without, 600 with.
            let _ = map.advise(Advice::WillNeed);
        }
        let memory = Memory::File { registration, map, file: span.file };
        let segment = Self { begin: span.begin, len: span.len, memory };
        segment.populate(writable).map_err(MapError::Populate)?;
        Ok(segment)
    }

    /// Memory for a span that is in no file.
    pub(in crate::storage) fn zeros(pool: &BufferPool, span: &Span) -> io::Result<Self> {
        let segment = Self::buffer(pool, span.begin, span.len)?;
        segment.clear(0..span.len);
        Ok(segment)
    }

    fn buffer(pool: &BufferPool, begin: u32, len: u32) -> io::Result<Self> {
        Ok(Self::of(pool.take(len as usize)?, begin, len))
    }

    const fn of(buffer: Buffer, begin: u32, len: u32) -> Self {
        Self { begin, len, memory: Memory::Buffer(buffer) }
    }

    fn populate(&self, writable: bool) -> io::Result<()> {
        let Memory::File { registration, map, .. } = &self.memory else { return Ok(()) };
        let advice = if writable { Advice::PopulateWrite } else { Advice::PopulateRead };
        match map.advise(advice) {
            // Linux before 5.14.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => self.touch(writable),
            answer => return answer,
        }
        if registration.is_lost() { Err(io::Error::from_raw_os_error(libc::EFAULT)) } else { Ok(()) }
    }

    /// Reads one byte of each page, or reads it and writes it back.
    fn touch(&self, writable: bool) {
        for at in (0..self.len as usize).step_by(page_size()).chain([self.len as usize - 1]) {
            // SAFETY: `at` is below `len`, so inside the live mapping; nobody else has the segment yet. Should the page
            // be gone, the guard puts another one there.
            unsafe {
                let byte = self.as_ptr().add(at);
                let value = ptr::read_volatile(byte);
                if writable {
                    ptr::write_volatile(byte, value);
                }
            }
        }
    }

    fn as_ptr(&self) -> *mut u8 {
        match &self.memory {
            Memory::File { map, .. } => map.as_mut_ptr(),
            Memory::Buffer(buffer) => buffer.as_ptr(),
        }
    }

    /// The part of `range` (in bytes of the piece) that lies here, as bytes of the segment. May be empty.
    fn overlap(&self, range: &Range<u32>) -> Range<usize> {
        let from = range.start.clamp(self.begin, self.begin + self.len) - self.begin;
        let to = range.end.clamp(self.begin, self.begin + self.len) - self.begin;
        from as usize..to as usize
    }

    /// A range of the segment that [`Segment::overlap`] made.
    fn slice(&self, range: Range<usize>) -> &[u8] {
        debug_assert!(range.start <= range.end && range.end <= self.len as usize);
        // SAFETY: `overlap` made the range, so it lies inside the segment, whose memory is mapped and initialised as
        // long as `self` lives. No `&mut` to these bytes exists anywhere: writes copy through pointers, and only the
        // one owner of a `WriteWindow` makes them, through `&mut`. Other processes may change a file under us; what
        // we read then is any bytes, and bytes are all that is asked for.
        unsafe { slice::from_raw_parts(self.as_ptr().add(range.start), range.len()) }
    }

    /// Fills with zeros. Only while the segment has one owner.
    fn clear(&self, range: Range<u32>) {
        let len = range.end.min(self.len).saturating_sub(range.start) as usize;
        // SAFETY: start + len is at most `self.len`, all of it mapped; callers hold the only handle to the memory.
        unsafe { ptr::write_bytes(self.as_ptr().add(range.start.min(self.len) as usize), 0, len) };
    }

    /// The file that went away under this segment.
    fn lost(&self) -> Option<usize> {
        match &self.memory {
            Memory::File { registration, file, .. } if registration.is_lost() => Some(*file),
            _ => None,
        }
    }
}

impl Window {
    fn check(&self, begin: u32, count: usize) -> Result<Range<u32>, StorageError> {
        let end = u32::try_from(count).ok().and_then(|count| begin.checked_add(count));
        match end.filter(|end| *end <= self.len) {
            Some(end) => Ok(begin..end),
            None => Err(StorageError::OutOfWindow { begin, count, window: self.len }),
        }
    }

    fn slices(&self, range: Range<u32>) -> impl Iterator<Item = &[u8]> {
        let parts = self.segments.iter().map(move |segment| (segment, segment.overlap(&range)));
        parts.filter(|(_, part)| !part.is_empty()).map(|(segment, part)| segment.slice(part))
    }

    fn lost_path(&self) -> Option<PathBuf> {
        self.segments.iter().find_map(Segment::lost).map(|file| self.place.path(file))
    }

    /// To be asked after every access: an error if what was accessed was not the file.
    fn still_there(&self) -> Result<(), StorageError> {
        self.lost_path().map_or(Ok(()), |path| Err(StorageError::Lost { path }))
    }

    fn read_with(&self, range: Range<u32>, each: impl FnMut(&[u8])) -> Result<(), StorageError> {
        let count = range.end.saturating_sub(range.start) as usize;
        self.slices(self.check(range.start, count)?).for_each(each);
        self.still_there()
    }
}

impl WriteWindow {
    /// A window over mapped files; `segments` are those of the piece's spans, in order.
    pub(in crate::storage) fn mapped(place: &Arc<Place>, segments: Vec<Segment>) -> Self {
        let len = segments.last().map_or(0, |last| last.begin + last.len);
        Self(Window { place: Arc::clone(place), segments: segments.into(), len, buffered: false })
    }

    /// A window in a buffer, for a piece of `len` bytes with these spans. Padding is zeros, the rest left-overs.
    pub(in crate::storage) fn buffered(
        pool: &BufferPool,
        place: &Arc<Place>,
        len: u32,
        spans: impl Iterator<Item = Span>,
    ) -> io::Result<Self> {
        Ok(Self::whole(Segment::buffer(pool, 0, len)?, place, spans))
    }

    /// The same, if there is memory that nobody uses: takes no time then.
    pub(in crate::storage) fn buffered_idle(
        pool: &BufferPool,
        place: &Arc<Place>,
        len: u32,
        spans: impl Iterator<Item = Span>,
    ) -> Option<Self> {
        Some(Self::whole(Segment::of(pool.take_idle(len as usize)?, 0, len), place, spans))
    }

    fn whole(segment: Segment, place: &Arc<Place>, spans: impl Iterator<Item = Span>) -> Self {
        let len = segment.len;
        spans.filter(|span| span.pad).for_each(|span| segment.clear(span.begin..span.begin + span.len));
        Self(Window { place: Arc::clone(place), segments: Box::new([segment]), len, buffered: true })
    }

    /// Bytes in the piece.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a piece is never empty")]
    pub const fn len(&self) -> u32 {
        self.0.len
    }

    /// Folder of the torrent's files.
    pub(in crate::storage) fn dir(&self) -> &Path {
        &self.0.place.dir
    }

    /// Copies a block to its place, `begin` bytes from the start of the piece. Never waits for a disk.
    ///
    /// # Errors
    /// [`StorageError::OutOfWindow`] if it does not fit; [`StorageError::Lost`] if the file was shortened or its disk
    /// failed under the mapping.
    pub fn write_at(&mut self, begin: u32, data: &[u8]) -> Result<(), StorageError> {
        let range = self.0.check(begin, data.len())?;
        let mut rest = data;
        for segment in &self.0.segments {
            let part = segment.overlap(&range);
            let Some((now, later)) = rest.split_at_checked(part.len()) else { break };
            rest = later;
            // SAFETY: `overlap` keeps the target inside the segment's live mapping, and `now` has exactly its length.
            // `data` is borrowed from elsewhere: no `&[u8]` into this memory can exist while we hold `&mut self`.
            unsafe { ptr::copy_nonoverlapping(now.as_ptr(), segment.as_ptr().add(part.start), now.len()) };
        }
        self.0.still_there()
    }

    /// A range of a buffered window, to be filled. `None` if the window is mapped or the range is not inside.
    pub(in crate::storage) fn buffer_mut(&mut self, range: Range<u32>) -> Option<&mut [u8]> {
        let [segment] = &mut *self.0.segments else { return None };
        let inside = range.start <= range.end && range.end <= segment.len;
        if !inside || !matches!(segment.memory, Memory::Buffer(_)) {
            return None;
        }
        let len = (range.end - range.start) as usize;
        // SAFETY: the range lies inside the buffer, whose bytes are initialised (anonymous memory starts as zeros); the
        // slice borrows `self` mutably, so no other reference to them exists as long as it lives.
        Some(unsafe { slice::from_raw_parts_mut(segment.as_ptr().add(range.start as usize), len) })
    }

    /// Hands out a range of the piece slice by slice.
    pub(in crate::storage) fn read_with(&self, range: Range<u32>, each: impl FnMut(&[u8])) -> Result<(), StorageError> {
        self.0.read_with(range, each)
    }

    /// The piece, slice by slice. Ask [`WriteWindow::still_there`] afterwards.
    pub(in crate::storage) fn slices(&self) -> impl Iterator<Item = &[u8]> {
        self.0.slices(0..self.0.len)
    }

    /// An error if what was read of the window was not the file.
    pub(in crate::storage) fn still_there(&self) -> Result<(), StorageError> {
        self.0.still_there()
    }

    /// True if the piece is in a buffer, so that somebody has to write it to its files.
    pub(in crate::storage) const fn is_buffered(&self) -> bool {
        self.0.buffered
    }

    /// Gives up writing.
    pub(in crate::storage) fn into_read(self) -> ReadWindow {
        ReadWindow(Arc::new(self.0))
    }
}

impl ReadWindow {
    /// Folder of the torrent's files.
    pub(in crate::storage) fn dir(&self) -> &Path {
        &self.0.place.dir
    }

    /// Bytes in the piece.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a piece is never empty")]
    pub fn len(&self) -> u32 {
        self.0.len
    }

    /// Adds the slices that make up a range of the piece, for one vectored write.
    ///
    /// If the file is shortened meanwhile, that write fails with `EFAULT` (or sends zeros, if another access noticed
    /// first): close the connection and ask [`ReadWindow::probe`].
    ///
    /// # Errors
    /// [`StorageError::OutOfWindow`] if the range is not inside the piece; [`StorageError::Lost`] if the file is
    /// already known to be gone.
    pub fn io_slices<'a>(&'a self, range: Range<u32>, out: &mut Vec<IoSlice<'a>>) -> Result<(), StorageError> {
        let count = range.end.saturating_sub(range.start) as usize;
        let range = self.0.check(range.start, count)?;
        self.0.still_there()?;
        out.extend(self.0.slices(range).map(IoSlice::new));
        Ok(())
    }

    /// Copies a range of the piece out, `begin` bytes from its start; for links that change the bytes on their way.
    ///
    /// # Errors
    /// [`StorageError::OutOfWindow`], or [`StorageError::Lost`]: what is in `out` is worth nothing then.
    pub fn read_at(&self, begin: u32, out: &mut [u8]) -> Result<(), StorageError> {
        let range = self.0.check(begin, out.len())?;
        let mut rest = out;
        for part in self.0.slices(range) {
            let Some((now, later)) = rest.split_at_mut_checked(part.len()) else { break };
            now.copy_from_slice(part);
            rest = later;
        }
        self.0.still_there()
    }

    /// True if the piece is in memory of our own, and not in the pages of its files.
    #[must_use]
    pub fn is_buffered(&self) -> bool {
        self.0.segments.iter().any(|segment| matches!(segment.memory, Memory::Buffer(_)))
    }

    /// True if somebody else has the same window.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// True if both are the same window, not only the same piece.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// True if there is no other clone: dropping this one frees its memory.
    #[must_use]
    pub fn is_last(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// True once the file was seen to be shortened, or its disk to fail, under the mapping: what the window holds is
    /// worth nothing any more. Cheap; it asks only for what some access noticed.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.0.segments.iter().any(|segment| segment.lost().is_some())
    }

    /// Looks at every page. For after a system call answered `EFAULT`, which tells nobody which window it was; may wait
    /// for the disk.
    ///
    /// # Errors
    /// [`StorageError::Lost`] names the file that went away.
    pub fn probe(&self) -> Result<(), StorageError> {
        for segment in &self.0.segments {
            if let (Memory::File { registration, .. }, Err(_)) = (&segment.memory, segment.populate(false)) {
                registration.set_lost();
            }
        }
        self.0.still_there()
    }
}

impl fmt::Debug for WriteWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriteWindow({} bytes)", self.0.len)
    }
}

impl fmt::Debug for ReadWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReadWindow({} bytes)", self.0.len)
    }
}

/// Bytes in a page of memory.
pub(super) fn page_size() -> usize {
    // SAFETY: only asks; has no preconditions.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096).max(1)
}

/// A window of `len` bytes that belongs to no torrent.
#[cfg(test)]
pub(crate) fn test_window(len: u32) -> ReadWindow {
    WriteWindow::buffered(&BufferPool::default(), &test_place(), len, std::iter::empty()).unwrap().into_read()
}

/// The same over a file.
#[cfg(test)]
pub(crate) fn test_mapped_window(len: u32) -> ReadWindow {
    let file = tempfile::tempfile().unwrap();
    file.set_len(len.into()).unwrap();
    let span = Span { file: 0, offset: 0, begin: 0, len, pad: false };
    let Ok(segment) = Segment::map(&file, &span, false) else { panic!("cannot map {len} bytes") };
    WriteWindow::mapped(&test_place(), vec![segment]).into_read()
}

#[cfg(test)]
fn test_place() -> Arc<Place> {
    let geometry = crate::types::Geometry::new(0, 1).unwrap();
    let layout = crate::storage::Layout::new(geometry, Vec::new()).unwrap();
    Arc::new(Place { dir: PathBuf::new().into(), layout })
}
