//! The catalogs that contacts announce: which are wanted, how each is fetched, and what is in it.
//!
//! What is wanted is read in the snapshot of contacts again and again, so nothing has to be remembered when somebody goes
//! offline, changes the list or is removed. A catalog of which two say the same is fetched once; who says something else
//! of the same torrent is tried by itself, so that nobody can spoil another one's list. A fetch that makes no progress
//! gives its place to others. What goes wrong is told once an hour and contact, and the list that was known before stays.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{NETWORK, add, earlier, remove};
use crate::bus::PublishError;
use crate::component::ask::{SOON, ask};
use crate::component::event::{Bus, ControlError, Event, Hidden, Lifecycle, NewTorrent, Told, TorrentSource};
use crate::component::snapshot::{Contacts, Published, Torrents};
use crate::engine::Source;
use crate::proto::metainfo::Magnet;
use crate::share::{AddressFilter, MissingList, ShareTable, catalog};
use crate::storage::CatalogFiles;
use crate::types::{Catalog, InfoHash, MAX_SHARES_PER_CONTACT, SortedMap, SortedSet, Via};

/// Catalogs that are fetched at the same time.
const MAX_RUNNING: usize = 8;
/// Of one contact.
const MAX_RUNNING_OF_ONE: usize = 2;
/// Bytes of the catalogs of all resources of one contact together.
const MAX_BYTES_PER_CONTACT: u64 = 2 * catalog::MAX_LEN;
/// Bytes of all catalogs on disk, those that are announced by nobody excepted for whom there is no room any more.
const MAX_BYTES: u64 = 1 << 30;
/// Peers that are there may be slow: so many times nothing may have come since the last look.
const IDLE_LOOKS: u8 = 4;
/// What made no progress is tried again after this time.
const AGAIN: Duration = Duration::from_secs(30);
/// When the machine was at fault, it is tried again after this time.
const RETRY: Duration = Duration::from_secs(600);
/// What was told and did not become known was told of a list that was gone for a moment.
const SETTLED: Duration = Duration::from_secs(5);
/// The same contact is not complained about again for this long.
const QUIET: Duration = Duration::from_secs(3600);
/// Contacts who were complained about, all in all.
const MAX_COMPLAINTS: usize = 256;
/// The reader of what is told has no room; it takes a moment.
const UNSAID_PAUSE: Duration = Duration::from_millis(20);

pub(super) struct Fetches {
    files: CatalogFiles,
    /// If nobody has answered for so long, the user is told.
    patience: Duration,
    bus: Bus,
    contacts: Published<Contacts>,
    torrents: Published<Torrents>,
    wanted: SortedMap<Catalog, Fetch>,
    /// The snapshot has changed since it was looked at.
    stale: bool,
    /// Of which the wanted ones are.
    seen: Option<(u64, AddressFilter)>,
    /// What the reader had no room for.
    unsaid: VecDeque<(Via, Told)>,
    complaints: SortedMap<(String, Fault), Instant>,
}

/// Whose fault it is. Everybody is complained about once for each.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// What was announced, or what came, is wrong.
    Theirs,
    /// Nobody is there.
    Nobodys,
    /// This machine's.
    Ours,
}

/// One wanted catalog.
#[derive(Default)]
struct Fetch {
    /// Who announces it.
    owners: Vec<Owner>,
    addrs: SortedSet<SocketAddr>,
    state: State,
    /// Where it is put: with the first who announced it when it was begun.
    folder: PathBuf,
    /// Its description has come, and is as announced.
    described: bool,
}

#[derive(Clone, PartialEq, Eq)]
struct Owner {
    via: Via,
    jid: String,
    resource: String,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Waiting,
    Running {
        /// When to look after it.
        look_at: Instant,
        /// What was there at the last look: nothing, its description, or so many pieces and one.
        had: u32,
        /// Looks since then.
        idle: u8,
    },
    /// It is here, and was told at this time.
    Told(Instant),
    /// It cannot be had, before this time if there is one.
    Refused(Option<Instant>),
}

impl Fetches {
    pub(super) fn new(
        files: CatalogFiles,
        patience: Duration,
        bus: Bus,
        contacts: Published<Contacts>,
        torrents: Published<Torrents>,
    ) -> Self {
        Self {
            files,
            patience,
            bus,
            contacts,
            torrents,
            wanted: SortedMap::new(),
            stale: true,
            seen: None,
            unsaid: VecDeque::new(),
            complaints: SortedMap::new(),
        }
    }

