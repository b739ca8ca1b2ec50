//! Opening, making and removing a torrent's files. Runs on disk threads.
//!
//! Symbolic links: the download folder itself may be one, and what is only read may lie behind one. A file that is
//! made or written is reached without following any link below the download folder, because a torrent (or an earlier
//! one) could otherwise name its way out. Nothing but plain files is ever opened for writing. Files are made 0666 and
//! folders 0777, less the umask. Whether a file that is there may be written at all is a matter of `ownership`.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags, StatVfs};
use rustix::io::Errno;

use super::error::StorageError;
use super::layout::{LayoutFile, Place};
use crate::types::{InfoHash, SortedSet, TorrentKey};

/// Open files kept at a time, over all torrents. Mappings need none; a positional write or read of a torrent with many
/// small files does.
const OPEN_FILES: usize = 64;

/// Unit of `st_blocks` (POSIX leaves it open; Linux always counts these).
const STAT_BLOCK: u64 = 512;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// To read, wherever it lies.
    Read,
    /// To read; refuses links below the download folder.
    ReadPlain,
    /// To read and write; refuses links below the download folder.
    Write,
}

/// What a file was like when it was looked at: enough to see later that nobody touched it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileStamp {
    /// Length in bytes.
    pub(super) size: u64,
    /// Last change of its content, nanoseconds since 1970.
    pub(super) mtime_ns: i64,
}

/// The state of one file on disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileState {
    pub(super) stamp: FileStamp,
    /// Bytes of disk space it has.
    pub(super) allocated: u64,
}

/// Looks at a file that is only read. `None` if it is not there, or is no plain file.
pub(super) fn look(path: &Path) -> Option<FileState> {
    fs::metadata(path).ok().filter(fs::Metadata::is_file).as_ref().map(FileState::of)
}

/// Looks at a file that is to be written, without following a link below the download folder. `None` if nothing is
/// there; anything but a plain file is an error.
pub(super) fn look_plain(place: &Place, below: &Path) -> Result<Option<FileState>, StorageError> {
    match open_plain(&place.dir, below, OFlags::PATH, "look at").map(|file| file.metadata()) {
        Ok(Ok(meta)) => Ok(Some(FileState::of(&meta))),
        Ok(Err(error)) => Err(StorageError::io(&place.dir.join(below), "look at", error)),
        Err(StorageError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

impl FileState {
    pub(super) fn of(meta: &fs::Metadata) -> Self {
        let mtime_ns = meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec());
        let allocated = meta.blocks().saturating_mul(STAT_BLOCK);
        Self { stamp: FileStamp { size: meta.len(), mtime_ns }, allocated }
    }
}

/// The open files of all torrents, least recently used first out.
pub(super) struct FileCache(Mutex<Vec<Handle>>);

struct Handle {
    torrent: TorrentKey,
    index: usize,
    access: Access,
    file: Arc<File>,
}

impl FileCache {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Opens an existing file of a torrent, or finds it open.
    pub(super) fn open(
        &self,
        torrent: TorrentKey,
        place: &Place,
        index: usize,
        access: Access,
    ) -> Result<Arc<File>, StorageError> {
        if let Some(file) = self.find(torrent, index, access) {
            return Ok(file);
        }
        // Not under the lock: opening may wait for a disk. Two threads may open the same file; no harm.
        let file = Arc::new(open_file(place, index, access)?);
        let mut handles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let evicted = if handles.len() >= OPEN_FILES { Some(handles.remove(0)) } else { None };
        handles.push(Handle { torrent, index, access, file: Arc::clone(&file) });
        drop(handles);
        drop(evicted);
        Ok(file)
    }

    fn find(&self, torrent: TorrentKey, index: usize, access: Access) -> Option<Arc<File>> {
        let mut handles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |handle: &Handle| handle.torrent == torrent && handle.index == index && handle.access == access;
        let at = handles.iter().position(fits)?;
        let handle = handles.remove(at);
        let file = Arc::clone(&handle.file);
        handles.push(handle);
        Some(file)
    }

    /// Closes a torrent's files.
    pub(super) fn forget(&self, torrent: TorrentKey) {
        let mut handles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (gone, kept) = std::mem::take(&mut *handles).into_iter().partition(|handle| handle.torrent == torrent);
        *handles = kept;
        // Not under the lock: some file systems write what is left when a file is closed.
        drop(handles);
        drop::<Vec<Handle>>(gone);
    }
}

fn open_file(place: &Place, index: usize, access: Access) -> Result<File, StorageError> {
    let (Some(entry), true) = (place.layout.files().get(index), access != Access::Read) else {
        let path = place.path(index);
        return File::open(&path).map_err(|error| StorageError::io(&path, "read", error));
    };
    let (action, flags) = if access == Access::Write { ("write", OFlags::RDWR) } else { ("read", OFlags::RDONLY) };
    open_plain(&place.dir, &entry.path, flags, action)
}

/// Opens a plain file below `dir` without following a link. With `CREATE`, folders on the way are made, too.
fn open_plain(dir: &Path, below: &Path, flags: OFlags, action: &'static str) -> Result<File, StorageError> {
    let path = dir.join(below);
    let (parent, name) = open_parent(dir, below, flags.contains(OFlags::CREATE), action)?;
    // NONBLOCK: a named pipe of that name must not hold us up; it is refused just below.
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let fd = rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o666));
    let file = File::from(fd.map_err(|errno| fault(&path, action, errno))?);
    match file.metadata() {
        Ok(meta) if meta.is_file() => Ok(file),
        Ok(_) => Err(not_plain(path)),
        Err(error) => Err(StorageError::io(&path, action, error)),
    }
}

