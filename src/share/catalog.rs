//! The catalog: a list of shares that is too long for XMPP, as the one file of a torrent. Pure.
//!
//! Contacts fetch it from whoever announces it, and after a change only what is different. So the list is cut by info
//! hash, not by position: the file has 2^k pieces of [`PIECE_LEN`] bytes, and piece `i` holds the shares whose info hash
//! begins with the k bits of `i`. A share that comes, goes or changes touches one piece.
//!
//! A piece is `bwc1`, the number of its shares (two bytes, big endian), the shares, and zeros to its end. A share is its
//! info hash (20 bytes), its size and its number of files (LEB128), one byte of flags (1: complete), the length of its
//! name (one byte) and the name (UTF-8). Shares are ordered by info hash, and none comes twice.
//!
//! The torrent's info dictionary says nothing but the name `catalog`, the length, the piece length, the pieces and
//! `private`, so the info hash follows from the file alone: a reader that has the file needs nothing else to know whether
//! it is the announced one.

use sha1::{Digest, Sha1};
use thiserror::Error;

use crate::proto::metainfo::{Builder, Metainfo, MetainfoError, NewFile};
use crate::types::{Catalog, InfoHash, MAX_NAME_LEN, MAX_SHARES_PER_CONTACT, PieceHash, Share};

/// Name of the torrent and of its file.
pub const FILE_NAME: &str = "catalog";
/// Bytes of a piece: what a change costs, and the smallest that clients take.
pub const PIECE_LEN: usize = 16 * 1024;
/// Pieces of the longest catalog, as a power of two: a million shares with names of 40 bytes.
const MAX_BITS: u32 = 13;
/// Bytes of the longest catalog.
pub const MAX_LEN: u64 = (PIECE_LEN as u64) << MAX_BITS;

const MAGIC: [u8; 4] = *b"bwc1";
const HEAD_LEN: usize = MAGIC.len() + 2;
/// Of a new catalog no piece is fuller than this, so that shares can be added for a while before it has to grow.
const FILLED: usize = PIECE_LEN * 85 / 100;
/// A catalog that holds less than this in the middle of all its pieces is made shorter.
const SPARSE: usize = PIECE_LEN * 30 / 100;
/// How many times the room of what is in it a catalog may take. Info hashes that begin alike, which somebody may choose
/// on purpose, would make it longer and longer.
const MOST_SPREAD: usize = 16;
const COMPLETE: u8 = 1;

/// Why a file is no catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// Its length.
    #[error("a catalog is never {0} bytes long")]
    Length(u64),
    /// Not this format, or a later one.
    #[error("piece {0} does not begin as pieces of a catalog do")]
    Magic(usize),
    /// It ends in the middle of a share.
    #[error("piece {0} ends in the middle of a share")]
    CutShort(usize),
    /// A number that no share has.
    #[error("piece {0} has a number that is too large")]
    Number(usize),
    /// A name that is no text.
    #[error("piece {0} has a name that is no UTF-8")]
    Name(usize),
    /// Shares that do not belong into this piece, or not in this order.
    #[error("the shares in piece {0} are not in order")]
    Order(usize),
    /// Something behind the last share.
    #[error("piece {0} goes on behind its last share")]
    Tail(usize),
    /// More than anybody is believed to share.
    #[error("it holds more than {MAX_SHARES_PER_CONTACT} shares")]
    TooMany,
    /// Another number of shares than the announcement says.
    #[error("it holds {found} shares, not {announced} as announced")]
    Count {
        /// As announced.
        announced: u64,
        /// In it.
        found: u64,
    },
}

/// A catalog as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The file.
    pub bytes: Vec<u8>,
    /// Shares in it.
    pub count: u64,
    /// Shares for which no room could be made.
    pub left_out: u64,
}

