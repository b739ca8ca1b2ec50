use std::collections::{BTreeMap, BTreeSet};

use super::*;

#[test]
fn it_does_what_the_standard_librarys_tree_does() {
    for (seed, keys) in [(1, 20), (2, 300), (3, 5000)] {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut ours, mut theirs) = (SortedMap::new(), BTreeMap::new());
        for nth in 0..20_000 {
            let key: u32 = random.u32(..keys);
            match random.u8(..6) {
                0 => assert_eq!(ours.remove(&key), theirs.remove(&key)),
                1 => assert_eq!(ours.get(&key), theirs.get(&key)),
                2 => {
                    *ours.entry(key).and_modify(|value| *value += 1).or_default() += 1;
                    *theirs.entry(key).and_modify(|value| *value += 1).or_default() += 1;
                }
                3 if nth % 50 == 0 => assert_eq!(ours.pop_first(), theirs.pop_first()),
                _ => assert_eq!(ours.insert(key, nth), theirs.insert(key, nth)),
            }
            if nth % 1000 == 0 {
                compare(&ours, &theirs);
                let first = random.u32(..keys);
                assert!(ours.range_from(&first).eq(theirs.range(first..)));
                assert!(ours.range_from(&first).rev().eq(theirs.range(first..).rev()));
            }
        }
        let keep = |key: &u32, _: &mut i32| key % 128 == 3;
        ours.retain(keep);
        theirs.retain(keep);
        compare(&ours, &theirs);
        assert!(ours.clone().into_iter().eq(theirs));
    }
}

fn compare(ours: &SortedMap<u32, i32>, theirs: &BTreeMap<u32, i32>) {
    assert_eq!(ours.len(), theirs.len());
    assert_eq!(ours.is_empty(), theirs.is_empty());
    assert!(ours.iter().eq(theirs));
    assert!(ours.iter().rev().eq(theirs.iter().rev()));
    assert_eq!((ours.first_key_value(), ours.last_key_value()), (theirs.first_key_value(), theirs.last_key_value()));
    assert_eq!(*ours, theirs.iter().map(|(key, value)| (*key, *value)).collect());
}

#[test]
fn keys_in_any_order_stay_in_the_order_of_the_keys() {
    for order in [|key: u32| key, |key: u32| 1999 - key, |key: u32| key * 7 % 2000] {
        let set: SortedSet<u32> = (0..2000).map(order).collect();
        assert!(set.iter().copied().eq(0..2000));
        assert!(set.range_from(&1234).copied().eq(1234..2000));
        assert_eq!(set.range_from(&2000).next(), None);
    }
}

#[test]
fn a_set_says_what_was_new_and_what_was_there() {
    let mut set = SortedSet::from(["b".to_owned(), "a".to_owned()]);
    assert!(!set.insert("a".to_owned()) && set.insert("c".to_owned()));
    assert!(set.remove("b") && !set.remove("b") && set.contains("c"));
    set.retain(|item| item != "c");
    assert!(set.iter().eq(&BTreeSet::from(["a".to_owned()])));
}
