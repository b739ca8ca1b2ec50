//! Sorting without a copy of the algorithm for each type.

use std::cmp::Ordering;

/// Sorts like `slice::sort_by`: equal ones stay in their order.
///
/// The standard library's sorts are compiled anew, 4 KiB each, for each type and each comparison. This one sorts numbers
/// for all of them and then moves the items. For lists that are short or sorted rarely; it allocates a word per item.
pub fn sort_by<T>(items: &mut [T], mut compare: impl FnMut(&T, &T) -> Ordering) {
    if items.len() < 2 {
        return;
    }
    let mut order = ordered(items.len(), &mut |a, b| match (items.get(a), items.get(b)) {
        (Some(a), Some(b)) => compare(a, b),
        _ => a.cmp(&b),
    });
    for start in 0..items.len() {
        // One cycle: each place gets its item from the next one. What has been moved is marked as in place.
        let mut at = start;
        while let Some(next) = order.get_mut(at).map(|from| std::mem::replace(from, at)).filter(|next| *next != start) {
            items.swap(at, next);
            at = next;
        }
    }
}

/// Sorts items by their own order.
pub fn sort<T: Ord>(items: &mut [T]) {
    sort_by(items, T::cmp);
}

/// The numbers below `len`, in the order that the comparison says.
fn ordered(len: usize, compare: &mut dyn FnMut(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    order.sort_by(|a, b| compare(*a, *b));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_does_what_the_standard_librarys_stable_sort_does() {
        let mut random = fastrand::Rng::with_seed(1);
        for len in [0, 1, 2, 3, 7, 20, 21, 64, 1000] {
            let items: Vec<(u8, usize)> = (0..len).map(|nth| (random.u8(..17), nth)).collect();
            let (mut ours, mut theirs) = (items.clone(), items);
            sort_by(&mut ours, |a, b| b.0.cmp(&a.0));
            theirs.sort_by_key(|item| std::cmp::Reverse(item.0));
            assert_eq!(ours, theirs);
            sort(&mut ours);
            theirs.sort_unstable();
            assert_eq!(ours, theirs);
        }
    }
}
