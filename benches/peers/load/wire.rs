//! As much of the peer protocol (BEP 3, and "have all" of BEP 6) as a load tool needs.

use crate::trouble::Trouble;

/// Bytes of a block, as every client asks for them.
pub const BLOCK: u32 = 16 * 1024;

/// Bytes of a handshake.
pub const HANDSHAKE_LEN: usize = 68;

/// Says that nothing is wanted.
pub const NOT_INTERESTED: [u8; 5] = [0, 0, 0, 1, 3];

/// Says that blocks are wanted.
pub const INTERESTED: [u8; 5] = [0, 0, 0, 1, 2];

/// Lets the other side ask for blocks.
pub const UNCHOKE: [u8; 5] = [0, 0, 0, 1, 1];

/// Has every piece (BEP 6).
pub const HAVE_ALL: [u8; 5] = [0, 0, 0, 1, 14];

/// Byte of the reserved field that holds the bit for BEP 6, and the bit.
const FAST: (usize, u8) = (27, 0x04);

/// A message longer than this is nonsense.
const MAX_MESSAGE: u32 = 16 << 20;

/// A message in as far as somebody here cares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Message {
    /// The other side takes no requests.
    Choke,
    /// The other side takes requests.
    Unchoke,
    /// Asks for a block.
    Request { piece: u32, begin: u32, len: u32 },
    /// The front of a block.
    Block { piece: u32, begin: u32, len: u32 },
    /// Anything else.
    Other,
}

/// The first bytes of a connection.
pub fn handshake(info_hash: &[u8; 20], fast: bool) -> [u8; HANDSHAKE_LEN] {
    let mut bytes = [0; HANDSHAKE_LEN];
    bytes[..20].copy_from_slice(b"\x13BitTorrent protocol");
    if fast {
        bytes[FAST.0] = FAST.1;
    }
    bytes[28..48].copy_from_slice(info_hash);
    bytes[48..56].copy_from_slice(b"-LD0001-");
    for byte in &mut bytes[56..] {
        *byte = fastrand::u8(b'a'..=b'z');
    }
    bytes
}

/// Checks the answer to a handshake; whether both sides speak BEP 6.
pub fn speaks_fast(answer: &[u8], info_hash: &[u8; 20]) -> Result<bool, Trouble> {
    if answer.get(..20) != Some(b"\x13BitTorrent protocol") || answer.get(28..48) != Some(info_hash) {
        return Err(Trouble::failed("that was no handshake for this torrent"));
    }
    Ok(answer.get(FAST.0).is_some_and(|byte| byte & FAST.1 != 0))
}

/// The message that a seeder begins with when the other side does not speak BEP 6.
pub fn full_bitfield(pieces: u32) -> Vec<u8> {
    let bytes = pieces.div_ceil(8);
    let mut message = (bytes + 1).to_be_bytes().to_vec();
    message.push(5);
    message.resize(message.len() + bytes as usize, 0xff);
    let spare = bytes * 8 - pieces;
    if let Some(last) = message.last_mut() {
        *last = 0xff << spare;
    }
    message
}

/// Appends a request for a block.
pub fn push_request(out: &mut Vec<u8>, piece: u32, begin: u32) {
    out.extend_from_slice(&[0, 0, 0, 13, 6]);
    for number in [piece, begin, BLOCK] {
        out.extend_from_slice(&number.to_be_bytes());
    }
}

/// The 13 bytes in front of a block.
pub fn block_header(piece: u32, begin: u32, len: u32) -> [u8; 13] {
    let mut header = [0; 13];
    header[..4].copy_from_slice(&(len + 9).to_be_bytes());
    header[4] = 7;
    header[5..9].copy_from_slice(&piece.to_be_bytes());
    header[9..].copy_from_slice(&begin.to_be_bytes());
    header
}

/// Finds messages in a stream of bytes that is cut anywhere, and steps over what nobody reads.
#[derive(Default)]
pub struct Decoder {
    front: Vec<u8>,
    skip: usize,
}

impl Decoder {
    /// Feeds received bytes. `found` gets each message as soon as its front is there, with what of a block's bytes came
    /// right behind it.
    pub fn feed(&mut self, mut bytes: &[u8], mut found: impl FnMut(Message, &[u8])) -> Result<(), Trouble> {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let need = front_len(&self.front);
            let taken = (need - self.front.len()).min(bytes.len());
            self.front.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if self.front.len() < need {
                return Ok(());
            }
            if front_len(&self.front) > need {
                continue;
            }
            let len = number(&self.front, 0);
            if len > MAX_MESSAGE {
                return Err(Trouble::failed(format!("the client sent a message of {len} bytes")));
            }
            self.skip = (len as usize + 4).saturating_sub(need);
            let message = message(&self.front, len);
            found(message, &bytes[..self.skip.min(bytes.len())]);
            self.front.clear();
        }
    }
}

/// How many bytes tell what a message is, as far as can be said by its first bytes.
fn front_len(front: &[u8]) -> usize {
    match (front.len(), front.get(4)) {
        (..4, _) => 4,
        // A keep-alive is its length alone.
        (4, _) if number(front, 0) == 0 => 4,
        (4, _) => 5,
        (_, Some(6)) => 17,
        (_, Some(7)) => 13,
        _ => 5,
    }
}

fn message(front: &[u8], len: u32) -> Message {
    let (piece, begin) = (number(front, 5), number(front, 9));
    match front.get(4) {
        Some(0) => Message::Choke,
        Some(1) => Message::Unchoke,
        Some(6) => Message::Request { piece, begin, len: number(front, 13) },
        Some(7) => Message::Block { piece, begin, len: len.saturating_sub(9) },
        _ => Message::Other,
    }
}

/// The number at `at`, 0 beyond the end.
fn number(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_be_bytes)
}
