//! SHA-1 (FIPS 180-4) of two messages at once.
//!
//! One SHA-1 is a chain: each step waits for the one before, so a core with SHA instructions is idle half the time. Two
//! independent messages, step by step in turns, fill the gaps: about 1.8 times the speed on one core. Pieces are
//! independent messages, and a disk thread that checks or verifies has many of them.
//!
//! [`Pair`] cuts two messages into blocks; `x86.rs` is the interleaved kernel, found out at run time. Everywhere else, and
//! where one message is longer than the other, the `sha1` crate does the work; it is also the oracle of the tests.
//! Pure: no file, no thread.

#[cfg(target_arch = "x86_64")]
mod x86;

use ::sha1::block_api::compress;

/// The chaining value.
type State = [u32; 5];
/// What is hashed at a time.
type Block = [u8; BLOCK];

/// Bytes in a block of SHA-1.
const BLOCK: usize = 64;
/// The chaining value at the start (FIPS 180-4, 5.3.1).
const START: State = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

/// True if hashing two messages at once is faster here than one after the other. Not in a program built without
/// optimisation, where each instruction becomes a call; the tests of this module use the kernel all the same.
pub(super) fn has_two_lanes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return cfg!(any(test, not(debug_assertions))) && x86::is_supported();
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// Two messages that are being hashed.
#[derive(Default)]
pub(super) struct Pair {
    left: Lane,
    right: Lane,
}

/// One of the two.
struct Lane {
    state: State,
    /// Bytes so far.
    len: u64,
    /// The last `len % BLOCK` bytes.
    partial: Block,
}

impl Pair {
    /// Appends to both messages. Fastest if both parts have the same length.
    pub(super) fn update(&mut self, left: &[u8], right: &[u8]) {
        let left = self.left.fill(left).as_chunks().0;
        let right = self.right.fill(right).as_chunks().0;
        let both = left.len().min(right.len());
        let ((left, left_rest), (right, right_rest)) = (left.split_at(both), right.split_at(both));
        compress_both([&mut self.left.state, &mut self.right.state], [left, right]);
        compress(&mut self.left.state, left_rest);
        compress(&mut self.right.state, right_rest);
    }

    /// The hashes of both.
    pub(super) fn finish(self) -> [[u8; 20]; 2] {
        [self.left.finish(), self.right.finish()]
    }
}

impl Default for Lane {
    fn default() -> Self {
        Self { state: START, len: 0, partial: [0; BLOCK] }
    }
}

impl Lane {
    /// Completes a block that was begun, keeps the bytes behind the last whole block of `bytes`, and answers what lies
    /// between: whole blocks, and up to 63 bytes behind them that were kept.
    fn fill<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let begun = self.begun();
        self.len += bytes.len() as u64;
        let mut rest = bytes;
        if begun > 0 {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - begun));
            copy(&mut self.partial, begun, now);
            if begun + now.len() < BLOCK {
                return &[];
            }
            compress(&mut self.state, &[self.partial]);
            rest = later;
        }
        copy(&mut self.partial, 0, rest.as_chunks::<BLOCK>().1);
        rest
    }

    /// Bytes of the block that is not complete.
    #[expect(clippy::cast_possible_truncation, reason = "a remainder of 64")]
    const fn begun(&self) -> usize {
        (self.len % BLOCK as u64) as usize
    }

    fn finish(mut self) -> [u8; 20] {
        let begun = self.begun();
        let bits = self.len.wrapping_mul(8).to_be_bytes();
        if let Some(padding) = self.partial.get_mut(begun..) {
            padding.fill(0);
        }
        copy(&mut self.partial, begun, &[0x80]);
        if begun + 1 + bits.len() > BLOCK {
            compress(&mut self.state, &[self.partial]);
            self.partial = [0; BLOCK];
        }
        copy(&mut self.partial, BLOCK - bits.len(), &bits);
        compress(&mut self.state, &[self.partial]);
        let mut hash = [0; 20];
        for (out, word) in hash.as_chunks_mut().0.iter_mut().zip(self.state) {
            *out = word.to_be_bytes();
        }
        hash
    }
}

