//! Anonymous memory for pieces, used again and again: a fresh page costs more than the copy into it.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use memmap2::{MmapOptions, MmapRaw};

/// Bytes that are kept mapped while nobody uses them. Measured: enough for the pieces between two threads, small beside
/// a piece buffer.
const IDLE_LIMIT: usize = 8 * 1024 * 1024;

/// Buffers that wait to be used again; shared by all torrents and threads. The lock is held for a push or a pop.
#[derive(Clone, Default)]
pub(in crate::storage) struct BufferPool(Arc<Mutex<Vec<MmapRaw>>>);

/// Anonymous memory of at least the length asked for; goes back to its pool when dropped.
pub(super) struct Buffer {
    /// `None` only while it is being dropped.
    map: Option<MmapRaw>,
    pool: BufferPool,
}

impl BufferPool {
    /// Memory for `len` bytes, resident. What is in it is left over from earlier use: the caller overwrites it.
    pub(super) fn take(&self, len: usize) -> io::Result<Buffer> {
        match self.take_idle(len) {
            Some(buffer) => Ok(buffer),
            None => {
                let map = MmapOptions::new().len(len).populate().map_anon()?.into();
                Ok(Buffer { map: Some(map), pool: self.clone() })
            }
        }
    }

    /// The same, if there is such memory that nobody uses: takes no time then.
    pub(super) fn take_idle(&self, len: usize) -> Option<Buffer> {
        let mut idle = self.idle();
        // Up to twice the length: a short last piece may use a full buffer, a small torrent not a huge one.
        let at = idle.iter().position(|map| (len..=len.saturating_mul(2)).contains(&map.len()))?;
        Some(Buffer { map: Some(idle.swap_remove(at)), pool: self.clone() })
    }

    /// Gives back what nobody uses.
    pub(in crate::storage) fn shrink(&self) {
        let idle = std::mem::take(&mut *self.idle());
        drop(idle); // Unmapping is slow; not under the lock.
    }

    fn idle(&self) -> MutexGuard<'_, Vec<MmapRaw>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut idle = self.pool.idle();
        let kept: usize = idle.iter().map(MmapRaw::len).sum();
        if kept.saturating_add(map.len()) <= IDLE_LIMIT {
            idle.push(map);
        } else {
            drop(idle); // Unmapping is slow; not under the lock.
            drop(map);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_if_it_fits() {
        let pool = BufferPool::default();
        let first = pool.take(100_000).unwrap().as_ptr();
        assert_eq!(pool.take(80_000).unwrap().as_ptr(), first);
        assert_ne!(pool.take(1000).unwrap().as_ptr(), first);
        assert_eq!(pool.0.lock().unwrap().len(), 2);
    }

    #[test]
    fn only_idle_memory_is_at_hand_at_once_and_it_can_be_given_back() {
        let pool = BufferPool::default();
        assert!(pool.take_idle(1000).is_none());
        drop(pool.take(1000).unwrap());
        assert!(pool.take_idle(1000).is_some());
        pool.shrink();
        assert!(pool.take_idle(1000).is_none());
    }

    #[test]
    fn idle_memory_is_bounded() {
        let pool = BufferPool::default();
        let all: Vec<Buffer> = (0..6).map(|_| pool.take(IDLE_LIMIT / 4).unwrap()).collect();
        drop(all);
        assert_eq!(pool.0.lock().unwrap().len(), 4);
    }
}
