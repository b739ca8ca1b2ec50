//! What waits to be sent to one peer: message bytes, and block payloads that stay in the piece's window until the
//! kernel copies them. Many of both leave in one vectored write.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::ops::Range;

use crate::storage::ReadWindow;

/// Slices in one vectored write. Linux takes 1,024; with header and payload alternating, 64 carry half a MiB of blocks:
/// longer, and what comes meanwhile waits for too long.
const MAX_SLICES: usize = 64;

/// Sent bytes at the front of the buffer beyond which they are dropped although others follow.
const COMPACT_AT: usize = 16 * 1024;

#[derive(Default)]
pub(super) struct OutQueue {
    /// Message bytes in order, without payloads.
    bytes: Vec<u8>,
    /// Bytes at the front of `bytes` that were sent.
    sent: usize,
    segments: VecDeque<Segment>,
    payload: usize,
}

enum Segment {
    /// So many of the next `bytes`.
    Bytes(usize),
    /// A block's payload, or what is left of it.
    Payload { window: ReadWindow, range: Range<u32> },
}

impl OutQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Payload bytes that wait.
    pub(super) fn payload(&self) -> usize {
        self.payload
    }

    /// Message bytes that wait.
    pub(super) fn message_bytes(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Bytes of memory it takes, without what payloads lie in.
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity() + self.segments.capacity() * size_of::<Segment>()
    }

    /// Appends whatever `write` appends to the buffer.
    pub(super) fn append<R>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let before = self.bytes.len();
        let result = write(&mut self.bytes);
        let added = self.bytes.len().saturating_sub(before);
        match self.segments.back_mut() {
            Some(Segment::Bytes(n)) => *n += added,
            _ if added > 0 => self.segments.push_back(Segment::Bytes(added)),
            _ => {}
        }
        result
    }

    pub(super) fn append_payload(&mut self, window: ReadWindow, range: Range<u32>) {
        self.payload += range.len();
        self.segments.push_back(Segment::Payload { window, range });
    }

    /// Hands as many slices as fit to one call of `write` and forgets what it says was sent. Returns the payload bytes
    /// among them. Windows that are sent and that nobody else holds go to `spent`: to unmap them may take time.
    pub(super) fn write_with(
        &mut self,
        spent: &mut Vec<ReadWindow>,
        write: impl FnOnce(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(MAX_SLICES.min(self.segments.len() * 2));
        let mut at = self.sent;
        for segment in &self.segments {
            if slices.len() >= MAX_SLICES {
                break;
            }
            match segment {
                Segment::Bytes(len) => {
                    let end = at + len;
                    slices.push(IoSlice::new(self.bytes.get(at..end).unwrap_or_default()));
                    at = end;
                }
                Segment::Payload { window, range } => {
                    // Known to be lost already, or no part of the window: the kernel would say the same.
                    let added = window.io_slices(range.clone(), &mut slices);
                    added.map_err(|_| io::Error::from_raw_os_error(libc::EFAULT))?;
                }
            }
        }
        // A payload over many files may have overshot what one call takes.
        slices.truncate(1024);
        let written = write(&slices)?;
        Ok(self.advance(written, spent))
    }

    /// Drops `written` bytes from the front. Returns how many of them were payload.
    fn advance(&mut self, mut written: usize, spent: &mut Vec<ReadWindow>) -> usize {
        let mut payload = 0;
        while written > 0 {
            let Some(front) = self.segments.front_mut() else { break };
            let step = match front {
                Segment::Bytes(len) => {
                    let step = written.min(*len);
                    *len -= step;
                    self.sent += step;
                    step
                }
                Segment::Payload { range, .. } => {
                    let step = written.min(range.len());
                    // At most the length of the range, which is a u32.
                    range.start += u32::try_from(step).unwrap_or(u32::MAX);
                    payload += step;
                    step
                }
            };
            written -= step;
            let done = match front {
                Segment::Bytes(len) => *len == 0,
                Segment::Payload { range, .. } => range.start >= range.end,
            };
            if done
                && let Some(Segment::Payload { window, .. }) = self.segments.pop_front()
                && window.is_last()
            {
                spent.push(window);
            }
        }
        self.payload -= payload;
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
        } else if self.sent > COMPACT_AT {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        payload
    }

    /// The windows that payloads wait in, each once.
    pub(super) fn windows(&self) -> Vec<ReadWindow> {
        let mut windows: Vec<ReadWindow> = Vec::new();
        for segment in &self.segments {
            if let Segment::Payload { window, .. } = segment
                && !windows.iter().any(|known| known.is_same(window))
            {
                windows.push(window.clone());
            }
        }
        windows
    }

    /// Gives memory back that an idle connection does not need.
    pub(super) fn shrink(&mut self) {
        if self.is_empty() {
            self.bytes = Vec::new();
            self.segments = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::test_window;

    #[test]
    fn partial_writes_continue_where_they_stopped() {
        let mut queue = OutQueue::default();
        queue.append(|out| out.extend_from_slice(b"hello "));
        queue.append(|out| out.extend_from_slice(b"world"));
        let mut sent = Vec::new();
        while !queue.is_empty() {
            let payload = queue
                .write_with(&mut Vec::new(), |slices| {
                    let take = slices[0].len().min(4);
                    sent.extend_from_slice(&slices[0][..take]);
                    Ok(take)
                })
                .unwrap();
            assert_eq!(payload, 0);
        }
        assert_eq!(sent, b"hello world");
        assert_eq!(queue.message_bytes(), 0);
    }

    #[test]
    fn a_window_is_handed_out_when_its_last_block_left_and_nobody_else_holds_it() {
        let (mut queue, mut spent) = (OutQueue::default(), Vec::new());
        let (kept, gone) = (test_window(20), test_window(30));
        queue.append_payload(kept.clone(), 0..20);
        queue.append_payload(gone.clone(), 0..15);
        queue.append_payload(gone, 15..30);
        assert_eq!(queue.write_with(&mut spent, |_| Ok(49)).unwrap(), 49);
        assert!(spent.is_empty());
        assert_eq!(queue.write_with(&mut spent, |_| Ok(1)).unwrap(), 1);
        assert_eq!(spent.iter().map(ReadWindow::len).collect::<Vec<_>>(), [30]);
        assert!(queue.is_empty() && kept.is_last());
    }

    #[test]
    fn nothing_is_lost_when_the_write_fails() {
        let mut queue = OutQueue::default();
        queue.append(|out| out.extend_from_slice(b"abc"));
        assert!(queue.write_with(&mut Vec::new(), |_| Err(io::ErrorKind::WouldBlock.into())).is_err());
        assert_eq!(queue.message_bytes(), 3);
    }
}
