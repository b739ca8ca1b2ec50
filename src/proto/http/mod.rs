//! HTTP/1.1 subset and JSON-RPC 2.0.
