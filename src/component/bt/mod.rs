//! The reactor thread: sockets, swarms and storage brought together.
