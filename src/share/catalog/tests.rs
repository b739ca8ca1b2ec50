use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn share(hash: u64, name: &str) -> Share {
    let mut bytes = [9; InfoHash::LEN];
    bytes.iter_mut().zip(hash.to_be_bytes()).for_each(|(to, from)| *to = from);
    Share {
        info_hash: InfoHash::new(bytes),
        name: name.into(),
        size: hash >> 7,
        files: 3,
        complete: hash.is_multiple_of(2),
    }
}

/// Info hashes that are spread as real ones are.
fn many(count: u64) -> Vec<Share> {
    let mut rng = fastrand::Rng::with_seed(7);
    (0..count).map(|n| share(rng.u64(..), &format!("Holiday recording number {n:012}"))).collect()
}

fn announced(bytes: &[u8], count: u64) -> Catalog {
    Catalog { info_hash: describe(bytes).unwrap().info_hash, size: bytes.len() as u64, count }
}

fn read(built: &Built) -> Result<Vec<Share>, CatalogError> {
    parse(&built.bytes, &announced(&built.bytes, built.count))
}

fn changed_pieces(before: &[u8], after: &[u8]) -> usize {
    assert_eq!(before.len(), after.len());
    before.chunks(PIECE_LEN).zip(after.chunks(PIECE_LEN)).filter(|(before, after)| before != after).count()
}

#[test]
fn a_hundred_thousand_shares_come_back() {
    let mut shares = many(100_000);
    let built = build(&shares, None);
    assert_eq!((built.count, built.left_out), (100_000, 0));
    assert!(built.bytes.len() <= 16 << 20, "{} bytes", built.bytes.len());
    shares.sort_by_key(|share| share.info_hash);
    assert_eq!(read(&built).unwrap(), shares);
    shares.reverse();
    assert_eq!(build(&shares, None), built, "the order in which they come does not matter");
    let metainfo = describe(&built.bytes).unwrap();
    assert!(metainfo.raw_info().len() < 24 << 10, "{} bytes of description", metainfo.raw_info().len());
    assert!(metainfo.info.private && metainfo.info.single_file && &*metainfo.info.name == FILE_NAME);
}

#[test]
fn a_change_of_one_share_changes_one_piece() {
    let mut shares = many(20_000);
    let before = build(&shares, None);
    let same_length = |shares: &[Share]| build(shares, Some(before.bytes.len() as u64)).bytes;
    shares[77].complete = !shares[77].complete;
    assert_eq!(changed_pieces(&before.bytes, &same_length(&shares)), 1);
    let mut more = shares.clone();
    more.push(share(u64::MAX / 3, "new"));
    assert_eq!(changed_pieces(&same_length(&shares), &same_length(&more)), 1);
    shares.remove(5_000);
    assert_eq!(changed_pieces(&same_length(&shares), &same_length(&more)), 2);
}

#[test]
fn its_length_follows_the_list_and_does_not_waver() {
    let all = many(16_000);
    let mut len = None;
    let mut lengths = Vec::new();
    let up = (1..=16).map(|n| n * 1_000);
    for count in up.clone().chain(up.rev()) {
        let built = build(&all[..count], len);
        if len.replace(built.bytes.len() as u64) != Some(built.bytes.len() as u64) {
            lengths.push(built.bytes.len() / PIECE_LEN);
        }
        assert_eq!(built.left_out, 0);
        // Shares come and go around any number of them: the length stays.
        let fewer = build(&all[..count - 100], len);
        assert_eq!(build(&all[..count], Some(fewer.bytes.len() as u64)).bytes.len(), fewer.bytes.len(), "{count}");
    }
    assert!(lengths.len() <= 14, "{lengths:?}");
    assert_eq!(lengths.last(), lengths.first());
}

#[test]
fn info_hashes_that_begin_alike_do_not_make_it_long() {
    let alike: Vec<Share> = (0..2_000).map(|n| share(n, &format!("the same beginning {n:060}"))).collect();
    let built = build(&alike, None);
    assert!(built.bytes.len() <= 16 * 2_000 * 110, "{} bytes", built.bytes.len());
    assert!(built.count > 100 && built.count + built.left_out == 2_000);
    assert_eq!(read(&built).unwrap().len() as u64, built.count);
}

#[test]
fn an_empty_list_is_one_piece() {
    let built = build(&[], None);
    assert_eq!((built.bytes.len(), read(&built)), (PIECE_LEN, Ok(Vec::new())));
}

