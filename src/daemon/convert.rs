//! From the snapshots and engine's numbers to the interface's types.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crate::component::rpc::{List, Members, types};
use crate::component::snapshot::{AccountStatus, Contacts, MemoryUsage, TorrentState, TorrentStatus, Torrents};
use crate::engine::PeerStats;
use crate::proto::metainfo::Metainfo;
use crate::share::{self, Hit, Reach, Resource, ShareRef};
use crate::storage::process_memory;
use crate::types::{Address, SortedMap, Via, gather, sort, sort_by};

/// `Api.memory`.
pub(super) fn memory(usage: &MemoryUsage) -> types::Memory {
    let process = process_memory();
    let classes = usage.classes.iter().map(|of| types::MemoryClass {
        name: of.class.as_str().to_owned(),
        now: of.usage.now,
        highest: of.usage.highest,
        limit: of.limit,
    });
    // Whole microseconds: more digits than that are noise.
    let ms = |turn: std::time::Duration| (turn.as_secs_f64() * 1e6).round() / 1e3;
    types::Memory {
        limit: usage.limit,
        used: usage.total.now,
        highest: usage.total.highest,
        classes: classes.collect(),
        mapped: usage.file_windows,
        resident: process.map(|(resident, _)| resident),
        anonymous: process.map(|(_, anonymous)| anonymous),
        reactor_turns: usage.turns.count,
        reactor_longest_turn_ms: ms(usage.turns.longest),
        reactor_longest_turn_last_minute_ms: ms(usage.turns.longest_lately),
    }
}

/// One torrent of `bt.get_torrents`.
pub(super) fn torrent(status: &TorrentStatus) -> types::Torrent {
    let (done, total_size) = bytes(status);
    types::Torrent {
        hash: status.info_hash.to_string(),
        name: status.name.to_string(),
        total_size,
        done,
        files: status.metainfo.as_deref().map(files).unwrap_or_default(),
    }
}

fn files(metainfo: &Metainfo) -> Vec<types::TorrentFile> {
    let info = &metainfo.info;
    let files = info.files.iter().zip(info.file_paths()).filter(|(file, _)| !file.pad);
    files.map(|(file, path)| types::TorrentFile { path: path.display().to_string(), size: file.len }).collect()
}

/// Verified bytes and all bytes, without padding.
fn bytes(status: &TorrentStatus) -> (u64, u64) {
    let Some(metainfo) = &status.metainfo else { return (0, 0) };
    let total = metainfo.info.files.iter().filter(|file| !file.pad).map(|file| file.len).sum();
    let done = if status.is_complete() { total } else { status.done.min(total) };
    (done, total)
}

/// One torrent of `bt.status`.
pub(super) fn torrent_status(status: &TorrentStatus) -> types::TorrentStatus {
    let (done, total_size) = bytes(status);
    let (state, error) = match &status.state {
        TorrentState::Metadata => (types::TorrentState::Metadata, None),
        TorrentState::Checking { .. } => (types::TorrentState::Checking, None),
        TorrentState::Downloading => (types::TorrentState::Downloading, None),
        TorrentState::Seeding => (types::TorrentState::Seeding, None),
        TorrentState::Paused => (types::TorrentState::Paused, None),
        TorrentState::Error(reason) => (types::TorrentState::Error, Some(reason.clone())),
    };
    let done = match status.state {
        TorrentState::Checking { checked, .. } => checked.min(total_size),
        _ => done,
    };
    let is_moving = matches!(status.state, TorrentState::Downloading);
    types::TorrentStatus {
        hash: status.info_hash.to_string(),
        name: status.name.to_string(),
        state,
        error,
        total_size,
        done,
        complete: status.is_complete() && state != types::TorrentState::Error,
        shared: status.shared,
        save_path: status.dir.display().to_string(),
        download_rate: status.traffic.download_rate.0,
        upload_rate: status.traffic.upload_rate.0,
        downloaded: status.traffic.downloaded,
        uploaded: status.traffic.uploaded,
        peers: count(status.traffic.peers),
        seeds: count(status.traffic.seeds),
        eta: status.seconds_left().filter(|_| is_moving),
        why: None,
    }
}

