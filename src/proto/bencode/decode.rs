//! The borrowed tree of bencoded values (BEP 3) and what may go wrong while it is read.
//!
//! Strings point into the input; only lists and dictionaries allocate. The dictionary order of the input is kept.

use super::raw::{MAX_DEPTH, Scanner};

/// Input that is not bencode, or more of it than the reader is ready for. Offsets count bytes from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BencodeError {
    /// The input ends inside a value.
    #[error("bencode ends in the middle of a value")]
    UnexpectedEnd,
    /// A byte that cannot begin or continue a value here.
    #[error("unexpected byte {} at offset {at} of bencode", byte.escape_ascii())]
    UnexpectedByte {
        /// The byte.
        byte: u8,
        /// Its offset.
        at: usize,
    },
    /// Leading zeros or `-0`.
    #[error("malformed number at offset {0} of bencode")]
    Number(usize),
    /// An integer that does not fit 64 bits.
    #[error("integer at offset {0} of bencode does not fit 64 bits")]
    IntegerRange(usize),
    /// A string that claims to be longer than the input.
    #[error("string at offset {0} of bencode is longer than the input")]
    StringTooLong(usize),
    /// More nesting than is followed.
    #[error("bencode nests too deeply at offset {0}")]
    TooDeep(usize),
    /// More values than the limit.
    #[error("bencode holds more than {0} values")]
    TooManyValues(usize),
    /// Bytes behind the value.
    #[error("unexpected bytes behind the bencoded value, from offset {0}")]
    TrailingBytes(usize),
}

/// How much a tree may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Levels of lists and dictionaries.
    pub depth: usize,
    /// Values of any kind, keys not counted. One takes up to 48 bytes of memory.
    pub values: usize,
}

impl Limits {
    /// For what a peer or tracker sends. A tracker's list of 2,000 peers in the old format has 8,000 values.
    pub const MESSAGE: Self = Self { depth: MAX_DEPTH, values: 20_000 };
    /// For torrent files. 300,000 files need about 1.8 million values.
    pub const FILE: Self = Self { depth: MAX_DEPTH, values: 4_000_000 };
}

/// One bencoded value. Strings are bytes of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node<'a> {
    /// An integer.
    Int(i64),
    /// A byte string; not necessarily text.
    Bytes(&'a [u8]),
    /// A list.
    List(Vec<Node<'a>>),
    /// A dictionary in the order of the input. Keys may be unsorted or repeated.
    Dict(Vec<(&'a [u8], Node<'a>)>),
}

impl<'a> Node<'a> {
    /// Reads a message: exactly one value, within [`Limits::MESSAGE`].
    ///
    /// # Errors
    /// [`BencodeError`] if `input` is anything else.
    pub fn parse(input: &'a [u8]) -> Result<Self, BencodeError> {
        Self::parse_with(input, Limits::MESSAGE)
    }

    /// Reads exactly one value within `limits`.
    ///
    /// # Errors
    /// [`BencodeError`] if `input` is anything else.
    pub fn parse_with(input: &'a [u8], limits: Limits) -> Result<Self, BencodeError> {
        let (node, used) = Self::parse_prefix_with(input, limits)?;
        if used < input.len() { Err(BencodeError::TrailingBytes(used)) } else { Ok(node) }
    }

    /// Reads the value at the front of a message, within [`Limits::MESSAGE`], and tells how many bytes it took. What
    /// follows is the caller's: a `ut_metadata` message has raw data there (BEP 9).
    ///
    /// # Errors
    /// [`BencodeError`] if `input` does not begin with a complete value.
    pub fn parse_prefix(input: &'a [u8]) -> Result<(Self, usize), BencodeError> {
        Self::parse_prefix_with(input, Limits::MESSAGE)
    }

    /// [`Node::parse_prefix`] with other limits.
    ///
    /// # Errors
    /// See [`Node::parse_prefix`].
    pub fn parse_prefix_with(input: &'a [u8], limits: Limits) -> Result<(Self, usize), BencodeError> {
        let mut builder = Builder { scanner: Scanner::new(input), left: limits.values, limits };
        let node = builder.node(limits.depth.min(MAX_DEPTH))?;
        Ok((node, builder.scanner.at))
    }

    /// The value of a key, the first one if it is there twice. `None` also if this is no dictionary.
    #[must_use]
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<&Self> {
        let key = key.as_ref();
        self.as_dict()?.iter().find_map(|(found, value)| (*found == key).then_some(value))
    }

    /// The integer, if this is one.
    #[must_use]
    pub const fn as_int(&self) -> Option<i64> {
        if let Self::Int(value) = self { Some(*value) } else { None }
    }

    /// The string, if this is one.
    #[must_use]
    pub const fn as_bytes(&self) -> Option<&'a [u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    /// The string, if this is one and valid UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&'a str> {
        str::from_utf8(self.as_bytes()?).ok()
    }

    /// The items, if this is a list.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Self]> {
        if let Self::List(items) = self { Some(items) } else { None }
    }

    /// The entries, if this is a dictionary.
    #[must_use]
    pub fn as_dict(&self) -> Option<&[(&'a [u8], Self)]> {
        if let Self::Dict(entries) = self { Some(entries) } else { None }
    }
}

/// Builds the tree from the scanner's tokens.
struct Builder<'a> {
    scanner: Scanner<'a>,
    /// Values that may still be made.
    left: usize,
    limits: Limits,
}

