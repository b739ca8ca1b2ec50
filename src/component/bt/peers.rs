//! Connections: the handshake's decision, joining a torrent, and what peers say.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

use super::Bt;
use super::torrent::{Phase, Torrent};
use crate::component::event::Event as ComponentEvent;
use crate::engine::{BlockVerdict, CloseReason, MAX_UPLOADS, PeerInfo};
use crate::proto::peer::{Command, Event, ExtendedHandshake, Fault, Handshake, METADATA_PIECE_LEN, SessionOptions};
use crate::reactor::{CloseCause, Net};
use crate::types::{BLOCK_LEN, Block, Host, MemoryClass, PeerKey, TorrentKey, Witness};

/// Peers whose handshakes wait for a check of the files.
const MAX_EARLY: usize = 64;

/// What is kept with each connection.
#[derive(Debug, Default)]
pub(in crate::component) struct Peer {
    /// The torrent it is for; unknown until an incoming connection's handshake.
    pub(super) torrent: Option<TorrentKey>,
    /// The torrent's engine knows it.
    pub(super) joined: bool,
    /// We made the connection.
    pub(super) dialed: bool,
    /// Its handshake has come.
    answered: bool,
    /// Where it says that it listens.
    pub(super) listens: Option<u16>,
    /// Said before the engine knew the peer: a magnet link's description was still on its way.
    early_unchoke: bool,
    early_interest: bool,
    /// Blocks to be sent that are not in the out-queue yet.
    pub(super) uploads: VecDeque<Block>,
    /// Bytes that the account of memory has for it.
    counted: usize,
    /// Bytes of blocks that came from it and were handed to its connection.
    received: u64,
    pub(super) sent: u64,
}

impl Peer {
    pub(super) fn incoming() -> Self {
        Self::default()
    }

    pub(super) fn dialed(torrent: TorrentKey) -> Self {
        Self { torrent: Some(torrent), dialed: true, ..Self::default() }
    }
}

impl Bt {
    /// Tells the connection how much was asked for.
    pub(super) fn expect(&self, net: &mut Net<Peer>, torrent: TorrentKey, key: PeerKey) {
        let engine = self.torrents.get(&torrent).and_then(|torrent| torrent.engine());
        let blocks = engine.map_or(0, |engine| engine.requested_from(key));
        net.expect(key, blocks.saturating_mul(BLOCK_LEN as usize));
    }

    pub(super) fn session_options(&self, torrent: &Torrent, addr: SocketAddr) -> SessionOptions {
        let metainfo = torrent.metainfo.as_ref().filter(|_| matches!(torrent.phase, Phase::Running(_)));
        SessionOptions {
            peer_id: self.peer_id,
            listen_port: Some(self.port),
            geometry: metainfo.map(|metainfo| metainfo.info.geometry),
            metadata_size: metainfo.and_then(|metainfo| u32::try_from(metainfo.raw_info().len()).ok()),
            request_queue: MAX_UPLOADS,
            client: concat!("bitween/", env!("CARGO_PKG_VERSION")).to_owned(),
            remote_ip: Some(addr.ip()),
        }
    }

    pub(super) fn peer_event(&mut self, net: &mut Net<Peer>, key: PeerKey, event: Event<'_>) {
        if let Event::Handshake(handshake) = &event {
            return self.handshake(net, key, handshake);
        }
        if let Event::ExtendedHandshake(hello) = &event
            && !self.introduced(net, key, hello)
        {
            return;
        }
        let now = net.now();
        let Some(peer) = net.data(key) else { return };
        let Some(torrent_key) = peer.torrent else { return };
        let joined = peer.joined;
        let Some(torrent) = self.torrents.get_mut(&torrent_key) else { return };
        // What follows from it is carried out when the whole burst has been read: see `Bt::burst_end`.
        match (&mut torrent.phase, &event) {
            (_, Event::MetadataRequested(piece)) => self.serve_metadata(net, key, torrent_key, *piece),
            (Phase::Running(engine), Event::Block { block, data }) if joined => {
                peer.received += u64::from(block.len());
                if engine.block_arrived(now, key, *block) == BlockVerdict::Store {
                    self.store_block(net, torrent_key, *block, data);
                }
            }
            (Phase::Running(engine), _) if joined => {
                engine.peer_event(now, key, &event);
            }
            (Phase::Metadata(fetch), _) => {
                fetch.peer_event(now, key, &event);
                note_early(net, key, &event);
            }
            _ => note_early(net, key, &event),
        }
    }

