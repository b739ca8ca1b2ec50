//! Torrents joined by an in-memory network on virtual time.
//!
//! Each node is one [`Torrent`], a storage that remembers one number per block instead of its bytes, and an uplink with
//! a rate. Messages take the latency, blocks also their time on the sender's uplink; each connection keeps its order.
//! Nothing depends on real time or on hash order: a run is a function of its seeds.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bitween::engine::{
    Action, BlockVerdict, CloseReason, PeerInfo, PieceOutcome, Source, Torrent, TorrentOptions, TorrentStats,
};
use bitween::proto::peer::{Command, Event, ExtendedHandshake, Features};
use bitween::types::{Bitfield, Block, Geometry, PeerId, PeerKey, PieceIndex};

/// How a node serves blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    Honest,
    /// Every nth block it sends is wrong.
    Lies(u32),
    /// It unchokes and never sends a block.
    Silent,
}

/// One line of a node's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Log {
    Closed { peer: usize, reason: CloseReason },
    Cancelled,
    NeedPeers,
    Completed,
    Verified { piece: u32, good: bool },
}

struct Link {
    node: usize,
    key: PeerKey,
    /// When the last message to this end arrives.
    last: Instant,
}

pub struct Node {
    pub torrent: Torrent,
    pub addr: SocketAddr,
    pub habit: Habit,
    pub online: bool,
    /// Bytes per second.
    pub uplink: u64,
    pub log: Vec<(Duration, Log)>,
    id: PeerId,
    links: BTreeMap<PeerKey, Link>,
    next_slot: u32,
    /// What was stored of each piece whose window is open; `None` for a block that has not come.
    windows: BTreeMap<PieceIndex, Vec<Option<u64>>>,
    uploads: VecDeque<(PeerKey, Block)>,
    sending: bool,
    sent: u32,
}

enum What {
    Dial { to: SocketAddr },
    Joined { key: PeerKey, info: PeerInfo },
    Left { key: PeerKey },
    Say { key: PeerKey, command: Command },
    Payload { key: PeerKey, block: Block, content: u64 },
    UplinkFree,
    WindowOpened(PieceIndex),
    Verified { piece: PieceIndex, digests: bool },
}

struct Due {
    at: Instant,
    order: u64,
    node: usize,
    what: What,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

pub struct Net {
    pub nodes: Vec<Node>,
    pub start: Instant,
    pub now: Instant,
    geometry: Geometry,
    latency: Duration,
    due: BinaryHeap<Reverse<Due>>,
    order: u64,
}

const WINDOW_TIME: Duration = Duration::from_millis(1);
const HASH_TIME: Duration = Duration::from_millis(2);
const FEATURES: Features = Features { fast: true, extended: true, dht: false };

impl Net {
    pub fn new(geometry: Geometry, latency: Duration) -> Self {
        #[allow(clippy::disallowed_methods)]
        let start = Instant::now();
        Self { nodes: Vec::new(), start, now: start, geometry, latency, due: BinaryHeap::new(), order: 0 }
    }

    /// Adds a node with an address of its own; its number.
    pub fn add(&mut self, have: Bitfield, uplink: u64, habit: Habit, options: TorrentOptions) -> usize {
        let number = self.nodes.len();
        let id = PeerId::new([u8::try_from(number + 1).unwrap(); 20]);
        let addr = SocketAddr::from(([10, 0, 0, u8::try_from(number + 1).unwrap()], 6881));
        let options = TorrentOptions { own_id: Some(id), ..options };
        let torrent = Torrent::new(self.now, options, self.geometry, have, number as u64 + 1);
        self.nodes.push(Node {
            torrent,
            addr,
            habit,
            online: true,
            uplink,
            log: Vec::new(),
            id,
            links: BTreeMap::new(),
            next_slot: 0,
            windows: BTreeMap::new(),
            uploads: VecDeque::new(),
            sending: false,
            sent: 0,
        });
        number
    }

