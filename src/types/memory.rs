//! The account of the memory that buffers take: bytes by class against one limit, with high-water marks.
//!
//! Plain numbers, kept by one thread. Nobody asks for permission twice: whoever wants to grow a buffer looks at the room
//! of its group first, and says afterwards how large the buffer is. Three groups share the limit so that none can bring
//! the others to a stand: windows wait for messages, and reading waits for windows, so each must always have something
//! that the other cannot take. *Messages* (what of a message has come, what waits to be sent) always have a reserve.
//! *Windows* and *metadata* always have room for one, however large; those wait that come on top. *Peers* take what they
//! need for as long as they stay, so only so many are let in; the others get by with what is left.

/// What memory is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryClass {
    /// Windows of pieces that are being received or verified.
    Receiving,
    /// Windows of finished pieces in buffers, for peers that ask for them; and those on their way into memory.
    Serving,
    /// Buffers of windows that wait to be used again.
    Idle,
    /// Messages of which a part has come, and what all connections read into.
    Incoming,
    /// Messages that wait to be sent. The blocks in them lie in windows.
    Outgoing,
    /// Descriptions of torrents on their way (BEP 9).
    Metadata,
    /// What is kept for each peer: which pieces it has, and the requests that wait for their turn.
    Peers,
}

impl MemoryClass {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 7] =
        [Self::Receiving, Self::Serving, Self::Idle, Self::Incoming, Self::Outgoing, Self::Metadata, Self::Peers];

    /// The word that is shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Receiving => "receiving",
            Self::Serving => "serving",
            Self::Idle => "idle",
            Self::Incoming => "incoming",
            Self::Outgoing => "outgoing",
            Self::Metadata => "metadata",
            Self::Peers => "peers",
        }
    }
}

/// Bytes in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Now.
    pub now: u64,
    /// The most there ever were.
    pub highest: u64,
}

impl Usage {
    fn set(&mut self, bytes: u64) {
        self.now = bytes;
        self.highest = self.highest.max(bytes);
    }
}

/// The smallest limit that works: the reserve for messages, what all connections read into, and a few windows.
pub const MIN_MEMORY_LIMIT: u64 = 4 << 20;

/// Share of the limit that is kept for messages, whatever windows take: one in so many.
const MESSAGE_SHARE: u64 = 8;
/// ... but at least so much: what all connections read into, and some whole messages.
const MIN_RESERVE: u64 = 1 << 20;
/// Share of the limit that metadata may take, but for the first one.
const METADATA_SHARE: u64 = 4;
/// Share of the limit beyond which no peer is let in: one in so many.
const PEERS_SHARE: u64 = 8;

/// Bytes by class, and the limit for all of them.
#[derive(Clone, Debug)]
pub struct Memory {
    limit: u64,
    reserve: u64,
    classes: [Usage; MemoryClass::ALL.len()],
    total: Usage,
}

