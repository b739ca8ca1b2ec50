//! Disks and memory (layer 2): where a torrent's bytes live and how they get there.
//!
//! Everything that can wait for a disk runs on the threads of [`Disk`]; the reactor thread submits a [`Job`], goes on,
//! and later takes the [`Done`]. What the reactor touches itself is memory that a disk thread made resident before: a
//! [`WriteWindow`] to copy blocks into, a [`ReadWindow`] to send blocks from. [`PieceBuffer`] is its account of them.
//!
//! Who may touch a piece's bytes is a matter of types, not of locks: *receiving* is a [`WriteWindow`] in one pair of
//! hands; *verifying* is the same value moved to a disk thread; *have* is the [`ReadWindow`] it became, which anybody
//! may copy and nobody can write through.

#[cfg(feature = "resume")]
mod account_facts;
mod backend;
mod backlog;
#[cfg(feature = "xmpp")]
mod catalog_files;
mod check;
mod claims;
pub mod create;
mod cursor;
#[cfg(feature = "resume")]
mod database;
mod devices;
mod disk;
mod error;
#[cfg(feature = "resume")]
mod examine;
mod files;
mod hashing;
pub mod inspect;
mod job;
mod layout;
mod machine;
mod mapping;
#[cfg(feature = "resume")]
mod migrate;
#[cfg(feature = "local")]
mod neighbors;
mod ownership;
mod piece_buffer;
mod queues;
mod record;
mod reserve;
#[cfg(feature = "resume")]
mod resume;
#[cfg(not(feature = "resume"))]
#[path = "no_resume.rs"]
mod resume;
mod sha1_pair;
mod task;
#[cfg(test)]
#[cfg(feature = "resume")]
mod tests;
mod torrent;
#[cfg(feature = "resume")]
mod torrent_list;
mod verify;
mod worker;

#[cfg(feature = "resume")]
pub use account_facts::AccountFacts;
#[cfg(feature = "xmpp")]
pub use catalog_files::CatalogFiles;
pub use create::{CreateError, CreateOptions, create_torrent};
pub use disk::Disk;
pub use error::StorageError;
#[cfg(feature = "resume")]
pub use examine::Database;
pub use files::free_bytes;
pub use job::{BackendChoice, CheckMode, DiskOptions, Done, Ending, Job, Verified, Writing};
pub use layout::{Layout, LayoutError, LayoutFile, Span};
pub use machine::{default_file_windows, default_memory_limit, default_piece_buffer, process_memory};
#[cfg(test)]
pub(crate) use mapping::test_window;
pub use mapping::{ReadWindow, WriteWindow};
#[cfg(feature = "local")]
pub use neighbors::{NeighborList, NeighborRow};
pub use piece_buffer::PieceBuffer;
#[cfg(feature = "resume")]
pub use torrent_list::{ListedTorrent, TorrentList};
