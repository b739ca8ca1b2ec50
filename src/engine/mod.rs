//! Decisions about torrents (layer 2): pure, events in, commands out.
//!
//! [`Torrent`] is the front door. Behind it: `swarm` (whom to connect to, whom never again), `picker` and `rarity`
//! (which block next), `requests` (how many at once, and when they are late), `choker` (who may download from us) and
//! `parole` (who sent the wrong bytes). [`MetadataFetch`] gets the metadata of a magnet link before there is a torrent, and
//! [`TokenBucket`] is a limit of speed.
//!
//! Nothing here owns a socket, a file, a thread or a clock: the time is an argument, chance comes from a seed, and the
//! same calls always give the same actions.

mod choker;
mod limiter;
mod metadata;
mod parole;
mod picker;
mod rarity;
mod requests;
mod stats;
mod swarm;
mod torrent;

pub use limiter::TokenBucket;
pub use metadata::{MetadataAction, MetadataFetch};
pub use picker::{PickRequest, Picker, Received};
pub use stats::{PeerStats, TorrentStats};
pub use swarm::Source;
pub use torrent::{
    Action, BlockVerdict, CloseReason, MAX_UPLOADS, PeerInfo, PieceOutcome, Replaceable, Torrent, TorrentOptions,
};
