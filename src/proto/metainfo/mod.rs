//! Torrent files and magnet links: what is to be fetched, and how it is cut and named.
//!
//! - [`Metainfo`] reads a torrent file (BEP 3, 12, 19, 27, 47) or an info dictionary that came from peers (BEP 9), checks
//!   everything that later arithmetic relies on and makes the names safe. The info hash is taken over the raw bytes.
//! - [`Magnet`] reads and writes magnet links (BEP 9).
//! - [`Builder`] writes torrent files from names, lengths and piece hashes; reading files is the storage layer's work.
//! - [`path`] turns foreign bytes into file names.
//!
//! Of BitTorrent v2 (BEP 52) only the second info hash of hybrid torrents is known.

mod create;
mod magnet;
pub mod path;
mod torrent;
mod v2;

pub use create::{Builder, NewFile, choose_piece_length};
pub use magnet::{MAX_MAGNET_LEN, Magnet, MagnetError};
pub use torrent::{About, File, Info, MAX_PATH_DEPTH, MAX_TORRENT_LEN, Metainfo, MetainfoError};