    /// The snapshot of contacts has changed.
    pub(super) fn look(&mut self) {
        self.stale = true;
    }

    /// The network thread knows of nothing any more.
    pub(super) fn begin_again(&mut self) {
        for fetch in self.wanted.values_mut().filter(|fetch| fetch.is_running()) {
            fetch.state = State::Waiting;
        }
    }

    /// Begins and ends what is to be. `own` is the catalog of the own shares.
    pub(super) fn tend(&mut self, now: Instant, own: Option<InfoHash>) {
        self.flush();
        if std::mem::take(&mut self.stale) {
            self.compare(now);
        }
        let mut late = Vec::new();
        for (catalog, fetch) in self.wanted.iter_mut() {
            match fetch.state {
                State::Told(at) if at + SETTLED <= now => fetch.state = State::Waiting,
                State::Refused(Some(until)) if until <= now => fetch.state = State::Waiting,
                State::Running { look_at, .. } if look_at <= now => late.push(*catalog),
                _ => {}
            }
        }
        late.into_iter().for_each(|catalog| self.look_after(now, catalog));
        for _ in 0..self.wanted.len() {
            let Some(catalog) = self.next() else { break };
            self.begin(now, catalog, own);
        }
    }

    /// One to begin with, if there is room for it.
    fn next(&self) -> Option<Catalog> {
        let running = || self.wanted.iter().filter(|(_, fetch)| fetch.is_running());
        if running().count() >= MAX_RUNNING {
            return None;
        }
        let may_run = |(catalog, fetch): &(&Catalog, &Fetch)| {
            let is_same = running().any(|(other, _)| other.info_hash == catalog.info_hash);
            let of_one = running().filter(|(_, other)| other.jid() == fetch.jid()).count();
            fetch.state == State::Waiting && !is_same && of_one < MAX_RUNNING_OF_ONE
        };
        self.wanted.iter().find(may_run).map(|(catalog, _)| *catalog)
    }

