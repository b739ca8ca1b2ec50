//! The JSON-RPC interface (component `rpc`): an HTTP/1.1 server, its methods, and what they ask of the daemon.
//!
//! - [`Control`] is what the daemon implements: one call per method, typed, no HTTP, no JSON.
//! - [`types`] are the shapes of the results; the command line reads the same ones.
//! - [`methods`] is the table of all methods: dispatch, `rpc.discover` and `/api/browse` are made from it.
//! - [`RpcServer`] owns the sockets: one thread (`rpc`) polls all connections, a few workers run the calls.
//!
//! Who may call is decided in one place, [`Guard`]: `Host`, `Origin`, token. Not here: what the methods do.

mod control;
mod http;
pub mod methods;
mod pages;
mod resolve;
pub mod types;

pub use control::{
    AddTorrent, CALL_TIMEOUT, ContactChange, Control, ControlError, ErrorCode, HashScope, List, Members, NewAccount,
    NewContact, Paged, TorrentSource,
};
pub use http::{Guard, Refusal, RpcError, RpcServer, ServerOptions, Timing};
pub use resolve::resolve_hash;
