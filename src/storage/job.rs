//! What the reactor thread asks of the disk threads, and what comes back. Every job ends in exactly one [`Done`] that
//! names it, but [`Job::Release`] and [`Job::ReleaseWrite`], which end in none; an open also tells its progress, and may
//! tell of trouble later, as may a piece that was written ([`Done::Committed`]).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::StorageError;
use super::layout::Layout;
use super::mapping::{ReadWindow, WriteWindow};
use crate::types::{Bitfield, InfoHash, PieceHashes, PieceIndex, TorrentKey};

/// How pieces get from memory to their files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendChoice {
    /// Received into buffers that are used again and written with `pwrite`, served from mappings of the files; on file
    /// systems of other machines or processes all positional. Decided per torrent.
    #[default]
    Auto,
    /// Windows are mappings of the files.
    Mapped,
    /// Windows are buffers; a verified piece is written with `pwrite`.
    Positional,
}

/// How much of what an earlier run left behind is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckMode {
    /// Hash only what the resume data does not vouch for.
    TrustResume,
    /// Hash every byte that is there.
    Full,
    /// Hash nothing: the torrent was made of these very files a moment ago. Only their sizes are looked at.
    Trusted,
}

/// What may be done to a torrent's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    /// Nothing: what is there is served, and no file is made or changed.
    Never,
    /// What is missing is fetched. A file that was complete, and was changed by somebody else since, is an error: people
    /// edit their files, and a program that starts by itself must not undo that.
    Missing,
    /// The same, and it is also an error if not one file is left of those that were there.
    Restore,
    /// What is missing or damaged is fetched: somebody has just asked for it.
    Repair,
    /// The folder is this program's alone: whatever lies there may be overwritten, and nothing of it is remembered.
    Scratch,
}

/// What becomes of a torrent's files and resume data when it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Everything verified is synced and remembered, and that nothing was written since: the next open hashes nothing.
    Clean,
    /// Nothing more is remembered: something is wrong with the files.
    Broken,
    /// The files, the folders that are then empty, and the resume data are removed. Files that an open refused to take
    /// for the torrent's stay, and so do those that another torrent uses as well: they are an error.
    Delete,
}

/// Options of [`Disk::start`](super::Disk::start).
#[derive(Clone, Debug)]
pub struct DiskOptions {
    /// Number of disk threads; 0 counts as 1. With two or more, a slow sync never delays a window.
    pub threads: usize,
    /// Back end for all torrents.
    pub backend: BackendChoice,
    /// SQLite file with the resume data, made if it is not there. `None`: nothing is remembered.
    pub state: Option<PathBuf>,
}

/// One request to the disk threads.
#[derive(Debug)]
pub enum Job {
    /// Finds out what is there; to write, also makes folders and files and sees that there is space for them, which is
    /// reserved before the answer for mapped files and after it for others. Files of other people
    /// or other torrents are an error, and are left as they are.
    Open {
        /// Name of the torrent in all further jobs.
        torrent: TorrentKey,
        /// Key of its resume data, together with `dir`.
        info_hash: InfoHash,
        /// Its files.
        layout: Layout,
        /// Folder that holds (or gets) its top-level name.
        dir: Arc<Path>,
        /// Hash of every piece.
        hashes: PieceHashes,
        /// How much is believed.
        check: CheckMode,
        /// What may be done to the files.
        writing: Writing,
    },
    /// Makes room for a piece that is about to be received.
    OpenWindow {
        /// Torrent.
        torrent: TorrentKey,
        /// Piece.
        piece: PieceIndex,
    },
    /// Hashes a piece whose last block is in and, if it is good, sees to it that it gets to its files.
    Verify {
        /// Torrent.
        torrent: TorrentKey,
        /// Piece.
        piece: PieceIndex,
        /// Its bytes.
        window: WriteWindow,
        /// Also hash every block by itself, to tell later who sent the bad one.
        digests: bool,
    },
    /// Brings a piece that somebody asked for into memory.
    Populate {
        /// Torrent.
        torrent: TorrentKey,
        /// Piece.
        piece: PieceIndex,
    },
    /// Windows nobody needs any more; unmapping takes time, so it happens on a disk thread.
    Release(Vec<ReadWindow>),
    /// A window whose piece was given up.
    ReleaseWrite(WriteWindow),
    /// Finds out whether one of these windows has lost its file: see [`ReadWindow::probe`].
    Probe {
        /// Torrent.
        torrent: TorrentKey,
        /// Windows of its pieces.
        windows: Vec<ReadWindow>,
    },
    /// Syncs the files written since the last commit, then remembers all pieces that were verified before.
    Commit {
        /// Torrent.
        torrent: TorrentKey,
    },
    /// Ends the torrent once its jobs submitted before are through. Windows that are still out stay valid.
    Close {
        /// Torrent.
        torrent: TorrentKey,
        /// What to leave behind.
        ending: Ending,
    },
}