    /// A peer says more of itself. False if it is not wanted: it is gone then.
    fn introduced(&mut self, net: &mut Net<Peer>, key: PeerKey, hello: &ExtendedHandshake) -> bool {
        let Some(addr) = net.addr(key) else { return false };
        if let (Some(peer), Some(port)) = (net.data(key), hello.listen_port) {
            peer.listens = Some(port);
        }
        // Whoever calls us chose to; whom we called did not choose to be asked.
        if let Some(ip) = hello.your_ip.filter(|_| !net.is_incoming(key)) {
            // Nobody listens where there are no contacts.
            let _ = self.bus.publish(ComponentEvent::Observed { witness: Witness::Peer(Host::of(addr.ip())), ip });
        }
        let refused = self.refused.has(addr, hello.listen_port);
        if refused {
            self.drop_peer(net, key, &"its owner is blocked");
        }
        !refused
    }

    fn handshake(&mut self, net: &mut Net<Peer>, key: PeerKey, handshake: &Handshake) {
        let now = net.now();
        let Some(addr) = net.addr(key) else { return };
        if handshake.peer_id == self.peer_id {
            return self.drop_peer(net, key, &"it is ourselves");
        }
        if !net.is_incoming(key) {
            if let Some(peer) = net.data(key) {
                peer.answered = true;
            }
            self.answered(net, addr);
            return self.join(net, key, handshake);
        }
        let torrent_key = self.authorise(handshake.info_hash, addr);
        let torrent = torrent_key.and_then(|key| self.torrents.get_mut(&key));
        let (Some(peer), Some(torrent)) = (net.data(key), torrent) else {
            debug!("{addr} asks for {}, which is not here", handshake.info_hash);
            net.close(key);
            return;
        };
        if torrent.takes_peers() {
            torrent.rouse(now);
            peer.torrent = torrent_key;
            self.accept(net, key, handshake);
        } else if matches!(torrent.phase, Phase::Opening { .. })
            && !torrent.paused
            && torrent.active.early.len() < MAX_EARLY
        {
            // Most checks take a moment; a peer that is sent away comes back much later. A session that waits for too
            // long ends by itself.
            peer.torrent = torrent_key;
            torrent.active.early.push((key, *handshake));
        } else {
            debug!("{addr} asks for {}, which is not served now", torrent.name);
            net.close(key);
        }
    }

    /// Answers the handshake of an incoming connection whose torrent takes peers.
    pub(super) fn accept(&mut self, net: &mut Net<Peer>, key: PeerKey, handshake: &Handshake) {
        let torrent = net.data(key).and_then(|peer| peer.torrent).and_then(|key| self.torrents.get(&key));
        let (Some(torrent), Some(addr)) = (torrent, net.addr(key)) else { return };
        let options = self.session_options(torrent, addr);
        net.accept(key, options);
        self.join(net, key, handshake);
    }

    fn join(&mut self, net: &mut Net<Peer>, key: PeerKey, handshake: &Handshake) {
        let now = net.now();
        let (Some(addr), incoming) = (net.addr(key), net.is_incoming(key)) else { return };
        let Some(torrent_key) = net.data(key).and_then(|peer| peer.torrent) else { return };
        let known = self.is_contact(addr);
        if !self.has_room_for(net, torrent_key) {
            return self.drop_peer(net, key, &"there is no memory for more peers");
        }
        let Some(torrent) = self.torrents.get_mut(&torrent_key) else { return };
        debug!("{}: joined by {addr} ({})", torrent.name, handshake.peer_id);
        torrent.active.peers.insert(key);
        match &mut torrent.phase {
            Phase::Running(engine) => {
                let (peer_id, features) = (handshake.peer_id, handshake.features);
                let info = PeerInfo { addr, incoming, peer_id, features, known };
                engine.peer_joined(now, key, info);
                if let Some(peer) = net.data(key) {
                    peer.joined = true;
                }
            }
            Phase::Metadata(fetch) => fetch.peer_joined(now, key),
            Phase::Resting | Phase::Opening { .. } | Phase::Failed(_) | Phase::Closing => {
                return self.drop_peer(net, key, &"the torrent takes no peers");
            }
        }
        self.count_peer(net, key);
        self.drain(net, torrent_key);
    }

