//! The peer wire protocol (BEP 3, 6, 9, 10).
//!
//! A [`Session`] turns the bytes of one peer connection into [`Event`]s and [`Command`]s into bytes. It owns no socket,
//! no buffer and no clock; block data is borrowed from the caller's input and never copied. Every index and range that
//! leaves it has been checked against the torrent's [`Geometry`](crate::types::Geometry).
//!
//! Not here: which block to ask for, whom to unchoke, whether a block was asked for at all (the engine knows), and
//! whether a peer is ourselves (compare [`Session::peer_id`] with the own one).

mod error;
mod event;
pub mod ext;
pub mod fast;
mod handshake;
mod message;
mod session;

pub use error::{Fault, WireError};
pub use event::{Command, Event, Step};
pub use ext::handshake::ExtendedHandshake;
pub use fast::allowed_fast_set;
pub use handshake::{Features, HANDSHAKE_LEN, Handshake};
pub use session::{HANDSHAKE_TIMEOUT, KEEP_ALIVE_INTERVAL, SILENCE_TIMEOUT, Session, SessionOptions};

/// Longest range a peer may ask for in one request, in bytes. Everybody asks for 16 KiB; BEP 3 lets a client close the
/// connection above that, 128 KiB is what old clients used.
pub const MAX_REQUEST_LEN: u32 = 128 * 1024;

/// Bytes in every piece of the metadata but the last (BEP 9).
pub const METADATA_PIECE_LEN: u32 = 16 * 1024;

/// Largest metadata (raw info dictionary) that is announced, fetched or served, in bytes. Taste: 800,000 pieces.
pub const MAX_METADATA_LEN: u32 = 16 * 1024 * 1024;