#[test]
fn what_is_no_catalog_is_refused_with_the_reason() {
    let good = build(&many(300), None);
    assert_eq!(good.bytes.len(), 2 * PIECE_LEN);
    let catalog = announced(&good.bytes, 300);
    let after = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.bytes.clone();
        change(&mut bytes);
        parse(&bytes, &catalog).unwrap_err()
    };
    assert_eq!(after(&|bytes| bytes[0] = b'x'), CatalogError::Magic(0));
    assert_eq!(after(&|bytes| bytes.truncate(PIECE_LEN)), CatalogError::Length(PIECE_LEN as u64));
    assert_eq!(after(&|bytes| bytes.push(0)), CatalogError::Length(2 * PIECE_LEN as u64 + 1));
    assert_eq!(after(&|bytes| bytes.rotate_left(PIECE_LEN)), CatalogError::Order(0), "in the wrong piece");
    assert_eq!(after(&|bytes| bytes[4] = 0xff), CatalogError::Order(0), "zeros are no shares");
    assert_eq!(after(&|bytes| bytes[PIECE_LEN - 1] = 1), CatalogError::Tail(0));
    assert_eq!(after(&|bytes| bytes.copy_within(6..26, 6 + 64)), CatalogError::Order(0));
    assert_eq!(after(&|bytes| bytes[26..36].fill(0xff)), CatalogError::Number(0));
    let name = "Holiday".as_bytes();
    let place = good.bytes.windows(name.len()).position(|window| window == name).unwrap();
    assert_eq!(after(&|bytes| bytes[place] = 0xff), CatalogError::Name(0));
    let wrong = Catalog { count: 299, ..catalog };
    assert_eq!(parse(&good.bytes, &wrong), Err(CatalogError::Count { announced: 299, found: 300 }));
}

#[test]
fn what_cannot_be_is_refused_before_it_is_fetched() {
    let good = announced(&build(&[], None).bytes, 0);
    assert_eq!(check(&good), Ok(()));
    for size in [0, 1, PIECE_LEN as u64 + 1, 3 * PIECE_LEN as u64, 2 * MAX_LEN, u64::MAX] {
        assert_eq!(check(&Catalog { size, ..good }), Err(CatalogError::Length(size)));
    }
    assert_eq!(check(&Catalog { size: MAX_LEN, ..good }), Ok(()));
    assert_eq!(check(&Catalog { count: 1_000_001, ..good }), Err(CatalogError::TooMany));
}

#[test]
fn a_million_nameless_shares_are_bounded() {
    // Every piece as full as can be with the shortest shares there are.
    let per_piece: u16 = 600;
    let bits = MAX_BITS;
    let mut bytes = vec![0; PIECE_LEN << bits];
    for (index, piece) in (0_u32..).zip(bytes.chunks_exact_mut(PIECE_LEN)) {
        piece[..4].copy_from_slice(&MAGIC);
        piece[4..6].copy_from_slice(&per_piece.to_be_bytes());
        for (number, row) in (0..u32::from(per_piece)).zip(piece[HEAD_LEN..].chunks_exact_mut(24)) {
            row[..4].copy_from_slice(&((index << (32 - bits)) + number).to_be_bytes());
        }
    }
    let announced = Catalog { info_hash: InfoHash::new([0; 20]), size: bytes.len() as u64, count: 1_000_000 };
    assert_eq!(parse(&bytes, &announced), Err(CatalogError::TooMany));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_list_comes_back(
        rows in vec((any::<u64>(), ".{0,300}", any::<u64>(), any::<u32>(), any::<bool>()), 0..400),
        before in proptest::option::of(0..=MAX_BITS.min(6)),
    ) {
        let mut shares: Vec<Share> = rows
            .into_iter()
            .map(|(hash, name, size, files, complete)| Share { size, files, complete, ..share(hash, &name) })
            .collect();
        let built = build(&shares, before.map(|bits| (PIECE_LEN as u64) << bits));
        shares.sort_by_key(|share| share.info_hash);
        shares.dedup_by_key(|share| share.info_hash);
        shares.iter_mut().for_each(|share| share.name = written_name(&share.name).into());
        prop_assert_eq!(built.count, shares.len() as u64);
        prop_assert_eq!(read(&built).unwrap(), shares);
    }

    #[test]
    fn any_bytes_are_read_or_refused(noise in vec(any::<u8>(), 0..600), at in 0..PIECE_LEN) {
        let mut bytes = build(&many(100), None).bytes;
        let place = at.min(bytes.len() - noise.len());
        bytes[place..place + noise.len()].copy_from_slice(&noise);
        let _ = parse(&bytes, &announced(&bytes, 100));
    }
}