/// The same, and why nothing comes.
pub(super) fn torrent_status_why(status: &TorrentStatus, reach: &Reach<'_>) -> types::TorrentStatus {
    let waits = matches!(status.state, TorrentState::Metadata | TorrentState::Downloading) && status.traffic.peers == 0;
    let why = if waits { reach.of_share(&status.info_hash) } else { None };
    types::TorrentStatus { why: why.map(self::why), ..torrent_status(status) }
}

/// What is known of who can be reached.
pub(super) fn reach<'a>(contacts: &'a Contacts, torrents: &'a Torrents, now: Instant) -> Reach<'a> {
    Reach {
        shares: &contacts.shares,
        filter: &contacts.filter,
        refused: &contacts.refused,
        own: &contacts.endpoint,
        attempts: &torrents.attempts,
        now,
    }
}

/// A reason, for JSON.
pub(super) fn why(why: share::Why) -> types::Why {
    types::Why { code: why.reason.code().to_owned(), text: why.text }
}

/// All torrents, by name, so that the order stays the same from call to call.
pub(super) fn sorted(torrents: &Torrents) -> Vec<Arc<TorrentStatus>> {
    let mut list: Vec<Arc<TorrentStatus>> = torrents.list.values().cloned().collect();
    sort_by(&mut list, |a, b| (&a.name, a.info_hash).cmp(&(&b.name, b.info_hash)));
    list
}

/// One peer of `bt.peers`. `pieces` is the torrent's number of pieces.
pub(super) fn peer(stats: &PeerStats, pieces: u32, contacts: &Contacts) -> types::Peer {
    types::Peer {
        address: stats.addr.to_string(),
        client: stats.client.clone(),
        contact: contact_at(contacts, stats.addr, stats.incoming),
        incoming: stats.incoming,
        progress: if pieces == 0 { 0.0 } else { f64::from(stats.pieces) / f64::from(pieces) },
        download_rate: stats.download_rate.0,
        upload_rate: stats.upload_rate.0,
        downloaded: stats.downloaded,
        uploaded: stats.uploaded,
        choking_us: stats.peer_choking,
        choked: stats.am_choking,
    }
}

/// Whose address it is, as far as can be told: of who connected to us only the IP address means something.
fn contact_at(contacts: &Contacts, addr: SocketAddr, incoming: bool) -> Option<String> {
    let ip = addr.ip().to_canonical();
    let fits = |address: &Address| {
        address.socket.ip().to_canonical() == ip && (incoming || address.socket.port() == addr.port())
    };
    let there = contacts.shares.resources().filter(|(_, _, resource)| resource.addresses().iter().any(fits));
    let mut found = there.map(|(jid, _, _)| jid);
    let first = found.next()?;
    found.all(|other| other == first).then(|| first.to_owned())
}

/// `xmpp.get_shares`, one contact at a time: all of them together would take too much memory.
pub(super) fn shares(contacts: &Contacts) -> Members<BTreeMap<String, types::ResourceShares>> {
    let mut known: SortedMap<&str, Vec<(String, Resource)>> = SortedMap::new();
    for (jid, name, resource) in contacts.shares.resources() {
        known.entry(jid).or_default().push((name.to_owned(), resource.clone()));
    }
    let contacts = known.into_iter().map(|(jid, resources)| (jid.to_owned(), resources)).collect();
    List::new(contacts, |(jid, resources)| {
        (jid.clone(), gather(resources.iter().map(|(name, resource)| (name.clone(), resource_shares(resource)))))
    })
}

fn resource_shares(resource: &Resource) -> types::ResourceShares {
    let addresses = resource.addresses();
    let (ip_v4, ip_v6) = addresses.iter().map(|address| pair(address.socket)).partition(|(ip, _)| ip.is_ipv4());
    let entry = |share: ShareRef<'_>| {
        let hash = share.info_hash.to_string();
        (hash.clone(), types::Share { hash, name: share.name.to_owned(), size: share.size, files: Vec::new() })
    };
    types::ResourceShares {
        ip_v4,
        ip_v6,
        shares: gather(resource.shares().map(entry)),
        online: resource.is_available(),
    }
}

