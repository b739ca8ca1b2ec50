//! Memory that pieces are received into and sent from: mapped files and anonymous buffers.
//!
//! Nearly all `unsafe` of the crate (the rest: `storage/sha1_pair/x86.rs`). A mapped file is memory that somebody else can take away (by shortening the file) or
//! change (by writing to it). The first is caught: see `guard.rs`. The second can at worst make us hash or send wrong
//! bytes, which the hash finds; no reference or other value with a forbidden bit pattern is ever made from them.
#![allow(unsafe_code)]

mod buffer;
mod guard;
mod window;

pub(super) use buffer::BufferPool;
pub(super) use window::{MapError, Segment};
pub use window::{ReadWindow, WriteWindow};
#[cfg(test)]
pub(crate) use window::{test_mapped_window, test_window};
