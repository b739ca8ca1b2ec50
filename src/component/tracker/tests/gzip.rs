//! Replies that are compressed.

use super::*;

/// Bits in the order of RFC 1951.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: usize,
}

impl Bits {
    fn push(&mut self, bit: bool) {
        if self.used.is_multiple_of(8) {
            self.bytes.push(0);
        }
        *self.bytes.last_mut().unwrap() |= u8::from(bit) << (self.used % 8);
        self.used += 1;
    }

    /// A Huffman code: the highest bit first.
    fn code(&mut self, code: u16, len: u16) {
        (0..len).rev().for_each(|bit| self.push(code >> bit & 1 == 1));
    }
}

/// A gzip file (RFC 1952) of `repeats` times 258 `l`, in 13 bits each; its end is missing.
fn gzip_bomb(repeats: usize) -> Vec<u8> {
    let mut bits = Bits::default();
    [true, true, false].into_iter().for_each(|bit| bits.push(bit)); // last block, fixed codes
    bits.code(0b0011_0000 + u16::from(b'l'), 8);
    for _ in 0..repeats {
        bits.code(0b1100_0101, 8); // length 258
        bits.code(0, 5); // distance 1
    }
    [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3], &bits.bytes[..]].concat()
}

#[test]
fn a_reply_that_swells_when_it_is_unpacked_is_cut_off() {
    let bomb = gzip_bomb(1_000_000);
    assert!(bomb.len() < 2_000_000, "{}", bomb.len());
    let addr = http_tracker(move |_| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", bomb.len());
        [head.as_bytes(), &bomb].concat()
    });
    assert_eq!(announce(&format!("http://{addr}/")), Err(AnnounceError::TooLarge(MAX_REPLY_LEN)));
}