    /// When [`Self::tend`] has something to do.
    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let due = |fetch: &Fetch| match fetch.state {
            State::Waiting => None,
            State::Running { look_at, .. } => Some(look_at),
            State::Told(at) => Some(at + SETTLED),
            State::Refused(until) => until,
        };
        let unsaid = if self.unsaid.is_empty() { None } else { Some(now + UNSAID_PAUSE) };
        earlier(self.wanted.values().filter_map(due).min(), unsaid)
    }

    /// What became of a hidden torrent.
    pub(super) fn hear(&mut self, now: Instant, info_hash: InfoHash, change: &Lifecycle) {
        let running = self.wanted.iter_mut().find(|(known, fetch)| known.info_hash == info_hash && fetch.is_running());
        let Some((catalog, fetch)) = running else { return };
        let catalog = *catalog;
        match change {
            Lifecycle::Started(true) | Lifecycle::Completed => {
                let folder = fetch.folder.clone();
                remove(&self.bus, info_hash);
                let problem = match self.take_in(now, catalog, &folder) {
                    Ok(true) => return,
                    Ok(false) => "it is no catalog".to_owned(),
                    Err(problem) => problem,
                };
                self.files.remove(&folder, &info_hash);
                self.refuse(now, catalog, Fault::Theirs, &problem);
            }
            Lifecycle::MetadataKnown(_) => fetch.described = true,
            Lifecycle::Failed(reason) => {
                let fault = if fetch.described { Fault::Ours } else { Fault::Theirs };
                remove(&self.bus, info_hash);
                self.refuse(now, catalog, fault, reason);
            }
            _ => {}
        }
    }

    /// Looks in the snapshot what is wanted now.
    fn compare(&mut self, now: Instant) {
        let contacts = self.contacts.read();
        let seen = Some((contacts.shares.revision(), contacts.filter.clone()));
        if self.seen == seen {
            return;
        }
        self.seen = seen;
        let mut wanted: SortedMap<Catalog, Fetch> = SortedMap::new();
        for list in contacts.shares.missing_lists() {
            if let Err(problem) = check(&list) {
                self.complain(now, &Owner::of(&list), list.catalog, Fault::Theirs, &problem);
                continue;
            }
            let fetch = wanted.entry(list.catalog).or_default();
            fetch.owners.push(Owner::of(&list));
            fetch.addrs.extend(contacts.filter.usable(list.addresses));
        }
        let is_gone = |(catalog, fetch): &(&Catalog, &Fetch)| fetch.is_running() && !wanted.contains_key(*catalog);
        for (catalog, _) in self.wanted.iter().filter(is_gone) {
            remove(&self.bus, catalog.info_hash);
        }
        for (catalog, fetch) in wanted.iter_mut() {
            let Some(known) = self.wanted.remove(catalog) else { continue };
            (fetch.state, fetch.folder, fetch.described) = (known.state, known.folder, known.described);
            if fetch.owners != known.owners && matches!(known.state, State::Told(_)) {
                fetch.state = State::Waiting;
            }
            if fetch.is_running() && fetch.addrs != known.addrs {
                fetch.add_peers(&self.bus, catalog.info_hash);
            }
        }
        self.wanted = wanted;
    }

    /// Takes it from the disk, or has it fetched.
    fn begin(&mut self, now: Instant, catalog: Catalog, own: Option<InfoHash>) {
        let Some(fetch) = self.wanted.get_mut(&catalog) else { return };
        let Some(owner) = fetch.owners.first() else { return };
        let folder = self.files.of(&owner.jid, &owner.resource);
        (fetch.folder, fetch.described) = (folder.clone(), false);
        let Catalog { info_hash, size, .. } = catalog;
        let from = if own == Some(info_hash) { self.files.own() } else { folder.clone() };
        match self.take_in(now, catalog, &from) {
            Ok(true) => return,
            Ok(false) => {}
            Err(problem) => return self.refuse(now, catalog, Fault::Theirs, &problem),
        }
        self.make_room(size);
        let prepared = self.files.prepare(&folder, &info_hash, size).map_err(|error| error.to_string());
        let begun = prepared.and_then(|()| self.fetch(info_hash, &folder, size).map_err(|error| error.to_string()));
        match (begun, self.wanted.get_mut(&catalog)) {
            (Ok(()), Some(fetch)) => {
                fetch.state = State::Running { look_at: now + self.patience, had: 0, idle: 0 };
                fetch.add_peers(&self.bus, info_hash);
            }
            (Err(problem), _) => self.refuse(now, catalog, Fault::Ours, &problem),
            (Ok(()), None) => {}
        }
    }

    fn fetch(&self, info_hash: InfoHash, folder: &Path, size: u64) -> Result<(), ControlError> {
        let source = TorrentSource::Magnet(Arc::new(Magnet::new(info_hash)));
        let torrent = || NewTorrent {
            paths: Some(vec![PathBuf::from(catalog::FILE_NAME)]),
            hidden: Some(Hidden { size }),
            ..NewTorrent::download(source.clone(), CatalogFiles::folder(folder, &info_hash))
        };
        match add(&self.bus, torrent()) {
            // Left by an earlier thread of this kind, if it is none that the user added.
            Err(ControlError::AlreadyHere(_)) if !self.torrents.read().list.contains_key(&info_hash) => {
                remove(&self.bus, info_hash);
                add(&self.bus, torrent())
            }
            answer => answer,
        }
    }

    /// Tells what is in it. False if it is not there, or not whole.
    fn take_in(&mut self, now: Instant, announced: Catalog, folder: &Path) -> Result<bool, String> {
        let info_hash = announced.info_hash;
        let Some(fetch) = self.wanted.get_mut(&announced) else { return Ok(false) };
        let Some(bytes) = self.files.read(folder, &info_hash, announced.size) else { return Ok(false) };
        // The file says what its torrent is called.
        if !catalog::describe(&bytes).is_ok_and(|metainfo| metainfo.info_hash == info_hash) {
            return Ok(false);
        }
        let shares = catalog::parse(&bytes, &announced).map_err(|error| error.to_string())?;
        drop(bytes);
        let table = Arc::new(ShareTable::build(shares, MAX_SHARES_PER_CONTACT).0);
        fetch.state = State::Told(now);
        for owner in &fetch.owners {
            let Owner { via, jid, resource } = owner.clone();
            let table = Arc::clone(&table);
            log::info!("{jid}/{resource} shares {} torrents", table.len());
            self.unsaid.push_back((via, Told::Listed { jid, resource, info_hash, table }));
        }
        if folder != self.files.own() {
            self.files.keep_only(folder, Some(&info_hash));
        }
        self.flush();
        Ok(true)
    }

    fn refuse(&mut self, now: Instant, catalog: Catalog, fault: Fault, problem: &str) {
        let Some(fetch) = self.wanted.get_mut(&catalog) else { return };
        fetch.state = State::Refused(match fault {
            Fault::Theirs => None,
            Fault::Nobodys => Some(now + AGAIN),
            Fault::Ours => Some(now + RETRY),
        });
        for owner in fetch.owners.clone() {
            self.complain(now, &owner, catalog, fault, problem);
        }
    }

    /// Gives up what has made no progress, for a while.
    fn look_after(&mut self, now: Instant, catalog: Catalog) {
        let info_hash = catalog.info_hash;
        let have = ask(&self.bus, NETWORK, SOON, |reply| Event::QueryPieces { info_hash, reply });
        let peers = ask(&self.bus, NETWORK, SOON, |reply| Event::QueryPeers { info_hash, reply });
        let Some(fetch) = self.wanted.get_mut(&catalog) else { return };
        let State::Running { had, idle, .. } = fetch.state else { return };
        let has = u32::from(fetch.described) + have.map_or(0, |have| have.count_ones());
        let is_alone = peers.is_ok_and(|peers| peers.is_empty()) && fetch.described;
        let idle = if has > had { 0 } else { idle + 1 };
        if idle == 0 || (idle < IDLE_LOOKS && !is_alone && had > 0) {
            fetch.state = State::Running { look_at: now + self.patience, had: has, idle };
            return;
        }
        let problem = match fetch.addrs.len() {
            0 => "no address of it can be used".to_owned(),
            1 => "its address does not answer".to_owned(),
            count => format!("none of its {count} addresses answers"),
        };
        remove(&self.bus, info_hash);
        self.refuse(now, catalog, Fault::Nobodys, &problem);
    }

    fn complain(&mut self, now: Instant, owner: &Owner, catalog: Catalog, fault: Fault, problem: &str) {
        let Owner { via, jid, resource } = owner;
        self.complaints.retain(|_, said| *said + QUIET > now);
        let key = (jid.clone(), fault);
        if self.complaints.contains_key(&key) || self.complaints.len() >= MAX_COMPLAINTS {
            debug!("catalog of {jid}/{resource}: {problem}");
            return;
        }
        self.complaints.insert(key, now);
        let count = catalog.count;
        let text = format!("the list of {count} shares of {jid}/{resource} cannot be had: {problem}");
        self.unsaid.push_back((*via, Told::Warning(text)));
        self.flush();
    }

    /// Removes old catalogs of people who do not announce any, if all take too much of the disk.
    fn make_room(&self, size: u64) {
        let contacts = self.contacts.read();
        let announced = contacts.shares.iter().flat_map(|(jid, contact)| {
            let resources = contact.resources().filter(|(_, resource)| resource.catalog().is_some());
            resources.map(move |(resource, _)| self.files.of(jid, resource))
        });
        self.files.shrink(MAX_BYTES.saturating_sub(size), &announced.collect());
    }

    fn flush(&mut self) {
        while let Some((via, told)) = self.unsaid.pop_front() {
            // Any other error: nobody keeps a snapshot, while the program ends.
            if let Err(PublishError::Full { event: Event::Told { via, told }, .. }) =
                self.bus.publish(Event::Told { via, told })
            {
                return self.unsaid.push_front((via, told));
            }
        }
    }
}

impl Fetch {
    fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    /// Whose it is, in the first place.
    fn jid(&self) -> Option<&str> {
        self.owners.first().map(|owner| owner.jid.as_str())
    }

    fn add_peers(&self, bus: &Bus, info_hash: InfoHash) {
        let addrs = self.addrs.iter().copied().collect();
        if let Err(error) = bus.publish(Event::AddPeers { info_hash, addrs, source: Source::Contact }) {
            debug!("{NETWORK} takes no addresses: {error}");
        }
    }
}

impl Owner {
    fn of(list: &MissingList<'_>) -> Self {
        Self { via: list.via, jid: list.jid.to_owned(), resource: list.resource.to_owned() }
    }
}

fn check(list: &MissingList<'_>) -> Result<(), String> {
    catalog::check(&list.catalog).map_err(|error| error.to_string())?;
    match list.bytes_of_contact {
        bytes if bytes > MAX_BYTES_PER_CONTACT => Err(format!("its lists take {bytes} bytes together")),
        _ => Ok(()),
    }
}
