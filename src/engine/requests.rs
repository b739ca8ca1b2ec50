//! The blocks one peer owes us: how many at once, and when it is late with them.
//!
//! The number follows bandwidth times delay without measuring either: it grows by one with each block that comes, which
//! doubles it every round trip, until it covers some seconds of the measured rate. What a peer owes is memory that waits
//! for it, so one that answers at once, in the same room, gets a lower limit: it needs no more to be kept busy. A peer that sends nothing for
//! a while is *snubbed*: its blocks are free for others, and it is trusted with one at a time. What it sends late is
//! still welcome, so late requests stay on the list for some time. Not here: which blocks (`picker`).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::types::{BLOCK_LEN, Block, BytesPerSec, PieceIndex, RateMeter};

/// Requests to a peer whose rate is not known. 256 KiB; a slow peer works this off in seconds, a fast one in one round.
const START_DEPTH: u32 = 16;
/// A peer that answers a request within this time is near. 5 ms: the same house, or the same city.
const NEAR: Duration = Duration::from_millis(5);
/// Requests to a near peer: 3 MiB, which keep 600 MB/s busy over the longest delay that counts as near. Measured: a third
/// less means a sixth more system calls, and a third more costs memory for little.
const NEAR_DEPTH: u32 = 192;
/// Share of the pipeline that must be free before it is filled again: one in so many. A request for each block that came
/// would be a system call for each, on both sides.
const REFILL_SHARE: usize = 4;
/// Requests to any peer that is not snubbed: one on its way while one is being sent.
const MIN_DEPTH: u32 = 2;
/// So much time at its measured rate may a peer owe us. libtorrent's number (`request_queue_time`).
const QUEUE_TIME: Duration = Duration::from_secs(3);
/// Shortest silence that makes a peer late with everything. Taste: longer than any sane round trip or garbage collection.
const MIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest such silence, however slow the peer has been.
const MAX_TIMEOUT: Duration = Duration::from_secs(60);
/// Silence counted in expected times for one block.
const TIMEOUT_BLOCKS: u32 = 4;
/// A single block may take this long while others come; then it is free for others.
const LATE: Duration = Duration::from_secs(30);
/// After this time a late block is not waited for any more.
const FORGET: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug)]
struct Request {
    block: Block,
    sent: Instant,
    /// No other request was out: the time until the block comes is the peer's delay, and not our queue's.
    alone: bool,
    /// Others may be asked for the block; this peer's claim on it has ended.
    late: bool,
}

impl Request {
    const fn claim(&self) -> Claim {
        if self.late { Claim::Lost } else { Claim::Held }
    }
}

/// Whether a request had still a claim on its block when it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// It had: the block counts as asked for.
    Held,
    /// The peer was late: the claim has been given back before.
    Lost,
}

/// The requests to one peer.
#[derive(Debug)]
pub(super) struct Pipeline {
    queue: VecDeque<Request>,
    depth: u32,
    limit: u32,
    snubbed: bool,
    /// How long the last request that was sent alone took.
    delay: Option<Duration>,
    /// Last time a block came, or a request was sent while none was out.
    progress: Instant,
    /// The rate when a block came last. The present one would excuse a peer the more the longer it is silent.
    pace: BytesPerSec,
    meter: RateMeter,
}

impl Pipeline {
    /// No requests yet; never more than `limit` at once.
    pub fn new(now: Instant, limit: u32) -> Self {
        let limit = limit.max(1);
        let depth = START_DEPTH.min(limit);
        let (queue, pace, meter) = (VecDeque::new(), BytesPerSec::default(), RateMeter::new(now));
        Self { queue, depth, limit, snubbed: false, delay: None, progress: now, pace, meter }
    }

    /// The peer said how many requests it keeps (BEP 10, `reqq`).
    pub fn lower_limit(&mut self, request_queue: u32) {
        self.limit = self.limit.min(request_queue.max(1));
        self.depth = self.depth.min(self.limit);
    }

    /// How many requests should be sent now: none while only a few are missing.
    pub fn room(&self) -> usize {
        let depth = self.depth as usize;
        let room = depth.saturating_sub(self.queue.len());
        if room >= depth / REFILL_SHARE { room } else { 0 }
    }

    /// How many requests may be out at once.
    pub const fn depth(&self) -> u32 {
        self.depth
    }

    /// Requests that are out, late ones included.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// The peer was late with everything and has sent nothing since.
    pub const fn is_snubbed(&self) -> bool {
        self.snubbed
    }

    /// Is this block asked for, late or not?
    pub fn contains(&self, block: Block) -> bool {
        self.queue.iter().any(|request| request.block == block)
    }

    /// Is there a request for this block that is not late?
    #[cfg(test)]
    pub fn holds(&self, block: Block) -> bool {
        self.queue.iter().any(|request| request.block == block && !request.late)
    }

    /// Bytes that came, useless ones included.
    pub const fn downloaded(&self) -> u64 {
        self.meter.total()
    }

    /// Bytes that come per second.
    pub fn rate(&self, now: Instant) -> BytesPerSec {
        self.meter.clone().rate(now)
    }

