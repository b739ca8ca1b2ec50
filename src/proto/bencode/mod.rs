//! Bencode (BEP 3): a borrowed tree of values, and byte ranges of values that must not be decoded and encoded again.
//!
//! Decoding ([`Node::parse`], [`raw`]) is our own because it must be tolerant: real trackers and old programs write
//! dictionaries with unsorted keys, for which `bendy` refuses the whole message. It is strict about everything else (no
//! leading zeros, no `-0`, keys are strings) and bounded: [`Limits`] hold for depth and for the number of values, so
//! memory stays in proportion to what the caller is ready to spend. Of two equal keys the first one counts.
//! Encoding goes through `bendy` and is always canonical.

mod decode;
mod encode;
pub mod raw;

pub use decode::{BencodeError, Limits, Node};