impl<'a> Builder<'a> {
    fn node(&mut self, depth: usize) -> Result<Node<'a>, BencodeError> {
        self.left = self.left.checked_sub(1).ok_or(BencodeError::TooManyValues(self.limits.values))?;
        match self.scanner.peek()? {
            b'i' => self.scanner.int().map(Node::Int),
            b'l' => {
                let depth = self.scanner.enter(depth)?;
                let mut items = Vec::new();
                while !self.scanner.close() {
                    items.push(self.node(depth)?);
                }
                Ok(Node::List(items))
            }
            b'd' => {
                let depth = self.scanner.enter(depth)?;
                let mut entries = Vec::new();
                while !self.scanner.close() {
                    entries.push((self.scanner.bytes()?, self.node(depth)?));
                }
                Ok(Node::Dict(entries))
            }
            _ => self.scanner.bytes().map(Node::Bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_read_with_its_unsorted_keys() {
        let node = Node::parse(b"d8:intervali1800e8:completei3e5:peerslee").unwrap();
        assert_eq!(node.get("interval").and_then(Node::as_int), Some(1800));
        assert_eq!(node.get(b"peers").and_then(Node::as_list), Some(&[][..]));
        assert_eq!(node.get("nothing"), None);
        assert_eq!(Node::Int(1).get("x"), None);
        assert_eq!(Node::parse(b"d1:ai1e1:ai2ee").unwrap().get("a"), Some(&Node::Int(1)));
    }

    #[test]
    fn trailing_bytes_are_an_error_or_left_to_the_caller() {
        assert_eq!(Node::parse(b"i1ei2e"), Err(BencodeError::TrailingBytes(3)));
        assert_eq!(Node::parse_prefix(b"i1ei2e"), Ok((Node::Int(1), 3)));
    }

    #[test]
    fn values_are_counted() {
        let limits = Limits { depth: 2, values: 3 };
        assert!(Node::parse_with(b"li1ei2ee", limits).is_ok());
        assert_eq!(Node::parse_with(b"li1ei2ei3ee", limits), Err(BencodeError::TooManyValues(3)));
        assert_eq!(Node::parse_with(b"llleee", limits), Err(BencodeError::TooDeep(2)));
    }

    #[test]
    fn strings_need_not_be_text() {
        let node = Node::parse(b"2:\xff\xfe").unwrap();
        assert_eq!(node.as_bytes(), Some(&b"\xff\xfe"[..]));
        assert_eq!(node.as_str(), None);
    }
}