    /// A request goes out.
    pub fn push(&mut self, now: Instant, block: Block) {
        if self.queue.is_empty() {
            self.progress = now;
        }
        self.queue.push_back(Request { block, sent: now, alone: self.queue.is_empty(), late: false });
    }

    /// Block bytes came, asked for or not.
    pub fn count(&mut self, now: Instant, block: Block) {
        self.meter.add(now, u64::from(block.len()));
    }

    /// A block came that was asked for. `None` if it was not.
    pub fn arrived(&mut self, now: Instant, block: Block) -> Option<Claim> {
        let request = self.take(block)?;
        if request.alone {
            self.delay = Some(now.saturating_duration_since(request.sent));
        }
        self.progress = now;
        self.snubbed = false;
        self.pace = self.rate(now);
        let target = self.target();
        self.depth = if self.depth < target { self.depth + 1 } else { (self.depth - 1).max(target) };
        Some(request.claim())
    }

    /// A request ended without its block. `None` if there was no such request.
    pub fn remove(&mut self, block: Block) -> Option<Claim> {
        self.take(block).map(|request| request.claim())
    }

    fn take(&mut self, block: Block) -> Option<Request> {
        let at = self.queue.iter().position(|request| request.block == block)?;
        self.queue.remove(at)
    }

    /// Ends all requests for blocks of one piece; which they were.
    pub fn remove_piece(&mut self, piece: PieceIndex) -> Vec<Block> {
        let ended = self.queue.iter().map(|request| request.block).filter(|block| block.piece() == piece).collect();
        self.queue.retain(|request| request.block.piece() != piece);
        ended
    }

    /// Every request is over; the blocks on which there was still a claim go to `freed`.
    pub fn clear(&mut self, freed: &mut Vec<Block>) {
        freed.extend(self.queue.drain(..).filter(|request| !request.late).map(|request| request.block));
    }

    /// Ends the claim of every request, which may still be answered; the blocks go to `freed`.
    pub fn make_late(&mut self, freed: &mut Vec<Block>) {
        for request in self.queue.iter_mut().filter(|request| !request.late) {
            request.late = true;
            freed.push(request.block);
        }
    }

    /// Forgets requests whose claim has ended.
    pub fn forget_late(&mut self) {
        self.queue.retain(|request| !request.late);
    }

    /// Looks for late requests; their blocks go to `freed`.
    pub fn expire(&mut self, now: Instant, freed: &mut Vec<Block>) {
        self.queue.retain(|request| !request.late || now.saturating_duration_since(request.sent) < FORGET);
        let waiting = self.queue.iter().any(|request| !request.late);
        if waiting && self.silent_for(now) > self.timeout() {
            self.make_late(freed);
            self.depth = 1;
            self.snubbed = true;
            return;
        }
        // In the order they were sent, so the first young one ends the search.
        for request in self.queue.iter_mut().take_while(|r| now.saturating_duration_since(r.sent) > LATE) {
            if !request.late {
                request.late = true;
                freed.push(request.block);
            }
        }
    }

    /// How long the peer has sent nothing while it owed us something.
    pub fn silent_for(&self, now: Instant) -> Duration {
        if self.queue.is_empty() { Duration::ZERO } else { now.saturating_duration_since(self.progress) }
    }

    /// The depth that the measured rate asks for.
    fn target(&self) -> u32 {
        let owed = u128::from(self.pace.0) * QUEUE_TIME.as_millis() / 1000;
        let blocks = u32::try_from(owed / u128::from(BLOCK_LEN)).unwrap_or(u32::MAX);
        let is_near = self.delay.is_some_and(|delay| delay <= NEAR);
        blocks.max(MIN_DEPTH).min(if is_near { self.limit.min(NEAR_DEPTH) } else { self.limit })
    }

