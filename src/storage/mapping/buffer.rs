//! Anonymous memory for pieces, used again and again: a fresh page costs more than the copy into it.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use memmap2::{MmapOptions, MmapRaw};

use super::window::page_size;

/// Bytes that are kept mapped while nobody uses them. Measured: enough for the pieces between two threads, small beside
/// a piece buffer.
const IDLE_LIMIT: usize = 8 * 1024 * 1024;

/// Buffers that wait to be used again; shared by all torrents and threads. The lock is held for a push or a pop.
#[derive(Clone)]
pub(in crate::storage) struct BufferPool(Arc<Mutex<Pool>>);

struct Pool {
    /// Those that have waited longest first.
    idle: VecDeque<MmapRaw>,
    /// Bytes in `idle`.
    idle_bytes: usize,
    /// Bytes in buffers that are out.
    in_use: usize,
    /// Nothing is kept that would make both together more than this.
    limit: usize,
    /// Somebody was told to trim and has not yet.
    trimming: bool,
}

/// Anonymous memory of at least the length asked for; goes back to its pool when dropped.
pub(super) struct Buffer {
    /// `None` only while it is being dropped.
    map: Option<MmapRaw>,
    pool: BufferPool,
}

impl Default for BufferPool {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Pool {
            idle: VecDeque::new(),
            idle_bytes: 0,
            in_use: 0,
            limit: usize::MAX,
            trimming: false,
        })))
    }
}

impl BufferPool {
    /// Memory for `len` bytes, resident. What is in it is left over from earlier use: the caller overwrites it.
    pub(super) fn take(&self, len: usize) -> io::Result<Buffer> {
        let (idle, surplus) = {
            let mut pool = self.lock();
            let idle = pool.take_idle(len);
            if idle.is_none() {
                pool.in_use += len;
            }
            (idle, pool.surplus())
        };
        drop(surplus); // Unmapping is slow; not under the lock.
        let map = match idle {
            Some(map) => map,
            None => {
                let map = MmapOptions::new().len(len).populate().map_anon();
                map.inspect_err(|_| self.lock().in_use -= len)?.into()
            }
        };
        Ok(Buffer { map: Some(map), pool: self.clone() })
    }

    /// The same, if there is such memory that nobody uses: takes no time then.
    pub(super) fn take_idle(&self, len: usize) -> Option<Buffer> {
        let map = self.lock().take_idle(len)?;
        Some(Buffer { map: Some(map), pool: self.clone() })
    }

    /// Buffers in use and idle ones together shall have at most so many bytes, if need be without any idle ones. Frees
    /// nothing: true says that [`BufferPool::trim`] has to. Also answers with the bytes that are idle now.
    pub(in crate::storage) fn limit(&self, bytes: u64) -> (u64, bool) {
        let mut pool = self.lock();
        pool.limit = usize::try_from(bytes).unwrap_or(usize::MAX);
        let trim = pool.idle_bytes > pool.room() && !pool.trimming;
        pool.trimming |= trim;
        (pool.idle_bytes as u64, trim)
    }

    /// Frees the idle buffers that there is no room for.
    pub(in crate::storage) fn trim(&self) {
        let surplus = {
            let mut pool = self.lock();
            pool.trimming = false;
            pool.surplus()
        };
        drop(surplus); // Unmapping is slow; not under the lock.
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    /// An idle buffer for `len` bytes that has not one page more: pieces are counted with their length.
    fn take_idle(&mut self, len: usize) -> Option<MmapRaw> {
        let fits = |map: &MmapRaw| map.len() >= len && map.len().div_ceil(page_size()) == len.div_ceil(page_size());
        // The one that was used last is most likely in the processor's cache.
        let at = self.idle.iter().rposition(fits)?;
        let map = self.idle.remove(at)?;
        self.idle_bytes -= map.len();
        self.in_use += map.len();
        Some(map)
    }

    /// Bytes that may be idle.
    fn room(&self) -> usize {
        self.limit.saturating_sub(self.in_use).min(IDLE_LIMIT)
    }

    /// Takes out idle buffers that there is no room for any more. Those of a length that is in use come back soonest, so it
    /// is the others that go.
    fn surplus(&mut self) -> Vec<MmapRaw> {
        let mut surplus = Vec::new();
        while self.idle_bytes > self.room() {
            let Some(map) = self.idle.pop_front() else { break };
            self.idle_bytes -= map.len();
            surplus.push(map);
        }
        surplus
    }
}

impl Buffer {
    /// First byte; the memory stays where it is for the life of the buffer.
    pub(super) fn as_ptr(&self) -> *mut u8 {
        self.map.as_ref().map_or(std::ptr::null_mut(), MmapRaw::as_mut_ptr)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(map) = self.map.take() else { return };
        let surplus = {
            let mut pool = self.pool.lock();
            pool.in_use -= map.len();
            pool.idle_bytes += map.len();
            pool.idle.push_back(map);
            pool.surplus()
        };
        drop(surplus); // Unmapping is slow; not under the lock.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_if_it_fits() {
        let pool = BufferPool::default();
        let first = pool.take(100_000).unwrap().as_ptr();
        assert_eq!(pool.take(99_000).unwrap().as_ptr(), first);
        assert_ne!(pool.take(1000).unwrap().as_ptr(), first);
        assert_eq!(pool.lock().idle.len(), 2);
    }

    #[test]
    fn a_buffer_takes_no_more_than_is_counted_for_its_piece() {
        let pool = BufferPool::default();
        drop(pool.take(200_000).unwrap());
        let _short = pool.take(120_000).unwrap();
        assert!(pool.lock().in_use <= 120_000 + page_size());
    }

    #[test]
    fn buffers_of_a_length_that_nobody_needs_any_more_go_first() {
        let pool = BufferPool::default();
        drop(pool.take(IDLE_LIMIT).unwrap());
        drop(pool.take(100_000).unwrap());
        assert!(pool.take_idle(IDLE_LIMIT).is_none() && pool.take_idle(100_000).is_some());
    }

    #[test]
    fn only_idle_memory_is_at_hand_at_once_and_it_can_be_given_back() {
        let pool = BufferPool::default();
        assert!(pool.take_idle(1000).is_none());
        drop(pool.take(1000).unwrap());
        assert!(pool.take_idle(1000).is_some());
        assert_eq!(pool.limit(0), (1000, true));
        pool.trim();
        assert!(pool.take_idle(1000).is_none());
    }

    #[test]
    fn idle_memory_is_bounded() {
        let pool = BufferPool::default();
        let all: Vec<Buffer> = (0..6).map(|_| pool.take(IDLE_LIMIT / 4).unwrap()).collect();
        drop(all);
        assert_eq!(pool.lock().idle.len(), 4);
    }

    #[test]
    fn idle_memory_gives_way_to_what_is_in_use() {
        let pool = BufferPool::default();
        let [first, second] = [0, 1].map(|_| pool.take(1000).unwrap());
        drop(first);
        assert_eq!(pool.limit(2000), (1000, false));
        drop(second);
        assert_eq!(pool.limit(2000), (2000, false));
        // A buffer of another size is needed: those that wait have to go for it.
        let large = pool.take(900_000).unwrap();
        assert_eq!(pool.limit(2000), (0, false));
        drop(large);
        assert_eq!(pool.lock().in_use, 0);
        drop(pool.take(1500).unwrap());
        assert_eq!(pool.limit(1499), (1500, true));
        pool.trim();
        assert_eq!(pool.limit(1499), (0, false));
    }
}
