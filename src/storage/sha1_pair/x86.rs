//! Two SHA-1 compressions in turns, with the SHA extensions of x86-64 (Intel SDM, volume 1, 13.5).
//!
//! `SHA1RNDS4` does four of the eighty rounds and answers after four or more cycles, in which nothing that needs the
//! result can begin. Here the rounds of two messages alternate. All state of both, 4 + 4 registers of message words and
//! 2 x 3 of chaining values, fits the 16 vector registers.
//!
//! The rounds are macros, not functions: a compiler that is told to save room calls functions of this kind instead of
//! inlining them, and a fifth of the speed goes into carrying the state through memory.
#![allow(unsafe_code)]

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_extract_epi32, _mm_set_epi32, _mm_set_epi64x, _mm_sha1msg1_epu32, _mm_sha1msg2_epu32,
    _mm_sha1nexte_epu32, _mm_sha1rnds4_epu32, _mm_shuffle_epi8, _mm_shuffle_epi32, _mm_xor_si128,
};

use super::{Block, State};

/// True if this processor has the instructions.
pub(super) fn is_supported() -> bool {
    is_x86_feature_detected!("sha") && is_x86_feature_detected!("ssse3") && is_x86_feature_detected!("sse4.1")
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
    /// What the next E is made of: `abcd` of four rounds ago.
    before: __m128i,
    /// The next 16 message words, four in each, the first in the highest lane.
    w0: __m128i,
    w1: __m128i,
    w2: __m128i,
    w3: __m128i,
}

/// A lane at the start of a block, with its first four rounds done.
macro_rules! begin {
    ($chain:ident, $block:ident, $turn:ident) => {{
        let [a, b, c, d, e, f, g, h] = $block.as_chunks().0 else { break };
        let (w0, w1) = (big_endian!(a, b, $turn), big_endian!(c, d, $turn));
        let (w2, w3) = (big_endian!(e, f, $turn), big_endian!(g, h, $turn));
        // E is here as it is; all others are turned by `_mm_sha1nexte_epu32`.
        let abcd = _mm_sha1rnds4_epu32::<0>($chain.abcd, _mm_add_epi32($chain.e, w0));
        Lane { abcd, before: $chain.abcd, w0: successor!(w0, w1, w2, w3), w1, w2, w3 }
    }};
}

/// Twice eight bytes as four big-endian words, the first in the highest lane.
macro_rules! big_endian {
    ($first:ident, $last:ident, $turn:ident) => {
        _mm_shuffle_epi8(_mm_set_epi64x(i64::from_le_bytes(*$last), i64::from_le_bytes(*$first)), $turn)
    };
}

/// The four message words that come sixteen after the first of these.
macro_rules! successor {
    ($w0:expr, $w1:expr, $w2:expr, $w3:expr) => {
        _mm_sha1msg2_epu32(_mm_xor_si128(_mm_sha1msg1_epu32($w0, $w1), $w2), $w3)
    };
}

/// Four of the eighty rounds, with function and constant `$kind`, on the words `$now`. If others are named too, the
/// words sixteen later come in their place.
macro_rules! four_rounds {
    ($lane:ident $kind:literal $now:ident $($w1:ident $w2:ident $w3:ident)?) => {
        let e = _mm_sha1nexte_epu32($lane.before, $lane.$now);
        $lane.before = $lane.abcd;
        $lane.abcd = _mm_sha1rnds4_epu32::<$kind>($lane.abcd, e);
        $( $lane.$now = successor!($lane.$now, $lane.$w1, $lane.$w2, $lane.$w3); )?
    };
}

macro_rules! in_turns {
    ($left:ident, $right:ident: $($kind:literal ($($words:ident)*))*) => {
        $( four_rounds!($left $kind $($words)*); four_rounds!($right $kind $($words)*); )*
    };
}

macro_rules! end {
    ($lane:ident, $chain:ident) => {
        Chain { abcd: _mm_add_epi32($lane.abcd, $chain.abcd), e: _mm_sha1nexte_epu32($lane.before, $chain.e) }
    };
}

#[target_feature(enable = "sha,ssse3,sse4.1")]
fn compress_in_turns(states: [&mut State; 2], blocks: [&[Block]; 2]) {
    let turn = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
    let [mut first, mut second] = [load(states[0]), load(states[1])];
    for (left, right) in blocks[0].iter().zip(blocks[1]) {
        let (mut left, mut right) = (begin!(first, left, turn), begin!(second, right, turn));
        in_turns!(left, right: 0 (w1 w2 w3 w0) 0 (w2 w3 w0 w1) 0 (w3 w0 w1 w2) 0 (w0 w1 w2 w3));
        in_turns!(left, right: 1 (w1 w2 w3 w0) 1 (w2 w3 w0 w1) 1 (w3 w0 w1 w2) 1 (w0 w1 w2 w3) 1 (w1 w2 w3 w0));
        in_turns!(left, right: 2 (w2 w3 w0 w1) 2 (w3 w0 w1 w2) 2 (w0 w1 w2 w3) 2 (w1 w2 w3 w0) 2 (w2 w3 w0 w1));
        // The last sixteen words have no successors.
        in_turns!(left, right: 3 (w3 w0 w1 w2) 3 (w0) 3 (w1) 3 (w2) 3 (w3));
        (first, second) = (end!(left, first), end!(right, second));
    }
    store(first, states[0]);
    store(second, states[1]);
}

#[target_feature(enable = "sha,ssse3,sse4.1")]
fn load(&[a, b, c, d, e]: &State) -> Chain {
    let [a, b, c, d, e] = [a, b, c, d, e].map(u32::cast_signed);
    Chain { abcd: _mm_set_epi32(a, b, c, d), e: _mm_set_epi32(e, 0, 0, 0) }
}

#[target_feature(enable = "sha,ssse3,sse4.1")]
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
