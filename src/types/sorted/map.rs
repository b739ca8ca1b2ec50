//! A table from keys to values, in the order of the keys.

use std::borrow::Borrow;
use std::fmt;
use std::iter::Flatten;
use std::{slice, vec};

/// Entries in one run at most: so many are moved by an insertion at worst.
const MAX_RUN: usize = 128;

/// A table from keys to values, in the order of the keys: in place of `BTreeMap`, see the header of the module.
#[derive(Clone)]
pub struct SortedMap<K, V> {
    /// None of them is empty, and each holds smaller keys than the next one.
    runs: Vec<Vec<(K, V)>>,
}

/// Where an entry is, or would have to be put.
#[derive(Clone, Copy)]
struct Place {
    run: usize,
    at: usize,
}

impl<K, V> SortedMap<K, V> {
    /// A table without entries; allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { runs: Vec::new() }
    }

    /// Number of entries, counted run by run.
    #[must_use]
    pub fn len(&self) -> usize {
        self.runs.iter().map(Vec::len).sum()
    }

    /// True without any entry.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Removes every entry.
    pub fn clear(&mut self) {
        self.runs.clear();
    }

    /// All entries, in the order of the keys.
    #[must_use]
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter { skipped: [].iter(), runs: self.runs.iter().flatten() }
    }

    /// All entries, in the order of the keys; the values may be changed.
    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = (&K, &mut V)> {
        self.runs.iter_mut().flatten().map(|(key, value)| (&*key, value))
    }

    /// All keys, in their order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> + Clone {
        self.iter().map(|(key, _)| key)
    }

    /// All values, in the order of the keys.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> + Clone {
        self.iter().map(|(_, value)| value)
    }

    /// All values, in the order of the keys, to be changed.
    pub fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut V> {
        self.iter_mut().map(|(_, value)| value)
    }

    /// All values, in the order of the keys, without the table.
    pub fn into_values(self) -> impl DoubleEndedIterator<Item = V> {
        self.into_iter().map(|(_, value)| value)
    }

    /// All keys, in their order, without the table.
    pub fn into_keys(self) -> impl DoubleEndedIterator<Item = K> {
        self.into_iter().map(|(key, _)| key)
    }

    /// The entry with the smallest key.
    #[must_use]
    pub fn first_key_value(&self) -> Option<(&K, &V)> {
        self.iter().next()
    }

    /// The entry with the largest key.
    #[must_use]
    pub fn last_key_value(&self) -> Option<(&K, &V)> {
        self.iter().next_back()
    }

    /// Removes the entry with the smallest key.
    pub fn pop_first(&mut self) -> Option<(K, V)> {
        if self.is_empty() { None } else { self.take(Place { run: 0, at: 0 }) }
    }

    /// Keeps the entries for which `keep` is true.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        self.runs.retain_mut(|run| {
            run.retain_mut(|(key, value)| keep(key, value));
            !run.is_empty()
        });
    }

    fn value_at(&mut self, place: Place) -> Option<&mut V> {
        self.runs.get_mut(place.run)?.get_mut(place.at).map(|(_, value)| value)
    }

    /// Removes the entry at this place, and its run with the last one.
    fn take(&mut self, place: Place) -> Option<(K, V)> {
        let run = self.runs.get_mut(place.run).filter(|run| place.at < run.len())?;
        let taken = run.remove(place.at);
        if run.is_empty() {
            self.runs.remove(place.run);
        }
        Some(taken)
    }

    /// Puts a new entry where it belongs, and says where that is: a run that is full is divided.
    fn put(&mut self, mut place: Place, entry: (K, V)) -> Place {
        let Some(run) = self.runs.get_mut(place.run) else {
            self.runs.push(vec![entry]);
            return place;
        };
        if run.len() < MAX_RUN {
            run.insert(place.at, entry);
            return place;
        }
        // Behind the last entry a new run begins: keys that come in their order fill every run.
        let middle = if place.at == MAX_RUN { MAX_RUN } else { MAX_RUN / 2 };
        let mut upper = run.split_off(middle);
        if place.at >= middle {
            place = Place { run: place.run, at: place.at - middle };
            upper.insert(place.at, entry);
            place.run += 1;
            self.runs.insert(place.run, upper);
        } else {
            run.insert(place.at, entry);
            self.runs.insert(place.run + 1, upper);
        }
        place
    }
}

impl<K: Ord, V> SortedMap<K, V> {
    /// Where this key is, or would have to be put.
    fn place<Q: Ord + ?Sized>(&self, key: &Q) -> Result<Place, Place>
    where
        K: Borrow<Q>,
    {
        let run = self.runs.partition_point(|run| run.last().is_some_and(|(last, _)| last.borrow() < key));
        let Some(entries) = self.runs.get(run) else {
            let run = self.runs.len().saturating_sub(1);
            return Err(Place { run, at: self.runs.last().map_or(0, Vec::len) });
        };
        let found = entries.binary_search_by(|(here, _)| here.borrow().cmp(key));
        found.map(|at| Place { run, at }).map_err(|at| Place { run, at })
    }