/// `xmpp.get_hashes`.
pub(super) fn hashes(contacts: &Contacts) -> Members<Vec<(IpAddr, u16)>> {
    let known = contacts.shares.available();
    let len = known.len();
    let row = move |number| {
        let (hash, sockets) = known.nth(number)?;
        Some((hash.to_string(), sockets.into_iter().map(pair).collect()))
    };
    List { len, row: Box::new(row) }
}

fn pair(socket: SocketAddr) -> (IpAddr, u16) {
    (socket.ip().to_canonical(), socket.port())
}

/// One row of `xmpp.list_shares` and `xmpp.search`.
pub(super) fn share_entry(hit: &Hit, torrents: &Torrents, reach: &Reach<'_>) -> types::ShareEntry {
    let available = hit.is_available();
    let own = torrents.list.get(&hit.share.info_hash).map(|status| types::OwnCopy::from(&torrent_status(status)));
    let reason = |owner: &share::Owner| reach.of_owner(&owner.jid, &owner.resource, &hit.share.info_hash);
    let comes = own.is_some_and(|own| own.complete)
        || torrents.list.get(&hit.share.info_hash).is_some_and(|own| own.traffic.peers > 0);
    let owner = |owner: &share::Owner| types::ShareOwner {
        jid: owner.jid.clone(),
        resource: owner.resource.clone(),
        online: owner.available,
        why: reason(owner).map(why),
    };
    types::ShareEntry {
        hash: hit.share.info_hash.to_string(),
        mine: own.is_some(),
        own,
        name: hit.share.name.to_string(),
        size: hit.share.size,
        file_count: (hit.share.files > 0).then(|| u64::from(hit.share.files)),
        available,
        owners: hit.owners.iter().map(owner).collect(),
        why: if comes { None } else { share::nearest(hit.owners.iter().map(reason)).map(why) },
    }
}

/// `xmpp.contacts`. Who is known through several accounts is one contact.
pub(super) fn contacts(contacts: &Contacts, reach: &Reach<'_>) -> types::Contacts {
    let mut list: SortedMap<&str, types::Contact> = SortedMap::new();
    let fresh =
        |jid: &str| types::Contact { jid: jid.to_owned(), subscription: "none".into(), ..types::Contact::default() };
    let account = |via| contacts.accounts.iter().find(|account| Via::Account(account.key) == via);
    for entry in contacts.roster.iter() {
        let contact = list.entry(&entry.jid).or_insert_with(|| fresh(&entry.jid));
        contact.name = contact.name.take().or_else(|| entry.name.clone());
        contact.subscription = either(&contact.subscription, &entry.subscription).to_owned();
        contact.asked |= entry.pending;
        contact.online |= !entry.resources.is_empty();
        contact.resources.extend(entry.resources.iter().cloned());
        sort(&mut contact.resources);
        contact.resources.dedup();
        contact.groups.extend(entry.groups.iter().cloned());
        sort(&mut contact.groups);
        contact.groups.dedup();
        add_account(contact, account(entry.via));
    }
    for request in &contacts.requests {
        let contact = list.entry(&request.jid).or_insert_with(|| fresh(&request.jid));
        contact.asks = true;
        add_account(contact, account(request.via));
    }
    for (via, jid) in contacts.blocked.iter() {
        let contact = list.entry(jid).or_insert_with(|| fresh(jid));
        contact.blocked = true;
        add_account(contact, account(*via));
    }
    for neighbor in contacts.local.iter().flat_map(|local| &local.neighbors) {
        let Some(contact) = list.get_mut(neighbor.jid.as_str()) else { continue };
        contact.neighbor = true;
        contact.fingerprint.clone_from(&neighbor.fingerprint);
        contact.address = neighbor.address.map(|address| address.to_string());
        contact.problem.clone_from(&neighbor.problem);
    }
    for (jid, _, resource) in contacts.shares.resources() {
        if let Some(contact) = list.get_mut(jid) {
            contact.shares += count(resource.share_count());
            if resource.is_online() {
                describe(contact, resource);
            }
        }
    }
    for contact in list.values_mut().filter(|contact| contact.online) {
        contact.why = reach.of_contact(&contact.jid).map(why);
    }
    types::Contacts { contacts: list.into_values().collect() }
}