    /// Brings a peer that helped with the description into the engine.
    pub(super) fn join_after_metadata(&mut self, net: &mut Net<Peer>, key: PeerKey, torrent_key: TorrentKey) {
        let now = net.now();
        let Some(addr) = net.addr(key) else { return };
        let known = self.is_contact(addr);
        let Some(torrent) = self.torrents.get_mut(&torrent_key) else { return };
        let (Phase::Running(engine), Some(metainfo)) = (&mut torrent.phase, &torrent.metainfo) else { return };
        let Some((peer_id, features)) = net.session(key).and_then(|s| Some((s.peer_id()?, s.features()))) else {
            return;
        };
        let size = u32::try_from(metainfo.raw_info().len()).unwrap_or(u32::MAX);
        let events = match net.set_geometry(key, metainfo.info.geometry, size) {
            Ok(events) => events,
            Err(error) => return self.drop_peer(net, key, &error),
        };
        let incoming = net.is_incoming(key);
        engine.peer_joined(now, key, PeerInfo { addr, incoming, peer_id, features, known });
        let Some(peer) = net.data(key) else { return };
        peer.joined = true;
        let early = [(peer.early_interest, Event::Interested), (peer.early_unchoke, Event::Unchoked)];
        for event in events.into_iter().chain(early.into_iter().filter_map(|(said, event)| said.then_some(event))) {
            engine.peer_event(now, key, &event);
        }
        self.count_peer(net, key);
    }

    fn serve_metadata(&mut self, net: &mut Net<Peer>, key: PeerKey, torrent_key: TorrentKey, piece: u32) {
        let Some(torrent) = self.torrents.get(&torrent_key) else { return };
        let data = torrent.metainfo.as_ref().and_then(|metainfo| {
            let raw = metainfo.raw_info();
            let start = usize::try_from(piece.checked_mul(METADATA_PIECE_LEN)?).ok()?;
            let end = raw.len().min(start.checked_add(METADATA_PIECE_LEN as usize)?);
            let total_size = u32::try_from(raw.len()).ok()?;
            Some((raw.get(start..end).filter(|data| !data.is_empty())?.to_vec(), total_size))
        });
        let answer = match data {
            Some((data, total_size)) => Command::MetadataPiece { piece, total_size, data },
            None => Command::MetadataReject(piece),
        };
        net.send(key, &answer);
    }

    /// Closes a connection and tells the torrent that it is gone.
    pub(super) fn drop_peer(&mut self, net: &mut Net<Peer>, key: PeerKey, why: &dyn fmt::Display) {
        let Some(addr) = net.addr(key) else { return };
        if let Some(peer) = net.close(key) {
            self.log_end(addr, &peer, why);
            self.forget_peer(net, key, addr, &peer);
        }
    }

    /// Closes a connection that the torrent's engine has forgotten already.
    pub(super) fn close_peer(&mut self, net: &mut Net<Peer>, key: PeerKey, reason: CloseReason) {
        let addr = net.addr(key);
        if let (Some(addr), Some(peer)) = (addr, net.close(key)) {
            self.log_end(addr, &peer, &format_args!("{reason:?}"));
            net.memory().resize(MemoryClass::Peers, peer.counted, 0);
            if let Some(torrent) = peer.torrent.and_then(|key| self.torrents.get_mut(&key)) {
                torrent.active.peers.remove(&key);
            }
        }
    }

