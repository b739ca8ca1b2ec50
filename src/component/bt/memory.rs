//! The account of memory, as far as it is this thread's: windows and descriptions. Connections count their part
//! themselves.

use std::time::Duration;

use super::Bt;
use super::peers::Peer;
use super::torrent::Phase;
use crate::component::snapshot::{ClassUsage, MemoryUsage};
use crate::reactor::Net;
use crate::types::{MemoryClass, TorrentKey};

/// How long buffers of windows wait to be used again when no piece is being received, and windows over files (or twice
/// as long) when nobody asks for their pieces. What was used so lately, the kernel hardly takes out of memory, and a
/// page that it took this thread would wait for.
const IDLE_AFTER: Duration = Duration::from_secs(5);

/// Number of that deadline.
pub(super) const IDLE_TIMER: u64 = u64::MAX - 1;

impl Bt {
    /// Brings the account up to date with the windows, and lets those go on that wait for memory.
    pub(super) fn settle_memory(&mut self, net: &mut Net<Peer>) {
        self.count_windows(net);
        let used = self.buffer.used();
        let limit = if self.idle_unwanted { used } else { self.buffer.budget() };
        // A buffer may be idle already that counts as received until the disk thread's answer is read.
        let idle = self.disk.limit_buffers(limit).min(limit.saturating_sub(used));
        net.memory().set(MemoryClass::Idle, idle);
        let unused = self.buffer.mapped() > 0 || (idle > 0 && !self.idle_unwanted);
        if unused && !self.idle_armed {
            self.idle_armed = true;
            net.arm(IDLE_TIMER, net.now() + IDLE_AFTER);
        }
        self.populate_waiting(net);
        if !self.room.is_enough() {
            self.open_waiting_windows(net);
        }
        if std::mem::take(&mut self.metadata_freed) {
            for key in std::mem::take(&mut self.waiting_metadata) {
                self.drain(net, key);
            }
        }
    }

    /// Counts the windows, and lets the piece buffer know how much it may have.
    pub(super) fn count_windows(&mut self, net: &mut Net<Peer>) {
        let memory = net.memory();
        memory.set(MemoryClass::Receiving, self.buffer.receiving());
        memory.set(MemoryClass::Serving, self.buffer.serving());
        self.buffer.set_budget(memory.windows_limit().min(self.options.piece_buffer));
    }

    /// A window is asked for: buffers are wanted again.
    pub(super) fn window_made(&mut self) {
        self.window_made = true;
        self.idle_unwanted = false;
    }

    /// If no window was made for a while nobody needs buffers soon; and windows over files that nobody needed go.
    pub(super) fn free_idle(&mut self) {
        self.idle_armed = false;
        self.idle_unwanted = !std::mem::take(&mut self.window_made);
        let unused = self.buffer.take_unused();
        self.release(unused);
    }

    /// Sees to it that the description that is on its way is counted, or waits until there is memory for it. True if the
    /// fetch may go on because of that.
    pub(super) fn settle_metadata(&mut self, net: &mut Net<Peer>, key: TorrentKey) -> bool {
        let now = net.now();
        let Some(torrent) = self.torrents.get_mut(&key) else { return false };
        let Phase::Metadata(fetch) = &mut torrent.phase else { return false };
        let (held, wanted) = (torrent.metadata_bytes, fetch.bytes());
        if wanted == held {
            return false;
        }
        let memory = net.memory();
        memory.resize(MemoryClass::Metadata, held as usize, 0);
        let granted = if memory.has_room_for_metadata(wanted.into()) { wanted } else { 0 };
        memory.resize(MemoryClass::Metadata, 0, granted as usize);
        self.metadata_freed |= granted < held;
        torrent.metadata_bytes = granted;
        fetch.set_room(now, granted);
        if granted < wanted && !self.waiting_metadata.contains(&key) {
            debug!("{}: its description waits for {wanted} bytes of memory", torrent.name);
            self.waiting_metadata.push(key);
        }
        granted > 0
    }

    /// The description has come, or is not wanted any more.
    pub(super) fn release_metadata(&mut self, net: &mut Net<Peer>, key: TorrentKey) {
        self.waiting_metadata.retain(|waiting| *waiting != key);
        let Some(torrent) = self.torrents.get_mut(&key) else { return };
        let held = std::mem::take(&mut torrent.metadata_bytes);
        net.memory().resize(MemoryClass::Metadata, held as usize, 0);
        self.metadata_freed |= held > 0;
    }

    /// What the account says.
    pub(super) fn memory_usage(&mut self, net: &mut Net<Peer>) -> MemoryUsage {
        self.settle_memory(net);
        let turns = net.turns();
        let memory = net.memory();
        let piece_buffer = self.options.piece_buffer;
        let classes = MemoryClass::ALL.map(|class| {
            let limit = match class {
                MemoryClass::Receiving | MemoryClass::Serving | MemoryClass::Idle => piece_buffer,
                _ => u64::MAX,
            };
            ClassUsage { class, usage: memory.class(class), limit: memory.limit_of(class).min(limit) }
        });
        MemoryUsage {
            limit: memory.limit(),
            total: memory.total(),
            classes: classes.into(),
            file_windows: self.buffer.mapped(),
            turns,
        }
    }
}
