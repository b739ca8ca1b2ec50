//! The JSON-RPC interface (component `rpc`): an HTTP/1.1 server, its methods, and what they ask of the daemon.
//!
//! - [`Interface`] is what the daemon implements: one call per method, typed, no HTTP, no JSON.
//! - [`types`] are the shapes of the results; the command line reads the same ones.
//! - [`methods`] is the table of all methods: dispatch, `rpc.discover` and `/api/browse` are made from it.
//! - [`RpcServer`] owns the sockets: one thread (`rpc`) polls all connections, a few workers run the calls.
//!
//! Who calls, and whether they may at all, is decided in one place, [`Guard`]: `Host`, `Origin`, token. What a [`Caller`]
//! may do is decided in another, [`methods::dispatch`]. Not here: what the methods do.

mod access;
mod control;
mod feed;
mod http;
pub mod methods;
mod pages;
mod resolve;
pub mod types;

pub use access::{Caller, How, Scope};
pub use control::{
    Access, AddTorrent, CALL_TIMEOUT, ContactChange, Control, ControlError, Details, ErrorCode, HashScope, Interface,
    List, LogQuery, Members, NewAccount, NewContact, Paged, Settings, StatisticsQuery, TorrentSource,
};
pub use feed::{BadFrameId, FeedTopic, FeedTopics, Frame, FrameId, Gap, Ring, UnknownTopic};
pub use http::{Guard, Refusal, RpcError, RpcServer, ServerOptions, Timing};
pub use resolve::resolve_hash;
