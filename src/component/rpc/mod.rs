//! JSON-RPC over HTTP.