fn add_account(contact: &mut types::Contact, account: Option<&AccountStatus>) {
    let jid = account.map(AccountStatus::bare);
    contact.accounts.extend(jid.filter(|jid| !contact.accounts.iter().any(|known| known == jid)).map(str::to_owned));
}

/// What runs there, and how it is reached.
fn describe(contact: &mut types::Contact, resource: &Resource) {
    let known = |list: &[String], text: &String| list.iter().any(|other| other == text);
    if let Some(endpoint) = resource.endpoint() {
        contact.ipv4 |= endpoint.ipv4;
        contact.ipv6 |= endpoint.ipv6;
        contact
            .software
            .extend(Some(endpoint.software.clone()).filter(|name| !name.is_empty() && !known(&contact.software, name)));
    }
    for address in resource.addresses() {
        let socket = SocketAddr::new(address.socket.ip().to_canonical(), address.socket.port());
        contact.ipv4 |= socket.is_ipv4();
        contact.ipv6 |= socket.is_ipv6();
        contact.addresses.extend(Some(socket.to_string()).filter(|text| !known(&contact.addresses, text)));
    }
}

/// This node in the local network.
pub(super) fn local(contacts: &Contacts) -> Option<types::Local> {
    let local = contacts.local.as_ref()?;
    Some(types::Local { name: local.name.clone(), port: local.port, fingerprint: local.fingerprint.clone() })
}

/// Who sees whom if two accounts say so.
fn either<'a>(one: &'a str, other: &'a str) -> &'a str {
    match (one, other) {
        ("none", known) | (known, "none") => known,
        (one, other) if one == other => one,
        _ => "both",
    }
}

