use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn hash(n: u32) -> InfoHash {
    let mut bytes = [0; InfoHash::LEN];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    InfoHash::new(bytes)
}

fn share(n: u32, name: &str) -> Share {
    Share { info_hash: hash(n), name: name.into(), size: u64::from(n) << 33, files: n, complete: n.is_multiple_of(2) }
}

fn all(table: &ShareTable) -> Vec<Share> {
    table.iter().map(|share| share.to_share()).collect()
}

#[test]
fn names_are_made_fit_to_show_and_the_later_of_two_counts() {
    let shares = vec![share(2, "two"), share(1, "a\u{202E}b\nc "), share(2, "other")];
    let (table, truncated) = ShareTable::build(shares, 10);
    assert!(!truncated);
    assert_eq!(all(&table), [share(1, "ab c"), share(2, "other")]);
    assert_eq!(table.get(&hash(2)).unwrap().name, "other");
    assert!(table.get(&hash(3)).is_none());
}

#[test]
fn the_first_shares_are_kept_as_far_as_there_is_room() {
    let shares: Vec<Share> = (0..10).rev().map(|n| share(n, "12345")).collect();
    let (table, truncated) = ShareTable::build(shares.clone(), 3);
    assert!(truncated && table.iter().map(|share| share.files).eq([7, 8, 9]));
    let (table, truncated) = ShareTable::build_within(shares.clone(), Room { shares: 9, name_bytes: 14 });
    assert!(truncated && table.len() == 2 && table.name_bytes() == 10);
    let (table, truncated) = ShareTable::build_within(shares, Room { shares: 10, name_bytes: 50 });
    assert!(!truncated && table.len() == 10);
    let long = vec![share(1, &"x".repeat(1000))];
    assert_eq!(ShareTable::build_within(long, Room { shares: 1, name_bytes: MAX_NAME_LEN }).0.len(), 1);
}

#[test]
fn a_share_with_a_name_of_40_bytes_takes_less_than_200_bytes() {
    let shares: Vec<Share> = (0..1000).map(|n| share(n, &format!("{n:040}"))).collect();
    let (table, _) = ShareTable::build(shares, 1000);
    let each = table.bytes() / table.len();
    assert!((100..200).contains(&each), "{each}");
}

proptest! {
    #[test]
    fn a_table_is_what_a_map_would_be(
        rows in prop::collection::vec((0_u32..60, "[a-cA-C ßİΣé\u{200b}\n]{0,12}"), 0..80),
        most in 0_usize..90,
        (low, high) in (0_u32..60, 0_u32..60),
        word in "[a-cß]{1,2}",
    ) {
        let shares: Vec<Share> = rows.iter().map(|(n, name)| share(*n, name)).collect();
        let fit = |share: &Share| Share { name: display_name(&share.name, MAX_NAME_LEN).into(), ..share.clone() };
        let map: BTreeMap<InfoHash, Share> = shares.iter().take(most).map(|s| (s.info_hash, fit(s))).collect();
        let (table, truncated) = ShareTable::build(shares, most);
        prop_assert_eq!(truncated, rows.len() > most);
        prop_assert_eq!(all(&table), map.values().cloned().collect::<Vec<_>>());
        for n in 0..60 {
            prop_assert_eq!(table.get(&hash(n)).map(|share| share.to_share()), map.get(&hash(n)).cloned());
        }
        let range = hash(low)..=hash(high);
        let expected: Vec<InfoHash> = map.keys().copied().filter(|hash| range.contains(hash)).collect();
        prop_assert_eq!(table.hashes_in(&range), expected);
        let named = |row: usize| (table.folded(row).to_owned(), row);
        let by_name: Vec<_> = (0..table.len()).map(|place| named(table.nth_by_name(place).unwrap())).collect();
        prop_assert!(by_name.is_sorted() && by_name.len() == table.len());
        prop_assert!((0..table.len()).all(|row| table.nth_by_name(table.place_by_name(row).unwrap() as usize) == Some(row)));
        let found: Vec<_> = table.rows_with(&Finder::new(&word)).collect();
        let lower = map.values().map(|share| share.name.to_lowercase()).enumerate();
        let expected: Vec<_> = lower.filter_map(|(row, name)| name.find(&word).map(|at| (row, at))).collect();
        prop_assert_eq!(found, expected);
    }
}
