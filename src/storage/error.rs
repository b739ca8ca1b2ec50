//! What can go wrong with disks, files and the resume data: machine faults, each naming the file it happened to.
//!
//! None of them ends the process. The torrent concerned goes into its error state and can be tried again; a message
//! here is one line that a person can act on.

use std::io;
use std::path::{Path, PathBuf};

use super::layout::LayoutError;
use crate::types::InfoHash;

/// A fault of the machine, seen by the storage of one torrent or by the resume data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The disk has no room for this file.
    #[error("disk full: {} needs {missing} more bytes", path.display())]
    DiskFull {
        /// The file that did not fit.
        path: PathBuf,
        /// Bytes that it still needs.
        missing: u64,
    },
    /// The file or folder may not be read, written or created (also: read-only file system).
    #[error("no permission to {action} {}: {source}", path.display())]
    NoPermission {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, as a verb: "read", "create".
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing is there.
    #[error("{} is missing", path.display())]
    Missing {
        /// The file or folder.
        path: PathBuf,
    },
    /// The file is shorter than the torrent says, so the bytes wanted are not there.
    #[error("{} is too short: {found} bytes, {expected} expected", path.display())]
    TooShort {
        /// The file.
        path: PathBuf,
        /// Bytes that it should have at least.
        expected: u64,
        /// Bytes that it has.
        found: u64,
    },
    /// Mapped bytes vanished: the file was shortened, or its disk failed, while a piece of it was in memory.
    #[error("{} was shortened or its disk failed while it was in use", path.display())]
    Lost {
        /// The file.
        path: PathBuf,
    },
    /// Bytes that were written may never have reached the disk, or were lost since; an earlier answer said how.
    #[error("what was written in {} may be lost; resume the torrent to have it checked", dir.display())]
    NotSafe {
        /// The folder.
        dir: PathBuf,
    },
    /// A symbolic link, a folder or a device stands where a torrent has a file, or a file where it has a folder.
    #[error("{} is {found}, and the torrent has something else there; move it away or choose another folder", path.display())]
    NotPlain {
        /// The offending path.
        path: PathBuf,
        /// What it is: "a folder".
        found: &'static str,
    },
    /// A file of this name was there before the torrent, and none of its bytes are the torrent's.
    #[error("{} exists already and is not a part of this torrent; move it away or choose another folder", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A file of this name was there before the torrent, with bytes behind the end that the torrent knows.
    #[error(
        "{} exists already and is longer than in this torrent, {found} bytes instead of {expected}; move it away or \
         choose another folder", path.display()
    )]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Bytes that the torrent has of it.
        expected: u64,
        /// Bytes that it has.
        found: u64,
    },
    /// A file that was complete was changed by somebody else, who may want to keep it so.
    #[error("{} was changed since it was complete; to fetch it again, move it away and resume the torrent", path.display())]
    Edited {
        /// The file.
        path: PathBuf,
    },
    /// Not one file is left of a torrent that had some.
    #[error("{} is gone; bring it back before you resume the torrent, or it is fetched again", path.display())]
    Gone {
        /// The file or folder.
        path: PathBuf,
    },
    /// Another torrent of this process uses the file, and one of the two would write to it.
    #[error("{} belongs to torrent {by}; choose another folder, or remove that one first", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
        /// The other torrent.
        by: InfoHash,
    },
    /// Nothing was deleted together with a torrent: its open had found that no file there is its own.
    #[error("nothing was deleted in {}: the files there are not, or no longer, the torrent's own", dir.display())]
    NotItsOwn {
        /// The folder.
        dir: PathBuf,
    },
    /// A file was not deleted together with its torrent, because another torrent of this process uses it.
    #[error("{} was not deleted: torrent {by} uses it, too", path.display())]
    Kept {
        /// The file.
        path: PathBuf,
        /// The other torrent.
        by: InfoHash,
    },
    /// Any other answer of the system.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, as a verb.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A database of ours is damaged or is something else. It is left as it is.
    #[error("{what} in {} is damaged ({reason}); move the file away to start without it", path.display())]
    StateDamaged {
        /// The database file.
        path: PathBuf,
        /// What is in it: "the resume data".
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A database was written by a later version.
    #[error(
        "{what} in {} was written by a newer bitween (version {version} of its tables, this one knows {known}): update bitween, or move the file away to start without it",
        path.display()
    )]
    StateTooNew {
        /// The database file.
        path: PathBuf,
        /// What is in it.
        what: &'static str,
        /// Its version.
        version: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// Resume data was asked for, and this program is built without it.
    #[error("no resume data can be kept in {}: built without the cargo feature `resume`", path.display())]
    NoResumeData {
        /// The database file.
        path: PathBuf,
    },
    /// A database could not be read or written for another reason.
    #[cfg(feature = "resume")]
    #[error("cannot {action} {what} in {}: {source}", path.display())]
    State {
        /// The database file.
        path: PathBuf,
        /// What is in it.
        what: &'static str,
        /// What was tried, as a verb.
        action: &'static str,
        /// What the database said.
        source: rusqlite::Error,
    },
    /// The files do not make up the torrent.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A range outside the window: a fault of the caller, never of a peer, whose ranges are checked before.
    #[error("bytes {begin}+{count} lie outside a window of {window} bytes")]
    OutOfWindow {
        /// First byte asked for.
        begin: u32,
        /// Number of bytes asked for.
        count: usize,
        /// Bytes in the window.
        window: u32,
    },
    /// Whatever a disk thread did for the torrent, it ended in a panic: a fault of this program.
    #[error("an internal error; what it was stands in the log")]
    Panicked,
    /// A job came for a torrent that is not open, or for one that cannot be written.
    #[error("the torrent is not open for this")]
    NotOpen,
}

impl StorageError {
    /// True if the machine is short of something that may be there again in a moment: open files, memory.
    #[must_use]
    pub fn is_shortage(&self) -> bool {
        let Self::Io { source, .. } = self else { return false };
        matches!(source.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EAGAIN))
    }

    /// True if somebody took bytes away that were there: what the resume data says of them is worth nothing.
    #[must_use]
    pub const fn is_loss(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::TooShort { .. } | Self::Missing { .. })
    }

    /// Sorts what the system said while `action` was tried on `path`.
    pub(super) fn io(path: &Path, action: &'static str, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing { path },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::NoPermission { path, action, source }
            }
            // 0: how much is missing is known only where space is reserved.
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::DiskFull { path, missing: 0 }
            }
            _ => Self::Io { path, action, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_the_system_are_sorted() {
        let path = Path::new("/x");
        let sorted = |kind: io::ErrorKind| StorageError::io(path, "write", io::Error::from(kind));
        assert!(matches!(sorted(io::ErrorKind::NotFound), StorageError::Missing { .. }));
        assert!(matches!(sorted(io::ErrorKind::ReadOnlyFilesystem), StorageError::NoPermission { .. }));
        assert!(matches!(sorted(io::ErrorKind::StorageFull), StorageError::DiskFull { .. }));
        assert!(matches!(sorted(io::ErrorKind::TimedOut), StorageError::Io { .. }));
    }

    #[test]
    fn every_message_names_the_file() {
        let error = StorageError::io(Path::new("/x/y.iso"), "write", io::Error::from(io::ErrorKind::PermissionDenied));
        assert!(error.to_string().contains("/x/y.iso"), "{error}");
    }
}