    fn timeout(&self) -> Duration {
        let pace = u32::try_from(self.pace.0).unwrap_or(u32::MAX);
        let block = Duration::from_secs(u64::from(BLOCK_LEN)).checked_div(pace);
        block.map_or(MIN_TIMEOUT, |block| (block * TIMEOUT_BLOCKS).clamp(MIN_TIMEOUT, MAX_TIMEOUT))
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use crate::types::Geometry;

    fn blocks() -> impl Iterator<Item = Block> {
        let geo = Geometry::new(1 << 34, 1 << 28).unwrap();
        geo.pieces().flat_map(move |piece| geo.blocks(piece))
    }

    fn fill(
        pipeline: &mut Pipeline,
        now: Instant,
        blocks: &mut impl Iterator<Item = Block>,
        wire: &mut VecDeque<Block>,
    ) {
        for _ in 0..pipeline.room() {
            let block = blocks.next().unwrap();
            pipeline.push(now, block);
            wire.push_back(block);
        }
    }

    /// For a tenth of a second every request is answered after `delay`, at 64 blocks a millisecond; the depth then.
    fn serve(pipeline: &mut Pipeline, now: &mut Instant, delay: Duration) -> u32 {
        let (mut blocks, mut asked, mut wire) = (blocks(), VecDeque::new(), VecDeque::new());
        for _ in 0..100 {
            fill(pipeline, *now, &mut blocks, &mut asked);
            wire.extend(asked.drain(..).map(|block| (*now + delay, block)));
            *now += Duration::from_millis(1);
            for _ in 0..64 {
                let Some((_, block)) = wire.pop_front_if(|(due, _)| *due <= *now) else { break };
                pipeline.count(*now, block);
                assert_eq!(pipeline.arrived(*now, block), Some(Claim::Held));
            }
        }
        pipeline.depth()
    }

    #[test]
    fn a_fast_peer_is_asked_for_as_much_as_allowed_within_a_tenth_of_a_second() {
        let mut now = Instant::now();
        let far = Duration::from_millis(10);
        assert_eq!(serve(&mut Pipeline::new(now, 512), &mut now, far), 512);
        let mut limited = Pipeline::new(now, 512);
        limited.lower_limit(100);
        assert_eq!(serve(&mut limited, &mut now, far), 100);
    }

    #[test]
    fn requests_go_out_together() {
        let now = Instant::now();
        let mut pipeline = Pipeline::new(now, 512);
        let asked: Vec<Block> = blocks().take(16).collect();
        asked.iter().for_each(|block| pipeline.push(now, *block));
        let room: Vec<usize> =
            asked.iter().map(|block| pipeline.remove(*block).map_or(0, |_| pipeline.room())).collect();
        assert_eq!(room[..5], [0, 0, 0, 4, 5], "a quarter has to be free");
        pipeline.depth = 2;
        pipeline.push(now, asked[0]);
        assert_eq!(pipeline.room(), 1, "there is always one on its way to a slow peer");
    }

    #[test]
    fn a_peer_that_answers_at_once_owes_us_less() {
        let mut now = Instant::now();
        assert_eq!(serve(&mut Pipeline::new(now, 512), &mut now, Duration::ZERO), NEAR_DEPTH);
        assert_eq!(serve(&mut Pipeline::new(now, 50), &mut now, Duration::ZERO), 50);
    }

    #[test]
    fn the_depth_of_a_steady_peer_is_some_seconds_of_its_rate() {
        let mut now = Instant::now();
        let mut pipeline = Pipeline::new(now, 512);
        // One block in 50 ms are 20 a second.
        let (mut blocks, mut wire) = (blocks(), VecDeque::new());
        for _ in 0..400 {
            fill(&mut pipeline, now, &mut blocks, &mut wire);
            now += Duration::from_millis(50);
            let block = wire.pop_front().unwrap();
            pipeline.count(now, block);
            pipeline.arrived(now, block);
        }
        assert!((50..=70).contains(&pipeline.depth()), "{}", pipeline.depth());
    }

    #[test]
    fn a_silent_peer_is_snubbed_and_what_it_sends_late_is_known() {
        let start = Instant::now();
        let mut pipeline = Pipeline::new(start, 512);
        let mut freed = Vec::new();
        let asked: Vec<Block> = blocks().take(3).collect();
        asked.iter().for_each(|block| pipeline.push(start, *block));
        pipeline.expire(start + Duration::from_secs(10), &mut freed);
        assert!(freed.is_empty() && !pipeline.is_snubbed());
        pipeline.expire(start + Duration::from_secs(11), &mut freed);
        assert_eq!(freed, asked);
        assert!(pipeline.is_snubbed());
        assert_eq!(pipeline.room(), 0);
        assert_eq!(pipeline.arrived(start + Duration::from_secs(20), asked[0]), Some(Claim::Lost));
        assert!(!pipeline.is_snubbed());
        assert_eq!(pipeline.arrived(start + Duration::from_secs(20), asked[0]), None);
        pipeline.expire(start + Duration::from_secs(200), &mut freed);
        assert_eq!(pipeline.len(), 0, "late requests are forgotten in the end");
    }

    #[test]
    fn a_slow_but_steady_peer_frees_what_it_cannot_deliver_soon_and_is_not_snubbed() {
        let start = Instant::now();
        let mut pipeline = Pipeline::new(start, 512);
        let asked: Vec<Block> = blocks().take(16).collect();
        asked.iter().for_each(|block| pipeline.push(start, *block));
        let mut freed = Vec::new();
        for (n, block) in (1..=7).zip(&asked) {
            let now = start + Duration::from_secs(5 * n);
            pipeline.expire(now, &mut freed);
            assert!(!pipeline.is_snubbed());
            pipeline.count(now, *block);
            pipeline.arrived(now, *block);
        }
        assert_eq!(freed.len(), 10, "those that are older than half a minute");
        assert_eq!(pipeline.room(), 0);
    }

    #[test]
    fn a_choke_frees_everything_once() {
        let now = Instant::now();
        let mut pipeline = Pipeline::new(now, 512);
        let asked: Vec<Block> = blocks().take(4).collect();
        asked.iter().for_each(|block| pipeline.push(now, *block));
        let mut freed = Vec::new();
        pipeline.make_late(&mut freed);
        pipeline.make_late(&mut freed);
        assert_eq!(freed, asked);
        pipeline.forget_late();
        pipeline.clear(&mut freed);
        assert_eq!((pipeline.len(), freed.len()), (0, 4));
    }
}