impl Memory {
    /// An empty account. A limit below [`MIN_MEMORY_LIMIT`] counts as that.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        let limit = limit.max(MIN_MEMORY_LIMIT);
        let reserve = (limit / MESSAGE_SHARE).max(MIN_RESERVE);
        Self { limit, reserve, classes: <[Usage; MemoryClass::ALL.len()]>::default(), total: Usage::default() }
    }

    /// The limit in bytes.
    #[must_use]
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes of one class.
    #[must_use]
    pub fn class(&self, class: MemoryClass) -> Usage {
        self.classes.get(class as usize).copied().unwrap_or_default()
    }

    /// Bytes of all classes. The highest is that of the sum, not the sum of the highest.
    #[must_use]
    pub const fn total(&self) -> Usage {
        self.total
    }

    /// A class has so many bytes now.
    pub fn set(&mut self, class: MemoryClass, bytes: u64) {
        let Some(usage) = self.classes.get_mut(class as usize) else { return };
        let others = self.total.now.saturating_sub(usage.now);
        usage.set(bytes);
        self.total.set(others.saturating_add(bytes));
    }

    /// A buffer of this class had `before` bytes and has `after` now.
    pub fn resize(&mut self, class: MemoryClass, before: usize, after: usize) {
        if before != after {
            let others = self.class(class).now.saturating_sub(before as u64);
            self.set(class, others.saturating_add(after as u64));
        }
    }

    /// Bytes by which messages may grow.
    #[must_use]
    pub fn room_for_messages(&self) -> u64 {
        let messages = self.messages();
        let others = self.total.now.saturating_sub(messages);
        self.limit.saturating_sub(others).max(self.reserve).saturating_sub(messages)
    }

    /// Bytes that windows may have in all, idle buffers included. Who has none may have one in any case.
    #[must_use]
    pub fn windows_limit(&self) -> u64 {
        let others = self.class(MemoryClass::Metadata).now.saturating_add(self.class(MemoryClass::Peers).now);
        self.limit.saturating_sub(self.messages().max(self.reserve)).saturating_sub(others)
    }

    /// May a peer be let in for which so many bytes are kept? The first one always.
    #[must_use]
    pub fn has_room_for_peer(&self, bytes: u64) -> bool {
        let peers = self.class(MemoryClass::Peers).now;
        peers == 0 || peers.saturating_add(bytes) <= self.limit / PEERS_SHARE
    }

    /// May a description of so many bytes be fetched? The first one may always, however large.
    #[must_use]
    pub fn has_room_for_metadata(&self, bytes: u64) -> bool {
        let metadata = self.class(MemoryClass::Metadata).now;
        let wanted = metadata.saturating_add(bytes);
        let windows = self.total.now.saturating_sub(self.messages()).saturating_sub(metadata);
        let left = self.limit.saturating_sub(self.messages().max(self.reserve)).saturating_sub(windows);
        metadata == 0 || wanted <= left.min(self.limit / METADATA_SHARE)
    }

    /// The most that a class may have at the moment, as far as it shares with others of its group.
    #[must_use]
    pub fn limit_of(&self, class: MemoryClass) -> u64 {
        match class {
            MemoryClass::Receiving | MemoryClass::Serving | MemoryClass::Idle => self.windows_limit(),
            MemoryClass::Incoming | MemoryClass::Outgoing => self.room_for_messages() + self.messages(),
            MemoryClass::Metadata => self.limit / METADATA_SHARE,
            MemoryClass::Peers => self.limit / PEERS_SHARE,
        }
    }

    fn messages(&self) -> u64 {
        self.class(MemoryClass::Incoming).now + self.class(MemoryClass::Outgoing).now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_highest_is_that_of_the_sum() {
        let mut memory = Memory::new(16 * MIB);
        memory.set(MemoryClass::Receiving, 100);
        memory.set(MemoryClass::Receiving, 0);
        memory.set(MemoryClass::Metadata, 70);
        memory.resize(MemoryClass::Outgoing, 0, 20);
        memory.resize(MemoryClass::Outgoing, 20, 5);
        assert_eq!(memory.total(), Usage { now: 75, highest: 100 });
        assert_eq!(memory.class(MemoryClass::Receiving), Usage { now: 0, highest: 100 });
        assert_eq!(memory.class(MemoryClass::Outgoing), Usage { now: 5, highest: 20 });
        for class in MemoryClass::ALL {
            memory.set(class, 0);
        }
        assert_eq!(memory.total(), Usage { now: 0, highest: 100 });
    }

    #[test]
    fn messages_keep_a_reserve_that_windows_cannot_take() {
        let mut memory = Memory::new(16 * MIB);
        assert_eq!(memory.room_for_messages(), 16 * MIB);
        assert_eq!(memory.windows_limit(), 14 * MIB);
        memory.set(MemoryClass::Receiving, 14 * MIB);
        assert_eq!(memory.room_for_messages(), 2 * MIB);
        // One piece larger than everything: who sends it is read all the same.
        memory.set(MemoryClass::Receiving, 64 * MIB);
        assert_eq!(memory.room_for_messages(), 2 * MIB);
        memory.set(MemoryClass::Incoming, 2 * MIB);
        assert_eq!(memory.room_for_messages(), 0);
    }

    #[test]
    fn what_messages_have_beyond_their_reserve_windows_do_not_get() {
        let mut memory = Memory::new(16 * MIB);
        memory.set(MemoryClass::Incoming, 5 * MIB);
        memory.set(MemoryClass::Outgoing, MIB);
        assert_eq!(memory.windows_limit(), 10 * MIB);
        memory.set(MemoryClass::Metadata, 3 * MIB);
        assert_eq!(memory.windows_limit(), 7 * MIB);
        memory.set(MemoryClass::Receiving, 7 * MIB);
        assert_eq!(memory.room_for_messages(), 0);
    }

    #[test]
    fn the_first_description_is_always_fetched_and_others_share_a_quarter() {
        let mut memory = Memory::new(16 * MIB);
        memory.set(MemoryClass::Receiving, 14 * MIB);
        assert!(memory.has_room_for_metadata(15 * MIB), "nothing would ever make room for it");
        memory.set(MemoryClass::Metadata, MIB);
        assert!(!memory.has_room_for_metadata(1));
        memory.set(MemoryClass::Receiving, 0);
        assert!(memory.has_room_for_metadata(3 * MIB));
        assert!(!memory.has_room_for_metadata(3 * MIB + 1));
    }

    #[test]
    fn peers_are_let_in_up_to_their_share_and_leave_less_to_others() {
        let mut memory = Memory::new(16 * MIB);
        assert!(memory.has_room_for_peer(3 * MIB), "the first one");
        memory.set(MemoryClass::Peers, MIB);
        assert!(memory.has_room_for_peer(MIB) && !memory.has_room_for_peer(MIB + 1));
        assert_eq!((memory.windows_limit(), memory.room_for_messages()), (13 * MIB, 15 * MIB));
    }

    #[test]
    fn a_limit_that_is_too_small_counts_as_the_smallest() {
        assert_eq!(Memory::new(1).limit(), MIN_MEMORY_LIMIT);
        assert_eq!(Memory::new(0).windows_limit(), 3 * MIB);
    }
}