    pub fn seed(&mut self, uplink: u64) -> usize {
        self.add(Bitfield::full(self.geometry.piece_count()), uplink, Habit::Honest, TorrentOptions::default())
    }

    pub fn leecher(&mut self, uplink: u64) -> usize {
        self.add(Bitfield::empty(self.geometry.piece_count()), uplink, Habit::Honest, TorrentOptions::default())
    }

    /// Tells `node` the addresses of others.
    pub fn introduce(&mut self, node: usize, others: impl IntoIterator<Item = usize>) {
        let addrs: Vec<SocketAddr> = others.into_iter().filter(|n| *n != node).map(|n| self.nodes[n].addr).collect();
        self.nodes[node].torrent.add_candidates(self.now, &addrs, Source::Tracker);
        self.act(node);
    }

    pub fn introduce_all(&mut self) {
        for node in 0..self.nodes.len() {
            self.introduce(node, 0..self.nodes.len());
        }
    }

    /// The node is gone at once, without a word.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].online = false;
        for key in self.nodes[node].links.keys().copied().collect::<Vec<_>>() {
            self.disconnect(node, key);
        }
    }

    /// Runs until `done` says so. False if that takes longer than `limit` of virtual time.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + limit;
        while !done(self) {
            let message = self.due.peek().map(|Reverse(due)| due.at);
            let online = self.nodes.iter().enumerate().filter(|(_, node)| node.online);
            let timer = online.filter_map(|(n, node)| Some((node.torrent.poll_timeout()?, n))).min();
            let next = message.into_iter().chain(timer.map(|(at, _)| at)).min();
            let Some(next) = next.filter(|at| *at <= end) else {
                self.now = end;
                return done(self);
            };
            self.now = self.now.max(next);
            if let Some((at, node)) = timer.filter(|(at, _)| message.is_none_or(|message| *at < message)) {
                self.nodes[node].torrent.handle_timeout(self.now);
                let again = self.nodes[node].torrent.poll_timeout();
                assert!(again.is_none_or(|again| again > at), "node {node} would spin");
                self.act(node);
            } else if let Some(Reverse(due)) = self.due.pop() {
                self.happen(due.node, due.what);
            }
        }
        true
    }

    pub fn complete(&self, nodes: &[usize]) -> bool {
        nodes.iter().all(|n| self.nodes[*n].torrent.is_complete())
    }

    pub fn stats(&self, node: usize) -> TorrentStats {
        self.nodes[node].torrent.stats(self.now)
    }

    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// How often this stands in a node's log.
    pub fn count(&self, node: usize, test: impl Fn(&Log) -> bool) -> usize {
        self.nodes[node].log.iter().filter(|(_, log)| test(log)).count()
    }

    /// Everybody that `node` has banned.
    pub fn banned_by(&self, node: usize) -> Vec<usize> {
        let closed = self.nodes[node].log.iter().filter_map(|(_, log)| match log {
            Log::Closed { peer, reason: CloseReason::Banned } => Some(*peer),
            _ => None,
        });
        closed.collect()
    }

    fn schedule(&mut self, at: Instant, node: usize, what: What) {
        self.order += 1;
        self.due.push(Reverse(Due { at, order: self.order, node, what }));
    }

    fn log(&mut self, node: usize, log: Log) {
        let at = self.now - self.start;
        self.nodes[node].log.push((at, log));
    }

    /// Delivers something to the other end of a connection, behind everything sent before.
    fn transmit(&mut self, node: usize, key: PeerKey, what: impl FnOnce(PeerKey) -> What) {
        let at = self.now + self.latency;
        let Some(link) = self.nodes[node].links.get_mut(&key) else { return };
        link.last = link.last.max(at);
        let (at, to, theirs) = (link.last, link.node, link.key);
        self.schedule(at, to, what(theirs));
    }

    fn disconnect(&mut self, node: usize, key: PeerKey) {
        self.transmit(node, key, |key| What::Left { key });
        self.nodes[node].links.remove(&key);
        self.nodes[node].uploads.retain(|(to, _)| *to != key);
    }

    fn happen(&mut self, node: usize, what: What) {
        let now = self.now;
        let linked = |net: &Self, key: &PeerKey| net.nodes[node].links.contains_key(key);
        match what {
            What::Dial { to } => return self.dial(node, to),
            What::UplinkFree => return self.send_next(node),
            What::Joined { key, info } if linked(self, &key) => {
                self.nodes[node].torrent.peer_joined(now, key, info);
                let hello = ExtendedHandshake { listen_port: Some(6881), ..ExtendedHandshake::default() };
                self.nodes[node].torrent.peer_event(now, key, &Event::ExtendedHandshake(hello));
            }
            What::Left { key } => {
                self.nodes[node].links.remove(&key);
                self.nodes[node].uploads.retain(|(to, _)| *to != key);
                self.nodes[node].torrent.peer_left(now, key);
            }
            What::Say { key, command } if linked(self, &key) => self.hear(node, key, command),
            What::Payload { key, block, content } if linked(self, &key) => self.receive(node, key, block, content),
            What::WindowOpened(piece) => {
                let blocks = self.geometry.block_count(piece) as usize;
                self.nodes[node].windows.insert(piece, vec![None; blocks]);
                self.nodes[node].torrent.window_opened(now, piece);
            }
            What::Verified { piece, digests } => self.verified(node, piece, digests),
            What::Joined { .. } | What::Say { .. } | What::Payload { .. } => {}
        }
        self.act(node);
    }

    fn dial(&mut self, node: usize, to: SocketAddr) {
        let target = self.nodes.iter().position(|other| other.addr == to && other.online);
        let Some(target) = target.filter(|_| self.nodes[node].online) else {
            self.nodes[node].torrent.connect_failed(self.now, to);
            return self.act(node);
        };
        let [ours, theirs] = [node, target].map(|end| {
            let slot = self.nodes[end].next_slot;
            self.nodes[end].next_slot += 1;
            PeerKey { slot, generation: 1 }
        });
        let last = self.now;
        self.nodes[node].links.insert(ours, Link { node: target, key: theirs, last });
        self.nodes[target].links.insert(theirs, Link { node, key: ours, last });
        let dialled =
            PeerInfo { addr: to, incoming: false, peer_id: self.nodes[target].id, features: FEATURES, known: false };
        let from = SocketAddr::new(self.nodes[node].addr.ip(), 50_000);
        let accepted =
            PeerInfo { addr: from, incoming: true, peer_id: self.nodes[node].id, features: FEATURES, known: false };
        self.schedule(self.now, target, What::Joined { key: theirs, info: accepted });
        self.schedule(self.now, node, What::Joined { key: ours, info: dialled });
    }

    fn hear(&mut self, node: usize, key: PeerKey, command: Command) {
        let event = match command {
            Command::Choke => Event::Choked,
            Command::Unchoke => Event::Unchoked,
            Command::Interested => Event::Interested,
            Command::NotInterested => Event::NotInterested,
            Command::Have(piece) => Event::Have(piece),
            Command::Bitfield(pieces) => Event::Bitfield(pieces),
            Command::Request(block) => Event::Requested(block),
            Command::Cancel(block) => Event::Cancelled(block),
            Command::Reject(block) => Event::Rejected(block),
            other => panic!("not in this simulation: {other:?}"),
        };
        self.nodes[node].torrent.peer_event(self.now, key, &event);
    }

    fn receive(&mut self, node: usize, key: PeerKey, block: Block, content: u64) {
        let verdict = self.nodes[node].torrent.block_arrived(self.now, key, block);
        if verdict == BlockVerdict::Store {
            let window = self.nodes[node].windows.get_mut(&block.piece()).expect("blocks only come into open windows");
            window[block.number().unwrap() as usize] = Some(content);
        }
    }

    fn verified(&mut self, node: usize, piece: PieceIndex, digests: bool) {
        let window = &self.nodes[node].windows[&piece];
        let found: Vec<u64> = window.iter().map(|block| block.expect("all blocks are stored")).collect();
        let good = found.iter().zip(self.geometry.blocks(piece)).all(|(found, block)| *found == truth(block));
        let outcome = if good { PieceOutcome::Good } else { PieceOutcome::Bad };
        if good {
            self.nodes[node].windows.remove(&piece);
        }
        let digests = if digests { found } else { Vec::new() };
        self.log(node, Log::Verified { piece: piece.get(), good });
        self.nodes[node].torrent.piece_verified(self.now, piece, outcome, &digests);
    }

    fn act(&mut self, node: usize) {
        while let Some(action) = self.nodes[node].torrent.poll_action() {
            match action {
                Action::Connect(to) => self.schedule(self.now + self.latency, node, What::Dial { to }),
                Action::Close { peer, reason } => {
                    if let Some(link) = self.nodes[node].links.get(&peer) {
                        let peer = link.node;
                        self.log(node, Log::Closed { peer, reason });
                    }
                    self.disconnect(node, peer);
                }
                Action::Send { peer, command } => {
                    if matches!(command, Command::Cancel(_)) {
                        self.log(node, Log::Cancelled);
                    }
                    self.transmit(node, peer, |key| What::Say { key, command });
                }
                Action::OpenWindow(piece) => self.schedule(self.now + WINDOW_TIME, node, What::WindowOpened(piece)),
                Action::CloseWindow(piece) => drop(self.nodes[node].windows.remove(&piece)),
                Action::Verify { piece, digests } => {
                    self.schedule(self.now + HASH_TIME, node, What::Verified { piece, digests });
                }
                Action::Upload { peer, block } => {
                    self.nodes[node].uploads.push_back((peer, block));
                    if !self.nodes[node].sending {
                        self.start_sending(node);
                    }
                }
                Action::CancelUpload { peer, block } => self.drop_uploads(node, |queued| *queued == (peer, block)),
                Action::DropUploads { peer } => self.drop_uploads(node, |(to, _)| *to == peer),
                Action::NeedPeers => self.log(node, Log::NeedPeers),
                Action::Completed => self.log(node, Log::Completed),
            }
        }
    }

    fn drop_uploads(&mut self, node: usize, which: impl Fn(&(PeerKey, Block)) -> bool) {
        let queued = self.nodes[node].uploads.drain(..);
        let (dropped, kept): (VecDeque<_>, VecDeque<_>) = queued.partition(|queued| which(queued));
        self.nodes[node].uploads = kept;
        for (peer, block) in dropped {
            self.transmit(node, peer, |key| What::Say { key, command: Command::Reject(block) });
        }
    }

    /// The first block of the queue goes onto the wire, which takes its time.
    fn start_sending(&mut self, node: usize) {
        let sender = &mut self.nodes[node];
        if sender.habit == Habit::Silent {
            sender.uploads.clear();
        }
        sender.sending = !sender.uploads.is_empty();
        if let Some((_, block)) = sender.uploads.front() {
            let time = Duration::from_secs_f64(f64::from(block.len()) / sender.uplink as f64);
            self.schedule(self.now + time, node, What::UplinkFree);
        }
    }

    fn send_next(&mut self, node: usize) {
        if let Some((peer, block)) = self.nodes[node].uploads.pop_front() {
            let sender = &mut self.nodes[node];
            sender.sent += 1;
            let lie = matches!(sender.habit, Habit::Lies(every) if sender.sent.is_multiple_of(every));
            let content = if lie { !truth(block) ^ node as u64 } else { truth(block) };
            sender.torrent.block_sent(self.now, peer, block.len());
            self.transmit(node, peer, |key| What::Payload { key, block, content });
        }
        self.start_sending(node);
        self.act(node);
    }
}

/// What a block should contain.
fn truth(block: Block) -> u64 {
    u64::from(block.piece().get()) << 32 | u64::from(block.begin())
}
