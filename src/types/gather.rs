//! Trees filled entry by entry.

/// Puts all items into a new collection, one after the other.
///
/// For `BTreeMap` and `BTreeSet`, in place of `collect`: that sorts the items first, with a copy of the whole sorting
/// algorithm, some KiB of program, for each type. Of several items with one key the last one stays, as with `collect`.
pub fn gather<T, C: Default + Extend<T>>(items: impl IntoIterator<Item = T>) -> C {
    let mut all = C::default();
    all.extend(items);
    all
}