    fn log_end(&self, addr: SocketAddr, peer: &Peer, why: &dyn fmt::Display) {
        let name = peer.torrent.and_then(|key| self.torrents.get(&key)).map_or("", |torrent| &*torrent.name);
        let Peer { received, sent, .. } = peer;
        debug!("{name}: {addr} is gone after {received} bytes received and {sent} sent: {why}");
    }

    pub(super) fn peer_closed(
        &mut self,
        net: &mut Net<Peer>,
        key: PeerKey,
        addr: SocketAddr,
        peer: &Peer,
        why: &CloseCause,
    ) {
        self.log_end(addr, peer, why);
        match why {
            CloseCause::Wire(error) if error.fault() == Fault::Ban => self.ban(net.now(), key, peer),
            CloseCause::Lost(windows) => self.lost_data(peer, windows),
            _ => {}
        }
        if let Some(torrent) = peer.torrent.filter(|_| peer.dialed && !peer.answered) {
            self.unanswered(net, torrent, addr, why);
        }
        self.forget_peer(net, key, addr, peer);
    }

    fn ban(&mut self, now: Instant, key: PeerKey, peer: &Peer) {
        let torrent = peer.torrent.filter(|_| peer.joined).and_then(|key| self.torrents.get_mut(&key));
        if let Some(engine) = torrent.and_then(|torrent| torrent.engine_mut()) {
            engine.peer_misbehaved(now, key);
        }
    }

    /// May another peer join this torrent, as far as memory goes?
    fn has_room_for(&self, net: &mut Net<Peer>, torrent: TorrentKey) -> bool {
        let bytes = self.torrents.get(&torrent).map_or(0, |torrent| bitfield_bytes(torrent));
        net.memory().has_room_for_peer(bytes as u64)
    }

    /// Counts what is kept for a peer that has joined: which pieces it has, and what it asked for, which the engine keeps
    /// as well.
    pub(super) fn count_peer(&self, net: &mut Net<Peer>, key: PeerKey) {
        let Some(peer) = net.data(key) else { return };
        let torrent = peer.torrent.filter(|_| peer.joined).and_then(|torrent| self.torrents.get(&torrent));
        let pieces = torrent.map_or(0, |torrent| bitfield_bytes(torrent));
        let after = pieces + 2 * peer.uploads.capacity() * size_of::<Block>();
        let before = std::mem::replace(&mut peer.counted, after);
        net.memory().resize(MemoryClass::Peers, before, after);
    }

    fn forget_peer(&mut self, net: &mut Net<Peer>, key: PeerKey, addr: SocketAddr, peer: &Peer) {
        let now = net.now();
        net.memory().resize(MemoryClass::Peers, peer.counted, 0);
        let Some(torrent_key) = peer.torrent else { return };
        let Some(torrent) = self.torrents.get_mut(&torrent_key) else { return };
        let connected = torrent.active.peers.remove(&key);
        torrent.active.early.retain(|(early, _)| *early != key);
        match &mut torrent.phase {
            Phase::Running(engine) if peer.joined => engine.peer_left(now, key),
            Phase::Running(engine) if peer.dialed => engine.connect_failed(now, addr),
            Phase::Metadata(fetch) => {
                if connected {
                    fetch.peer_left(now, key);
                }
                torrent.active.dialing.failed(now, addr);
            }
            _ => {}
        }
        self.drain(net, torrent_key);
    }
}

/// Bytes of a bitfield of this torrent.
fn bitfield_bytes(torrent: &Torrent) -> usize {
    torrent.metainfo.as_ref().map_or(0, |known| known.info.geometry.piece_count().div_ceil(8) as usize)
}

fn note_early(net: &mut Net<Peer>, key: PeerKey, event: &Event<'_>) {
    let Some(peer) = net.data(key) else { return };
    match event {
        Event::Unchoked => peer.early_unchoke = true,
        Event::Choked => peer.early_unchoke = false,
        Event::Interested => peer.early_interest = true,
        Event::NotInterested => peer.early_interest = false,
        _ => {}
    }
}