/// Writes a catalog. One that is to replace another of `before` bytes keeps that length if it can, or the reader could use
/// nothing of what it has.
#[must_use]
pub fn build(shares: &[Share], before: Option<u64>) -> Built {
    let mut ordered: Vec<&Share> = shares.iter().collect();
    ordered.sort_by_key(|share| share.info_hash);
    ordered.dedup_by_key(|share| share.info_hash);
    let announced = shares.len() as u64;
    ordered.truncate(MAX_SHARES_PER_CONTACT);
    let bits = choose_bits(&ordered, before.and_then(bits_of));
    let mut bytes = vec![0; PIECE_LEN << bits];
    let mut count = 0;
    let mut left = ordered.as_slice();
    for (index, piece) in bytes.chunks_exact_mut(PIECE_LEN).enumerate() {
        let own = left.partition_point(|share| bucket(&share.info_hash, bits) <= index);
        let (here, rest) = left.split_at(own);
        count += write_piece(here, piece);
        left = rest;
    }
    Built { bytes, count, left_out: announced - count }
}

/// The torrent of which this is the file.
///
/// # Errors
/// None for the bytes of a catalog.
pub fn describe(bytes: &[u8]) -> Result<Metainfo, MetainfoError> {
    let hash = |piece: &[u8]| PieceHash::new(Sha1::digest(piece).into());
    let hashes: Vec<PieceHash> = bytes.chunks(PIECE_LEN).map(hash).collect();
    let builder = Builder {
        name: FILE_NAME.into(),
        files: vec![NewFile { path: Vec::new(), len: bytes.len() as u64 }],
        single_file: true,
        piece_length: u32::try_from(PIECE_LEN).unwrap_or(u32::MAX),
        private: true,
        ..Builder::default()
    };
    builder.build(&hashes)
}

/// Could there be such a catalog?
///
/// # Errors
/// [`CatalogError::Length`] or [`CatalogError::TooMany`].
pub fn check(announced: &Catalog) -> Result<(), CatalogError> {
    if bits_of(announced.size).is_none() {
        return Err(CatalogError::Length(announced.size));
    }
    if announced.count > MAX_SHARES_PER_CONTACT as u64 {
        return Err(CatalogError::TooMany);
    }
    Ok(())
}

/// Reads a catalog that was announced like this. Names are as they stand there: whoever shows them makes them fit.
///
/// # Errors
/// [`CatalogError`]; nothing of it counts then.
pub fn parse(bytes: &[u8], announced: &Catalog) -> Result<Vec<Share>, CatalogError> {
    check(announced)?;
    let len = bytes.len() as u64;
    let bits = bits_of(len).filter(|_| len == announced.size).ok_or(CatalogError::Length(len))?;
    let mut shares = Vec::new();
    for (index, piece) in bytes.chunks_exact(PIECE_LEN).enumerate() {
        read_piece(index, bits, piece, &mut shares)?;
        if shares.len() > MAX_SHARES_PER_CONTACT {
            return Err(CatalogError::TooMany);
        }
    }
    let found = shares.len() as u64;
    if found != announced.count {
        return Err(CatalogError::Count { announced: announced.count, found });
    }
    Ok(shares)
}

/// How many bits of an info hash tell the piece in a catalog of this length; `None` if there is none so long.
fn bits_of(len: u64) -> Option<u32> {
    (0..=MAX_BITS).find(|bits| len == (PIECE_LEN as u64) << bits)
}

/// The piece in which a share with this info hash is.
fn bucket(info_hash: &InfoHash, bits: u32) -> usize {
    let beginning = info_hash.as_bytes().first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
    beginning.checked_shr(u32::BITS - bits).map_or(0, |index| usize::try_from(index).unwrap_or(usize::MAX))
}

/// As few as there is room with, or as many as before if that still does.
fn choose_bits(shares: &[&Share], before: Option<u32>) -> u32 {
    let total: usize = shares.iter().map(|share| written_len(share)).sum();
    let spread = |bits: u32| (PIECE_LEN << bits) / MOST_SPREAD > total.max(PIECE_LEN);
    let keeps = |bits: &u32| (*bits == 0 || total >> bits >= SPARSE) && fullest(shares, *bits) <= PIECE_LEN;
    let fits = |bits: &u32| fullest(shares, *bits) <= FILLED || spread(bits + 1);
    before.filter(keeps).or_else(|| (least_bits(total)..=MAX_BITS).find(fits)).unwrap_or(MAX_BITS)
}

