//! What holds for every file that is said to be a catalog.
//!
//! An input stands for the file that it makes with zeros behind it, so that the inputs are short.
#![allow(clippy::expect_used, reason = "a broken promise ends the run")]

use bitween::share::catalog::{self, PIECE_LEN};
use bitween::types::Catalog;

/// Whether it is one.
pub fn catalog(input: &[u8]) -> bool {
    let mut bytes = input.to_vec();
    bytes.resize(input.len().div_ceil(PIECE_LEN).max(1).next_power_of_two() * PIECE_LEN, 0);
    let counts = bytes.chunks(PIECE_LEN).filter_map(|piece| piece.get(4..6)?.first_chunk());
    let count = counts.map(|count| u64::from(u16::from_be_bytes(*count))).sum();
    let Ok(metainfo) = catalog::describe(&bytes) else { return false };
    let announced = Catalog { info_hash: metainfo.info_hash, size: bytes.len() as u64, count };
    let Ok(shares) = catalog::parse(&bytes, &announced) else { return false };
    assert!(shares.windows(2).all(|pair| matches!(pair, [one, other] if one.info_hash < other.info_hash)));
    let built = catalog::build(&shares, Some(announced.size));
    assert_eq!((built.count, built.left_out), (count, 0));
    let again = describe(&built);
    assert_eq!(catalog::parse(&built.bytes, &again).expect("what was written can be read"), shares);
    true
}

fn describe(built: &catalog::Built) -> Catalog {
    let metainfo = catalog::describe(&built.bytes).expect("a catalog is a torrent");
    Catalog { info_hash: metainfo.info_hash, size: built.bytes.len() as u64, count: built.count }
}