/// Opens the folder that holds `below`, step by step, and answers with it and the last name.
fn open_parent<'p>(
    dir: &Path,
    below: &'p Path,
    create: bool,
    action: &'static str,
) -> Result<(OwnedFd, &'p OsStr), StorageError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut path = dir.to_path_buf();
    let mut folder = rustix::fs::open(dir, flags, Mode::empty()).map_err(|errno| fault(&path, action, errno))?;
    let mut names = below.iter().peekable();
    while let Some(name) = names.next() {
        if names.peek().is_none() {
            return Ok((folder, name));
        }
        path.push(name);
        let open = || rustix::fs::openat(&folder, name, flags | OFlags::NOFOLLOW, Mode::empty());
        let mut next = open();
        if create && matches!(next, Err(Errno::NOENT)) {
            match rustix::fs::mkdirat(&folder, name, Mode::from_raw_mode(0o777)) {
                // Somebody else was faster.
                Ok(()) | Err(Errno::EXIST) => next = open(),
                Err(errno) => return Err(fault(&path, "create", errno)),
            }
        }
        folder = next.map_err(|errno| fault(&path, action, errno))?;
    }
    Err(not_plain(path)) // A layout has no empty path.
}

/// Like [`StorageError::io`], for calls that were told not to follow links.
fn fault(path: &Path, action: &'static str, errno: Errno) -> StorageError {
    match errno {
        // A link, a file where a folder should be, a folder or a device where a file should be.
        Errno::EXIST => StorageError::Foreign { path: path.to_path_buf() },
        Errno::LOOP | Errno::NOTDIR | Errno::ISDIR | Errno::NXIO => not_plain(path.to_path_buf()),
        errno => StorageError::io(path, action, io::Error::from(errno)),
    }
}

/// Says what stands where a plain file, or a folder on the way to one, should be.
pub(super) fn not_plain(path: PathBuf) -> StorageError {
    let kind = fs::symlink_metadata(&path).map(|meta| meta.file_type());
    let found = match kind {
        Ok(kind) if kind.is_symlink() => "a symbolic link",
        Ok(kind) if kind.is_dir() => "a folder",
        Ok(kind) if kind.is_file() => "a file",
        _ => "neither a file nor a folder",
    };
    StorageError::NotPlain { path, found }
}

/// True if there is nothing left to make or to reserve.
pub(super) fn is_reserved(file: &LayoutFile, state: Option<&FileState>) -> bool {
    file.pad || state.is_some_and(|state| state.stamp.size == file.len && state.allocated >= file.len)
}

/// When a torrent's files get their disk space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    /// When they are made: who writes through a mapping gets a signal from a full disk, not an error.
    First,
    /// Later, behind the download (`reserve`), or when they are written.
    Later,
}

/// Makes every file of the torrent, before anything is written. Leaves alone what is there: the caller knows that the
/// files are the torrent's, and that none is too long.
///
/// `states` is what [`look_plain`] said of each file. If the space does not do, nothing is made. `cancelled` is asked
/// before each file: there may be very many.
pub(super) fn make(
    place: &Place,
    states: &[Option<FileState>],
    space: Space,
    cancelled: &dyn Fn() -> bool,
) -> Result<(), StorageError> {
    fs::create_dir_all(&place.dir).map_err(|error| StorageError::io(&place.dir, "create", error))?;
    check_space(place, states)?;
    for ((index, file), state) in place.layout.files().iter().enumerate().zip(states) {
        let state = state.as_ref();
        let is_made = match space {
            Space::First => is_reserved(file, state),
            Space::Later => file.pad || state.is_some_and(|state| state.stamp.size == file.len),
        };
        if !is_made {
            if cancelled() {
                return Err(StorageError::NotOpen);
            }
            make_file(place, index, file.len, state, space)?;
        }
    }
    Ok(())
}

