//! The catalogs that contacts announce: which are wanted, how each is fetched, and what is in it.
//!
//! What is wanted is read in the snapshot of contacts again and again, so nothing has to be remembered when somebody goes
//! offline, changes the list or is removed. A catalog that is the same twice is fetched once. What goes wrong is told
//! once an hour and contact, and the list that was known before stays.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
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
use crate::types::{Catalog, InfoHash, MAX_SHARES_PER_CONTACT, Via};

/// Catalogs that are fetched at the same time.
const MAX_RUNNING: usize = 8;
/// Bytes of the catalogs of all resources of one contact together.
const MAX_BYTES_PER_CONTACT: u64 = 2 * catalog::MAX_LEN;
/// Bytes of all catalogs on disk, those that are announced by nobody excepted for whom there is no room any more.
const MAX_BYTES: u64 = 1 << 30;
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
    wanted: BTreeMap<InfoHash, Fetch>,
    /// The snapshot has changed since it was looked at.
    stale: bool,
    /// Of which the wanted ones are.
    seen: Option<(u64, AddressFilter)>,
    /// What the reader had no room for.
    unsaid: VecDeque<(Via, Told)>,
    complaints: BTreeMap<(String, Fault), Instant>,
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
struct Fetch {
    catalog: Catalog,
    /// Who announces it.
    owners: Vec<Owner>,
    addrs: BTreeSet<SocketAddr>,
    state: State,
    /// Its description has come, and is as announced.
    described: bool,
}

#[derive(Clone, PartialEq, Eq)]
struct Owner {
    via: Via,
    jid: String,
    resource: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    /// It is to be looked after at this time, if it was not yet.
    Running {
        look_at: Option<Instant>,
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
            wanted: BTreeMap::new(),
            stale: true,
            seen: None,
            unsaid: VecDeque::new(),
            complaints: BTreeMap::new(),
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
        for (info_hash, fetch) in &mut self.wanted {
            match fetch.state {
                State::Told(at) if at + SETTLED <= now => fetch.state = State::Waiting,
                State::Refused(Some(until)) if until <= now => fetch.state = State::Waiting,
                State::Running { look_at: Some(at) } if at <= now => late.push(*info_hash),
                _ => {}
            }
        }
        late.into_iter().for_each(|info_hash| self.look_after(now, info_hash));
        let running = self.wanted.values().filter(|fetch| fetch.is_running()).count();
        let waiting = self.wanted.iter().filter(|(_, fetch)| fetch.state == State::Waiting).map(|(hash, _)| *hash);
        for info_hash in waiting.take(MAX_RUNNING.saturating_sub(running)).collect::<Vec<_>>() {
            self.begin(now, info_hash, own);
        }
    }