    /// The value of this key.
    #[must_use]
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.get_key_value(key).map(|(_, value)| value)
    }

    /// The value of this key, and the key as it is here.
    #[must_use]
    pub fn get_key_value<Q: Ord + ?Sized>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
    {
        let place = self.place(key).ok()?;
        self.runs.get(place.run)?.get(place.at).map(|(key, value)| (key, value))
    }

    /// The value of this key, to be changed.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let place = self.place(key).ok()?;
        self.value_at(place)
    }

    /// True if there is an entry with this key.
    #[must_use]
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.place(key).is_ok()
    }

    /// The entries from this key on, in the order of the keys.
    pub fn range_from<Q: Ord + ?Sized>(&self, first: &Q) -> Iter<'_, K, V>
    where
        K: Borrow<Q>,
    {
        let (Ok(place) | Err(place)) = self.place(first);
        let mut runs = self.runs.get(place.run..).unwrap_or_default().iter();
        let skipped = runs.next().and_then(|run| run.get(place.at..)).unwrap_or_default();
        Iter { skipped: skipped.iter(), runs: runs.flatten() }
    }

    /// Sets the value of a key, and gives back the one that it had. The key stays the one that was here.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.place(&key) {
            Ok(place) => self.value_at(place).map(|old| std::mem::replace(old, value)),
            Err(place) => {
                self.put(place, (key, value));
                None
            }
        }
    }

    /// Removes the entry of a key.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let place = self.place(key).ok()?;
        self.take(place).map(|(_, value)| value)
    }

    /// The place of a key, to look at its value or to give it one.
    pub fn entry(&mut self, key: K) -> Entry<'_, K, V> {
        let place = self.place(&key);
        Entry { map: self, place, key }
    }
}

/// The place of one key in a table.
pub struct Entry<'a, K, V> {
    map: &'a mut SortedMap<K, V>,
    place: Result<Place, Place>,
    key: K,
}

impl<'a, K, V> Entry<'a, K, V> {
    /// Its value; without any, this one from now on.
    pub fn or_insert(self, value: V) -> &'a mut V {
        self.or_insert_with(|| value)
    }

    /// Its value; without any, the type's own from now on.
    pub fn or_default(self) -> &'a mut V
    where
        V: Default,
    {
        self.or_insert_with(V::default)
    }

    /// Its value; without any, what `make` returns from now on.
    pub fn or_insert_with(self, make: impl FnOnce() -> V) -> &'a mut V {
        let Self { map, place, key } = self;
        let place = place.unwrap_or_else(|place| map.put(place, (key, make())));
        let Some(value) = map.value_at(place) else { unreachable!("an entry is where it was found or put") };
        value
    }

    /// Changes the value, if there is one.
    pub fn and_modify(self, change: impl FnOnce(&mut V)) -> Self {
        if let Some(value) = self.place.ok().and_then(|place| self.map.value_at(place)) {
            change(value);
        }
        self
    }
}

/// Entries of a table, in the order of the keys.
pub struct Iter<'a, K, V> {
    /// What is left of the run that it began in.
    skipped: slice::Iter<'a, (K, V)>,
    runs: Flatten<slice::Iter<'a, Vec<(K, V)>>>,
}

impl<K, V> Clone for Iter<'_, K, V> {
    fn clone(&self) -> Self {
        Self { skipped: self.skipped.clone(), runs: self.runs.clone() }
    }
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        self.skipped.next().or_else(|| self.runs.next()).map(|(key, value)| (key, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.skipped.len() + self.runs.size_hint().0, None)
    }
}

impl<K, V> DoubleEndedIterator for Iter<'_, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.runs.next_back().or_else(|| self.skipped.next_back()).map(|(key, value)| (key, value))
    }
}

impl<'a, K, V> IntoIterator for &'a SortedMap<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<K, V> IntoIterator for SortedMap<K, V> {
    type Item = (K, V);
    type IntoIter = Flatten<vec::IntoIter<Vec<(K, V)>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.runs.into_iter().flatten()
    }
}

impl<K: Ord, V> Extend<(K, V)> for SortedMap<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for SortedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::new();
        map.extend(entries);
        map
    }
}

impl<K: Ord, V, const N: usize> From<[(K, V); N]> for SortedMap<K, V> {
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

/// The runs of equal tables may differ.
impl<K: PartialEq, V: PartialEq> PartialEq for SortedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<K: Eq, V: Eq> Eq for SortedMap<K, V> {}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for SortedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}