/// Compares what the files still need with what the disk has.
pub(super) fn check_space(place: &Place, states: &[Option<FileState>]) -> Result<(), StorageError> {
    let disk = rustix::fs::statvfs(&*place.dir).map_err(|errno| fault(&place.dir, "look at", errno))?;
    let Some(mut free) = free_bytes(&disk) else { return Ok(()) };
    for ((index, file), state) in place.layout.files().iter().enumerate().zip(states) {
        let has = state.map_or(0, |state| state.allocated);
        let needs = if file.pad { 0 } else { file.len.saturating_sub(has) };
        free = match free.checked_sub(needs) {
            Some(left) => left,
            None => return Err(StorageError::DiskFull { path: place.path(index), missing: needs - free }),
        };
    }
    Ok(())
}

/// Bytes that may still be written. Some network file systems do not say.
#[must_use]
pub fn free_bytes(disk: &StatVfs) -> Option<u64> {
    (disk.f_blocks > 0).then(|| disk.f_bavail.saturating_mul(disk.f_frsize))
}

fn make_file(
    place: &Place,
    index: usize,
    len: u64,
    before: Option<&FileState>,
    space: Space,
) -> Result<(), StorageError> {
    let path = place.path(index);
    let below = path.strip_prefix(&place.dir).unwrap_or(&path);
    // What nobody has looked at may be somebody else's.
    let only_new = if before.is_none() { OFlags::EXCL } else { OFlags::empty() };
    let file = open_plain(&place.dir, below, OFlags::RDWR | OFlags::CREATE | only_new, "create")?;
    if len == 0 {
        return Ok(());
    }
    let size = before.map_or(0, |state| state.stamp.size);
    let give_back = || {
        let _ = file.set_len(size);
        if before.is_none() {
            let _ = remove_plain(place, below);
        }
    };
    let answer = match space {
        Space::First => allocate(&file, FallocateFlags::empty(), 0..len),
        Space::Later => Ok(false),
    };
    match answer {
        Ok(false) if size < len => file.set_len(len).map_err(|error| {
            give_back();
            StorageError::io(&path, "extend", error)
        }),
        Ok(_) => Ok(()),
        Err(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => {
            give_back();
            let has = before.map_or(0, |state| state.allocated);
            Err(StorageError::DiskFull { path: path.clone(), missing: len.saturating_sub(has) })
        }
        Err(errno) => Err(fault(&path, "reserve space for", errno)),
    }
}

/// Reserves disk space. False if the file system cannot.
pub(super) fn allocate(file: &File, flags: FallocateFlags, range: Range<u64>) -> Result<bool, Errno> {
    let len = range.end.saturating_sub(range.start);
    // The bare system call: the C library would write zeros where the file system cannot reserve.
    match rustix::io::retry_on_intr(|| rustix::fs::fallocate(file, flags, range.start, len)) {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::NODEV) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Removes a torrent's files, but those that others use, and the folders that are empty then. Goes on after an error and
/// reports the first one; a file that is not there is none, one that is kept is.
pub(super) fn remove(place: &Place, others: &HashMap<PathBuf, InfoHash>) -> Result<(), StorageError> {
    let mut first = Ok(());
    let mut folders = SortedSet::new();
    for file in place.layout.files().iter().filter(|file| !file.pad) {
        if let Some(by) = others.get(&file.path) {
            first = first.and_then(|()| Err(StorageError::Kept { path: place.dir.join(&file.path), by: *by }));
            continue;
        }
        let answer = remove_plain(place, &file.path);
        if first.is_ok() && !matches!(answer, Err(StorageError::Missing { .. })) {
            first = answer;
        }
        folders.extend(file.path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()));
    }
    // Behind each other in this order, a folder comes before what is in it.
    for folder in folders.into_iter().rev() {
        if let Ok((parent, name)) = open_parent(&place.dir, folder, false, "remove") {
            // Not empty: somebody else's files are in it.
            let _ = rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR);
        }
    }
    first
}

fn remove_plain(place: &Place, below: &Path) -> Result<(), StorageError> {
    let (parent, name) = open_parent(&place.dir, below, false, "remove")?;
    let path = place.dir.join(below);
    rustix::fs::unlinkat(parent, name, AtFlags::empty()).map_err(|errno| fault(&path, "remove", errno))
}