    /// When [`Self::tend`] has something to do.
    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let due = |fetch: &Fetch| match fetch.state {
            State::Waiting => None,
            State::Running { look_at } => look_at,
            State::Told(at) => Some(at + SETTLED),
            State::Refused(until) => until,
        };
        let unsaid = if self.unsaid.is_empty() { None } else { Some(now + UNSAID_PAUSE) };
        earlier(self.wanted.values().filter_map(due).min(), unsaid)
    }

    /// What became of a hidden torrent.
    pub(super) fn hear(&mut self, now: Instant, info_hash: InfoHash, change: &Lifecycle) {
        let Some(fetch) = self.wanted.get_mut(&info_hash).filter(|fetch| fetch.is_running()) else { return };
        match change {
            Lifecycle::Started(true) | Lifecycle::Completed => {
                let folder = fetch.folder(&self.files);
                remove(&self.bus, info_hash);
                let problem = match self.take_in(now, info_hash, &folder) {
                    Ok(true) => return,
                    Ok(false) => "it is no catalog".to_owned(),
                    Err(problem) => problem,
                };
                self.files.remove(&folder, &info_hash);
                self.refuse(now, info_hash, Fault::Theirs, &problem);
            }
            Lifecycle::MetadataKnown(_) => fetch.described = true,
            Lifecycle::Failed(reason) => {
                let fault = if fetch.described { Fault::Ours } else { Fault::Theirs };
                remove(&self.bus, info_hash);
                self.refuse(now, info_hash, fault, reason);
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
        let mut wanted: BTreeMap<InfoHash, Fetch> = BTreeMap::new();
        for list in contacts.shares.missing_lists() {
            if let Err(problem) = check(&list) {
                self.complain(now, &Owner::of(&list), list.catalog, Fault::Theirs, &problem);
                continue;
            }
            let fetch = wanted.entry(list.catalog.info_hash).or_insert_with(|| Fetch::new(list.catalog));
            // Who says something else of the same torrent is wrong, or the other one is.
            if fetch.catalog == list.catalog {
                fetch.owners.push(Owner::of(&list));
                fetch.addrs.extend(contacts.filter.usable(list.addresses));
            }
        }
        let gone = self.wanted.iter().filter(|(hash, fetch)| fetch.is_running() && !wanted.contains_key(*hash));
        for info_hash in gone.map(|(hash, _)| *hash).collect::<Vec<_>>() {
            remove(&self.bus, info_hash);
        }
        for (info_hash, fetch) in &mut wanted {
            let Some(known) = self.wanted.remove(info_hash) else { continue };
            (fetch.state, fetch.described) = (known.state, known.described);
            if fetch.owners != known.owners && matches!(known.state, State::Told(_)) {
                fetch.state = State::Waiting;
            }
            if fetch.is_running() && fetch.addrs != known.addrs {
                fetch.add_peers(&self.bus);
            }
        }
        self.wanted = wanted;
    }

    /// Takes it from the disk, or has it fetched.
    fn begin(&mut self, now: Instant, info_hash: InfoHash, own: Option<InfoHash>) {
        let Some(fetch) = self.wanted.get(&info_hash) else { return };
        let (folder, size) = (fetch.folder(&self.files), fetch.catalog.size);
        let from = if own == Some(info_hash) { self.files.own() } else { folder.clone() };
        match self.take_in(now, info_hash, &from) {
            Ok(true) => return,
            Ok(false) => {}
            Err(problem) => return self.refuse(now, info_hash, Fault::Theirs, &problem),
        }
        self.make_room(size);
        let prepared = self.files.prepare(&folder, &info_hash, size).map_err(|error| error.to_string());
        let begun = prepared.and_then(|()| self.fetch(info_hash, &folder, size).map_err(|error| error.to_string()));
        match (begun, self.wanted.get_mut(&info_hash)) {
            (Ok(()), Some(fetch)) => {
                fetch.state = State::Running { look_at: Some(now + self.patience) };
                fetch.add_peers(&self.bus);
            }
            (Err(problem), _) => self.refuse(now, info_hash, Fault::Ours, &problem),
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
    fn take_in(&mut self, now: Instant, info_hash: InfoHash, folder: &Path) -> Result<bool, String> {
        let Some(fetch) = self.wanted.get_mut(&info_hash) else { return Ok(false) };
        let Some(bytes) = self.files.read(folder, &info_hash, fetch.catalog.size) else { return Ok(false) };
        // The file says what its torrent is called.
        if !catalog::describe(&bytes).is_ok_and(|metainfo| metainfo.info_hash == info_hash) {
            return Ok(false);
        }
        let shares = catalog::parse(&bytes, &fetch.catalog).map_err(|error| error.to_string())?;
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

    fn refuse(&mut self, now: Instant, info_hash: InfoHash, fault: Fault, problem: &str) {
        let Some(fetch) = self.wanted.get_mut(&info_hash) else { return };
        fetch.state = State::Refused((fault == Fault::Ours).then_some(now + RETRY));
        let (owners, catalog) = (fetch.owners.clone(), fetch.catalog);
        for owner in owners {
            self.complain(now, &owner, catalog, fault, problem);
        }
    }

    /// Tells the user if nobody is there from whom it could be had.
    fn look_after(&mut self, now: Instant, info_hash: InfoHash) {
        let Some(fetch) = self.wanted.get_mut(&info_hash) else { return };
        let peers = ask(&self.bus, NETWORK, SOON, |reply| Event::QueryPeers { info_hash, reply });
        let is_alone = peers.is_ok_and(|peers| peers.is_empty());
        fetch.state = State::Running { look_at: (!is_alone).then_some(now + self.patience) };
        if !is_alone {
            return;
        }
        let problem = match fetch.addrs.len() {
            0 => "no address of it can be used".to_owned(),
            1 => "its address does not answer".to_owned(),
            count => format!("none of its {count} addresses answers"),
        };
        let (owners, catalog) = (fetch.owners.clone(), fetch.catalog);
        for owner in owners {
            self.complain(now, &owner, catalog, Fault::Nobodys, &problem);
        }
    }

    fn complain(&mut self, now: Instant, owner: &Owner, catalog: Catalog, fault: Fault, problem: &str) {
        let Owner { via, jid, resource } = owner;
        self.complaints.retain(|_, said| *said + QUIET > now);
        let key = (jid.clone(), fault);
        if self.complaints.contains_key(&key) || self.complaints.len() >= MAX_COMPLAINTS {
            log::debug!("catalog of {jid}/{resource}: {problem}");
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
            match self.bus.publish(Event::Told { via, told }) {
                Err(PublishError::Full { event: Event::Told { via, told }, .. }) => {
                    return self.unsaid.push_front((via, told));
                }
                // Nobody keeps a snapshot: while the program ends.
                Ok(()) | Err(_) => {}
            }
        }
    }
}

impl Fetch {
    fn new(catalog: Catalog) -> Self {
        Self { catalog, owners: Vec::new(), addrs: BTreeSet::new(), state: State::Waiting, described: false }
    }

    fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    /// Where it lies: with the first who announces it.
    fn folder(&self, files: &CatalogFiles) -> PathBuf {
        self.owners.first().map_or_else(PathBuf::new, |owner| files.of(&owner.jid, &owner.resource))
    }

    fn add_peers(&self, bus: &Bus) {
        let addrs = self.addrs.iter().copied().collect();
        let event = Event::AddPeers { info_hash: self.catalog.info_hash, addrs, source: Source::Contact };
        if let Err(error) = bus.publish(event) {
            log::debug!("{NETWORK} takes no addresses: {error}");
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
