//! Where the blocked could be met, beyond the process: they are not listened to any more, so nobody says it again.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::storage::{AccountFacts, StorageError};
use crate::types::SortedMap;

/// The row of no account in particular: where somebody is does not depend on who blocked them.
const OF_ALL: &str = "";
const KEY: &str = "blocked-places";

/// People and domains whose places are kept.
const MAX_ENTRIES: usize = 1000;
/// Places kept of each.
const MAX_PLACES: usize = 64;

/// The places, by bare JID or domain.
#[derive(Default)]
pub(super) struct Places {
    path: Option<PathBuf>,
    known: SortedMap<String, Vec<SocketAddr>>,
}

impl Places {
    /// Those that were kept in this file. One that cannot be used costs a warning and the memory.
    pub(super) fn open(path: Option<PathBuf>) -> Self {
        let mut places = Self { path, known: SortedMap::new() };
        let text = places.with(|facts| facts.get(OF_ALL, KEY)).flatten().unwrap_or_default();
        for line in text.lines().take(MAX_ENTRIES) {
            let mut words = line.split(' ');
            let Some(entry) = words.next() else { continue };
            let sockets = words.filter_map(|word| word.parse().ok()).take(MAX_PLACES);
            places.known.insert(entry.to_owned(), sockets.collect());
        }
        places
    }

    /// Where this entry could be met.
    pub(super) fn get(&self, entry: &str) -> Option<&[SocketAddr]> {
        self.known.get(entry).map(Vec::as_slice)
    }

    /// Keeps where those in `met` are, and forgets those in `gone`.
    pub(super) fn update<'a>(
        &mut self,
        met: impl Iterator<Item = (&'a str, &'a [SocketAddr])>,
        gone: impl Iterator<Item = &'a str>,
    ) {
        let before = self.known.clone();
        gone.for_each(|entry| drop(self.known.remove(entry)));
        for (entry, sockets) in met.filter(|(_, sockets)| !sockets.is_empty()) {
            if self.known.len() < MAX_ENTRIES || self.known.contains_key(entry) {
                self.known.insert(entry.to_owned(), sockets.iter().take(MAX_PLACES).copied().collect());
            }
        }
        if self.known != before {
            self.write();
        }
    }

    fn write(&self) {
        let mut text = String::new();
        for (entry, sockets) in &self.known {
            text.push_str(entry);
            for socket in sockets {
                text.push(' ');
                text.push_str(&socket.to_string());
            }
            text.push('\n');
        }
        self.with(|facts| facts.set(OF_ALL, KEY, &text));
    }

    /// Opened each time: that is seldom.
    fn with<T>(&self, work: impl FnOnce(&AccountFacts) -> Result<T, StorageError>) -> Option<T> {
        let found = AccountFacts::open(self.path.as_ref()?).and_then(|facts| work(&facts));
        found.inspect_err(|error| log::warn!("where the blocked are cannot be kept: {error}")).ok()
    }
}