/// Hashes two messages that are read step by step, at once as far as both go.
///
/// `fill` puts the next bytes of message 0 or 1 into a buffer and says how many: fewer than fit only at the message's
/// end. A message that cannot be read to its end does not hold up the other one.
pub(super) fn hash_both<E>(
    buffers: &mut [Vec<u8>; 2],
    mut fill: impl FnMut(usize, &mut [u8]) -> Result<usize, E>,
) -> [Result<[u8; 20], E>; 2] {
    let mut pair = Pair::default();
    let mut ends: [Option<Result<(), E>>; 2] = [None, None];
    while ends.iter().any(Option::is_none) {
        let mut parts: [&[u8]; 2] = [&[], &[]];
        let lanes = ends.iter_mut().zip(&mut parts).zip(&mut *buffers).enumerate();
        for (lane, ((end, part), buffer)) in lanes.filter(|(_, ((end, _), _))| end.is_none()) {
            match fill(lane, buffer) {
                Ok(filled) => {
                    *end = (filled < buffer.len()).then_some(Ok(()));
                    *part = buffer.get(..filled).unwrap_or(buffer);
                }
                Err(error) => *end = Some(Err(error)),
            }
        }
        pair.update(parts[0], parts[1]);
    }
    let [left, right] = pair.finish();
    let [left_end, right_end] = ends.map(|end| end.unwrap_or(Ok(())));
    [left_end.map(|()| left), right_end.map(|()| right)]
}

/// Puts `bytes` into a block; what does not fit is left out.
fn copy(block: &mut Block, at: usize, bytes: &[u8]) {
    for (to, from) in block.iter_mut().skip(at).zip(bytes) {
        *to = *from;
    }
}

/// Both runs of blocks, which are equally long.
fn compress_both([left, right]: [&mut State; 2], blocks: [&[Block]; 2]) {
    #[cfg(target_arch = "x86_64")]
    if has_two_lanes() {
        return x86::compress_both([left, right], blocks);
    }
    compress(left, blocks[0]);
    compress(right, blocks[1]);
}

#[cfg(test)]
mod tests {
    use ::sha1::{Digest, Sha1};
    use proptest::prelude::*;

    use super::*;

    fn oracle(message: &[u8]) -> [u8; 20] {
        Sha1::digest(message).into()
    }

    #[test]
    fn known_answers() {
        let mut pair = Pair::default();
        pair.update(b"abc", b"");
        let expected = [
            [
                0xa9, 0x99, 0x3e, 0x36, 0x47, 0x06, 0x81, 0x6a, 0xba, 0x3e, 0x25, 0x71, 0x78, 0x50, 0xc2, 0x6c, 0x9c,
                0xd0, 0xd8, 0x9d,
            ],
            [
                0xda, 0x39, 0xa3, 0xee, 0x5e, 0x6b, 0x4b, 0x0d, 0x32, 0x55, 0xbf, 0xef, 0x95, 0x60, 0x18, 0x90, 0xaf,
                0xd8, 0x07, 0x09,
            ],
        ];
        assert_eq!(pair.finish(), expected);
    }

    #[test]
    fn every_length_around_a_block_is_padded_right() {
        let message: Vec<u8> = (0..200).collect();
        for len in 0..=message.len() {
            let (left, right) = (&message[..len], &message[len..]);
            let mut pair = Pair::default();
            pair.update(left, right);
            assert_eq!(pair.finish(), [oracle(left), oracle(right)], "{len}");
        }
    }

    #[test]
    fn a_message_that_cannot_be_read_does_not_hold_up_the_other() {
        let mut left = 10;
        let hashes = hash_both(&mut [vec![0; 100], vec![0; 100]], |lane, buffer| {
            if lane == 1 {
                return Err("gone");
            }
            let now = buffer.len().min(left * 25);
            left -= now / 25;
            buffer[..now].fill(3);
            Ok(now)
        });
        assert_eq!(hashes, [Ok(oracle(&[3; 250])), Err("gone")]);
    }

    proptest! {
        #[test]
        fn messages_cut_anywhere_hash_as_the_whole(
            parts in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..300), prop::collection::vec(any::<u8>(), 0..300)), 0..8),
        ) {
            let mut pair = Pair::default();
            for (left, right) in &parts {
                pair.update(left, right);
            }
            let (left, right): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
            prop_assert_eq!(pair.finish(), [oracle(&left.concat()), oracle(&right.concat())]);
        }
    }
}