/// With fewer there is no room for so many bytes.
fn least_bits(total: usize) -> u32 {
    (0..MAX_BITS).find(|bits| total >> bits <= FILLED).unwrap_or(MAX_BITS)
}

/// Bytes in the piece with most.
fn fullest(shares: &[&Share], bits: u32) -> usize {
    let (mut fullest, mut current, mut bytes) = (0, 0, HEAD_LEN);
    for share in shares {
        let index = bucket(&share.info_hash, bits);
        if index != current {
            (current, bytes) = (index, HEAD_LEN);
        }
        bytes += written_len(share);
        fullest = fullest.max(bytes);
    }
    fullest
}

/// Bytes that a share takes.
fn written_len(share: &Share) -> usize {
    let varint = |value: u64| (u64::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize;
    let name = written_name(&share.name).len();
    InfoHash::LEN + varint(share.size) + varint(share.files.into()) + 2 + name
}

/// As much of the name as there is room for.
fn written_name(name: &str) -> &str {
    let len = (0..=name.len().min(MAX_NAME_LEN)).rev().find(|len| name.is_char_boundary(*len));
    name.get(..len.unwrap_or_default()).unwrap_or_default()
}

/// Writes as many of these shares as there is room for, and tells how many.
fn write_piece(shares: &[&Share], piece: &mut [u8]) -> u64 {
    let mut text = Vec::with_capacity(PIECE_LEN);
    text.extend(MAGIC);
    text.extend([0; 2]);
    let mut count: u16 = 0;
    for share in shares {
        if text.len() + written_len(share) > piece.len() {
            continue;
        }
        text.extend(share.info_hash.as_bytes());
        push_varint(&mut text, share.size);
        push_varint(&mut text, share.files.into());
        text.push(if share.complete { COMPLETE } else { 0 });
        let name = written_name(&share.name);
        text.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        text.extend(name.as_bytes());
        count += 1;
    }
    piece.iter_mut().zip(text).for_each(|(to, from)| *to = from);
    piece.iter_mut().skip(MAGIC.len()).zip(count.to_be_bytes()).for_each(|(to, from)| *to = from);
    count.into()
}

fn push_varint(text: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        text.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    text.push((value & 0x7f) as u8);
}

fn read_piece(index: usize, bits: u32, piece: &[u8], shares: &mut Vec<Share>) -> Result<(), CatalogError> {
    let mut reader = Reader(piece);
    if reader.take::<4>() != Some(MAGIC) {
        return Err(CatalogError::Magic(index));
    }
    let count = reader.take().map(u16::from_be_bytes).ok_or(CatalogError::CutShort(index))?;
    let mut last: Option<InfoHash> = None;
    for _ in 0..count {
        let info_hash = InfoHash::new(reader.take().ok_or(CatalogError::CutShort(index))?);
        if bucket(&info_hash, bits) != index || last.is_some_and(|last| last >= info_hash) {
            return Err(CatalogError::Order(index));
        }
        last = Some(info_hash);
        let (Some(size), Some(files)) = (reader.varint(), reader.varint()) else {
            return Err(CatalogError::Number(index));
        };
        let [flags, name_len] = reader.take().ok_or(CatalogError::CutShort(index))?;
        let name = reader.bytes(name_len.into()).ok_or(CatalogError::CutShort(index))?;
        let name = std::str::from_utf8(name).map_err(|_| CatalogError::Name(index))?;
        shares.push(Share {
            info_hash,
            name: name.into(),
            size,
            files: u32::try_from(files).map_err(|_| CatalogError::Number(index))?,
            complete: flags & COMPLETE != 0,
        });
    }
    if reader.0.iter().any(|byte| *byte != 0) {
        return Err(CatalogError::Tail(index));
    }
    Ok(())
}

/// What is left to be read of a piece.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value: u64 = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let [byte] = self.take()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return None;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
