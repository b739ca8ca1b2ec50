//! Two SHA-1 compressions in turns, with the SHA extensions of x86-64 (Intel SDM, volume 1, 13.5).
//!
//! `SHA1RNDS4` does four of the eighty rounds and answers after four or more cycles, in which nothing that needs the
//! result can begin. Here the rounds of two messages alternate. All state of both, 4 + 4 registers of message words and
//! 2 x 3 of chaining values, fits the 16 vector registers.
#![allow(unsafe_code)]

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_extract_epi32, _mm_set_epi32, _mm_set_epi64x, _mm_sha1msg1_epu32, _mm_sha1msg2_epu32,
    _mm_sha1nexte_epu32, _mm_sha1rnds4_epu32, _mm_shuffle_epi32, _mm_xor_si128,
};

use super::{Block, State};

/// True if this processor has the instructions.
pub(super) fn is_supported() -> bool {
    is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1")
}

/// Hashes two equally long runs of blocks. Only for processors on which [`is_supported`] holds.
pub(super) fn compress_both(states: [&mut State; 2], blocks: [&[Block]; 2]) {
    assert!(is_supported(), "asked for without the instructions");
    // SAFETY: the only condition is that the processor has the instructions, which was just asked.
    unsafe { compress_in_turns(states, blocks) }
}

/// One message between two blocks.
#[derive(Clone, Copy)]
struct Chain {
    /// A, B, C, D, the first in the highest lane, as the instructions want it.
    abcd: __m128i,
    /// E in the highest lane.
    e: __m128i,
}

/// One message within a block.
struct Lane {
    abcd: __m128i,
    e: __m128i,
    /// The next 16 message words, four in each, the first in the highest lane.
    words: [__m128i; 4],
}

impl Lane {
    #[target_feature(enable = "sha,sse4.1")]
    #[inline]
    fn new(chain: Chain, block: &Block) -> Self {
        let mut words = [chain.e; 4];
        for (four, bytes) in words.iter_mut().zip(block.as_chunks::<16>().0) {
            // Big-endian words, the first in the highest lane.
            let [high, low] = bytes.as_chunks().0 else { continue };
            *four = _mm_set_epi64x(i64::from_be_bytes(*high), i64::from_be_bytes(*low));
        }
        Self { abcd: chain.abcd, e: chain.e, words }
    }

    /// Four of the eighty rounds: `GROUP` 0 to 19, with function and constant `KIND` 0 to 3.
    #[target_feature(enable = "sha,sse4.1")]
    #[inline]
    fn four_rounds<const KIND: i32, const GROUP: u32>(&mut self) {
        let [now, second, third, fourth] = self.words;
        let e = if GROUP == 0 { _mm_add_epi32(self.e, now) } else { _mm_sha1nexte_epu32(self.e, now) };
        self.e = self.abcd;
        self.abcd = _mm_sha1rnds4_epu32::<KIND>(self.abcd, e);
        // The last sixteen words need no successors.
        let next = if GROUP < 16 {
            _mm_sha1msg2_epu32(_mm_xor_si128(_mm_sha1msg1_epu32(now, second), third), fourth)
        } else {
            now
        };
        self.words = [second, third, fourth, next];
    }

    #[target_feature(enable = "sha,sse4.1")]
    #[inline]
    fn end(self, chain: Chain) -> Chain {
        Chain { abcd: _mm_add_epi32(self.abcd, chain.abcd), e: _mm_sha1nexte_epu32(self.e, chain.e) }
    }
}

macro_rules! in_turns {
    ($left:ident, $right:ident: $($kind:literal $group:literal),*) => {
        $( $left.four_rounds::<$kind, $group>(); $right.four_rounds::<$kind, $group>(); )*
    };
}

#[target_feature(enable = "sha,sse4.1")]
fn compress_in_turns(states: [&mut State; 2], blocks: [&[Block]; 2]) {
    let [mut first, mut second] = [load(states[0]), load(states[1])];
    for (left_block, right_block) in blocks[0].iter().zip(blocks[1]) {
        let [mut left, mut right] = [Lane::new(first, left_block), Lane::new(second, right_block)];
        in_turns!(left, right: 0 0, 0 1, 0 2, 0 3, 0 4);
        in_turns!(left, right: 1 5, 1 6, 1 7, 1 8, 1 9);
        in_turns!(left, right: 2 10, 2 11, 2 12, 2 13, 2 14);
        in_turns!(left, right: 3 15, 3 16, 3 17, 3 18, 3 19);
        [first, second] = [left.end(first), right.end(second)];
    }
    store(first, states[0]);
    store(second, states[1]);
}

#[target_feature(enable = "sha,sse4.1")]
fn load(&[a, b, c, d, e]: &State) -> Chain {
    let [a, b, c, d, e] = [a, b, c, d, e].map(u32::cast_signed);
    Chain { abcd: _mm_set_epi32(a, b, c, d), e: _mm_set_epi32(e, 0, 0, 0) }
}

#[target_feature(enable = "sha,sse4.1")]
fn store(chain: Chain, state: &mut State) {
    let turned = _mm_shuffle_epi32::<0b00_01_10_11>(chain.abcd);
    let words = [
        _mm_extract_epi32::<0>(turned),
        _mm_extract_epi32::<1>(turned),
        _mm_extract_epi32::<2>(turned),
        _mm_extract_epi32::<3>(turned),
        _mm_extract_epi32::<3>(chain.e),
    ];
    *state = words.map(i32::cast_unsigned);
}