/// A number of things, for JSON.
pub(super) fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// A path, for JSON.
pub(super) fn path(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::snapshot::{AccountState, ContactRequest, RosterEntry};
    use crate::share::Page;
    use crate::types::{AccountKey, AddressKind, Announcement, Endpoint, InfoHash, Share};

    fn bob() -> Contacts {
        let mut contacts = Contacts::default();
        let shares =
            vec![Share { info_hash: InfoHash::new([1; 20]), name: "film".into(), size: 9, files: 0, complete: true }];
        let address = |text: &str| Address { socket: text.parse().unwrap(), kind: AddressKind::Local };
        let addresses = vec![address("192.0.2.1:7"), address("[2001:db8::1]:8")];
        let endpoint = Endpoint { addresses, software: "bitween 1".into(), ..Endpoint::default() };
        let _ = contacts.shares.online(Via::FIRST, "bob@x", "r");
        let _ = contacts.shares.apply(Via::FIRST, "bob@x", Announcement::Endpoint { resource: "r".into(), endpoint });
        let _ = contacts.shares.apply(
            Via::FIRST,
            "bob@x",
            Announcement::Shares { resource: "r".into(), shares, truncated: false },
        );
        contacts
    }

    #[allow(clippy::disallowed_methods, reason = "any time will do")]
    fn reach_of<'a>(contacts: &'a Contacts, torrents: &'a Torrents) -> Reach<'a> {
        reach(contacts, torrents, Instant::now())
    }

    #[test]
    fn shares_have_the_originals_shape() {
        let hash = InfoHash::new([1; 20]).to_string();
        let members = |list: List<_>| (0..list.len).filter_map(|number| (list.row)(number)).collect::<Vec<_>>();
        assert_eq!(
            serde_json::to_value(members(shares(&bob()))).unwrap(),
            serde_json::json!([["bob@x", {"r": {
                "ip_v4": [["192.0.2.1", 7]], "ip_v6": [["2001:db8::1", 8]], "online": true,
                "shares": {hash.clone(): {"hash": hash, "name": "film", "size": 9, "files": []}}}}]])
        );
        let list = hashes(&bob());
        assert_eq!(list.len, 1);
        assert_eq!(
            serde_json::to_value((list.row)(0)).unwrap(),
            serde_json::json!([hash, [["192.0.2.1", 7], ["2001:db8::1", 8]]])
        );
    }

    #[test]
    fn rows_tell_who_has_it_and_whether_it_can_be_had() {
        let mut contacts = bob();
        contacts.filter.allow_low_ports = true;
        let row = |contacts: &Contacts| {
            let torrents = Torrents::default();
            share_entry(&contacts.shares.search("", Page::first(1)).hits[0], &torrents, &reach_of(contacts, &torrents))
        };
        let entry = row(&contacts);
        assert_eq!((&entry.why, &entry.owners[0].why), (&None, &None));
        assert!(entry.available && !entry.mine && entry.file_count.is_none());
        assert_eq!(entry.owners[0].jid, "bob@x");
        let _ = contacts.shares.offline(Via::FIRST, "bob@x", "r");
        let entry = row(&contacts);
        assert!(!entry.available);
        let why = types::Why { code: "offline".into(), text: "bob@x is not online".into() };
        assert_eq!((&entry.why, &entry.owners[0].why), (&Some(why.clone()), &Some(why)));
    }

    #[test]
    fn peers_are_recognised_by_announced_addresses() {
        let contacts = bob();
        let at = |text: &str, incoming| contact_at(&contacts, text.parse().unwrap(), incoming);
        assert_eq!(at("192.0.2.1:7", false).as_deref(), Some("bob@x"));
        assert_eq!(at("192.0.2.1:9", false), None);
        assert_eq!(at("[::ffff:192.0.2.1]:9", true).as_deref(), Some("bob@x"));
    }

    #[test]
    fn people_who_ask_are_listed_without_being_in_the_roster() {
        let known = Contacts { requests: vec![ContactRequest { via: Via::FIRST, jid: "eve@x".into() }], ..bob() };
        let list = contacts(&known, &reach_of(&known, &Torrents::default())).contacts;
        assert_eq!((list.len(), list[0].jid.as_str(), list[0].asks), (1, "eve@x", true));
    }

    #[test]
    fn who_is_known_through_two_accounts_is_one_contact() {
        let mut known = bob();
        let work = Via::Account(AccountKey::new(1));
        let entry = |via, subscription: &str, pending, resources: &[&str]| RosterEntry {
            via,
            jid: "bob@x".into(),
            name: (via == work).then(|| "Bob".into()),
            groups: if via == work { vec!["Friends".into()] } else { vec!["Films".into(), "Friends".into()] },
            subscription: subscription.into(),
            pending,
            resources: resources.iter().map(|name| (*name).to_owned()).collect(),
        };
        known.roster = [entry(Via::FIRST, "both", false, &["r"]), entry(work, "none", true, &[])].into();
        let status =
            |key, jid: &str| AccountStatus { key, jid: jid.into(), state: AccountState::Online, problem: None };
        known.accounts = vec![status(AccountKey::FIRST, "me@x/1"), status(AccountKey::new(1), "me@y/1")];
        let list = contacts(&known, &reach_of(&known, &Torrents::default())).contacts;
        assert_eq!(list.len(), 1);
        let bob = &list[0];
        assert_eq!((bob.name.as_deref(), bob.subscription.as_str(), bob.shares), (Some("Bob"), "both", 1));
        assert_eq!(
            (bob.resources.as_slice(), bob.accounts.as_slice()),
            (&["r".to_owned()][..], &["me@x".into(), "me@y".into()][..])
        );
        let addresses: Vec<_> = bob.addresses.iter().map(String::as_str).collect();
        assert_eq!((addresses.as_slice(), bob.ipv4, bob.ipv6), (&["192.0.2.1:7", "[2001:db8::1]:8"][..], true, true));
        assert_eq!(
            (bob.software.join(","), bob.groups.join(",")),
            ("bitween 1".to_owned(), "Films,Friends".to_owned())
        );
    }
}
