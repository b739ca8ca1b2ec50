//! The part of HTTP/1.1 (RFC 9112) that a small API server needs, and JSON-RPC 2.0. Bytes in, values out.
//!
//! [`RequestReader`] cuts requests out of a byte stream, [`Response`] writes answers, [`jsonrpc`] understands bodies.
//! No socket and no clock here: time limits and connections belong to the server that uses it. Not here: TLS, HTTP/2,
//! compression, upgrade, ranges.

mod body;
mod chunked;
pub mod jsonrpc;
mod request;
mod response;

pub use body::{Body, Rows, WriteRow};
pub use request::{Limits, Method, Request, RequestError, RequestReader};
pub use response::{Response, SERVER};
