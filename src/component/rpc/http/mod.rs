//! The server: sockets and their threads, who may call, and which path means what.
//!
//! [`server`] polls all connections on one thread and lets a few workers answer; a [`connection`] is what stands between
//! one socket and the requests on it; [`guard`] decides who may talk, [`routes`] what a request is answered with.

mod connection;
mod guard;
mod routes;
mod server;

pub use connection::Timing;
pub use guard::{Guard, Refusal};
pub use server::{RpcError, RpcServer, ServerOptions};