/// What became of a piece that was hashed.
#[derive(Debug)]
pub enum Verified {
    /// The hash is right; the piece is in its files (synced only by a later commit). Its memory, if that is worth
    /// keeping for those who ask for the piece.
    Good(Option<ReadWindow>),
    /// The hash is wrong; the window can be filled again.
    Bad(WriteWindow),
}

/// One answer of the disk threads.
#[derive(Debug)]
pub enum Done {
    /// An open goes on; at most four a second per torrent.
    CheckProgress {
        /// Torrent.
        torrent: TorrentKey,
        /// Bytes hashed.
        checked: u64,
        /// Bytes to hash in all.
        total: u64,
    },
    /// Answers [`Job::Open`].
    Opened {
        /// Torrent.
        torrent: TorrentKey,
        /// Pieces that are there and good.
        result: Result<Bitfield, StorageError>,
        /// Pieces that had to be read and hashed to know.
        hashed: u32,
    },
    /// Comes some time after a good open, if the disk has no room for what is to be downloaded.
    NotReserved {
        /// Torrent.
        torrent: TorrentKey,
        /// Why its space could not be reserved.
        error: StorageError,
    },
    /// Answers [`Job::OpenWindow`].
    WindowOpened {
        /// Torrent.
        torrent: TorrentKey,
        /// Piece.
        piece: PieceIndex,
        /// The window; every byte of it is resident.
        result: Result<WriteWindow, StorageError>,
    },
    /// Answers [`Job::Verify`].
    Verified {
        /// Torrent.
        torrent: TorrentKey,
        /// Piece.
        piece: PieceIndex,
        /// What became of it. After an error the piece is gone and must be received again.
        result: Result<Verified, StorageError>,
        /// First 8 bytes (big endian) of each block's SHA-1; empty if not asked for.
        digests: Vec<u64>,
    },
    /// Answers [`Job::Populate`].
    Populated {
        /// Torrent.
        torrent: TorrentKey,
        /// Piece.
        piece: PieceIndex,
        /// The piece in memory.
        result: Result<ReadWindow, StorageError>,
    },
    /// Answers [`Job::Probe`].
    Probed {
        /// Torrent.
        torrent: TorrentKey,
        /// [`StorageError::Lost`] names the file.
        result: Result<(), StorageError>,
    },
    /// Answers [`Job::Commit`]. Also comes after a good open, if what it found could not be remembered, and when what was
    /// written could not be synced ahead of time.
    Committed {
        /// Torrent.
        torrent: TorrentKey,
        /// After an error nothing was remembered. If bytes may be lost, no later commit succeeds: the torrent has to be
        /// opened anew, which then hashes what is there.
        result: Result<(), StorageError>,
    },
    /// Answers [`Job::Close`].
    Closed {
        /// Torrent.
        torrent: TorrentKey,
        /// Whether everything could be remembered, or removed.
        result: Result<(), StorageError>,
    },
}
