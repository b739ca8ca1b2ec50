//! One peer connection: socket, session, the rest of a partial message and the out-queue.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Instant;

use mio::net::TcpStream;

use super::out_queue::OutQueue;
use crate::proto::peer::{Session, WireError};
use crate::storage::ReadWindow;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseCause {
    /// It was never made: refused, unreachable, or no answer in time.
    #[error("could not connect: {0}")]
    Connect(io::Error),
    /// The peer closed it.
    #[error("closed by the peer")]
    Eof,
    /// Reading or writing failed.
    #[error("connection failed: {0}")]
    Io(io::Error),
    /// The peer broke the protocol or fell silent.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The kernel could not read a block that was to be sent. These windows were: [`ReadWindow::probe`] tells which of
    /// them lost its file.
    #[error("the data to be sent was lost")]
    Lost(Vec<ReadWindow>),
    /// It held more memory than any other connection while others waited for some.
    #[error("it holds memory that others wait for")]
    Memory,
}

/// Message bytes waiting for a peer beyond which nothing more is read from it: it asks faster than it listens.
const MAX_QUEUED_MESSAGES: usize = 256 * 1024;

/// ... while memory is scarce: one more answer, the longest there is, and the queue still takes no more than what is
/// asked for before a read.
const FEW_QUEUED_MESSAGES: usize = 48 * 1024;

/// How far the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Connecting since the handler asked; fails at this time.
    Connecting {
        until: Instant,
    },
    Open,
}

/// Input that could not be handed out yet: the beginning of a message whose rest has not come, or messages that wait for
/// the next turn.
#[derive(Default)]
pub(super) struct Partial {
    pub(super) bytes: Vec<u8>,
    /// So many of them have been handed out.
    pub(super) parsed: usize,
}

/// What the account of memory has of a connection, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    pub(super) incoming: usize,
    pub(super) outgoing: usize,
}

pub(super) struct Conn<T> {
    pub(super) stream: TcpStream,
    /// Later connections have larger ones.
    pub(super) serial: u64,
    pub(super) addr: SocketAddr,
    pub(super) incoming: bool,
    pub(super) phase: Phase,
    pub(super) session: Session,
    pub(super) partial: Partial,
    pub(super) out: OutQueue,
    /// False after the kernel took no more, until it says that there is room.
    pub(super) writable: bool,
    /// An event tells when it becomes writable: while it connects, and from the first time on that the kernel took no more.
    pub(super) watched: bool,
    /// Waits in the list of connections to be written to.
    pub(super) dirty: bool,
    /// Waits in the list of connections that may have more to read.
    pub(super) ready: bool,
    /// Input waits, here or in the kernel, until [`Conn::takes_input`].
    pub(super) held: bool,
    /// Input waits for memory: see [`super::starved`].
    pub(super) starved: bool,
    pub(super) counted: Counted,
    /// Payload that is on its way from the peer, as far as the handler knows.
    pub(super) expected: usize,
    /// The peer has closed its side, or an error waits: read on to the end.
    pub(super) ending: bool,
    /// The earliest deadline that stands in the heap.
    pub(super) armed: Option<Instant>,
    pub(super) data: T,
}

impl<T> Conn<T> {
    /// When something has to be done although nothing happens.
    pub(super) fn deadline(&self) -> Instant {
        match self.phase {
            Phase::Connecting { until } => until,
            Phase::Open => self.session.poll_timeout(),
        }
    }

    /// False while the peer has to wait: it does not take what it asked for, or its handshake is not answered yet.
    pub(super) fn takes_input(&self, tight: bool) -> bool {
        let most = if tight { FEW_QUEUED_MESSAGES } else { MAX_QUEUED_MESSAGES };
        self.out.message_bytes() <= most && !self.session.awaits_accept()
    }

    /// Writes once, as much as the kernel takes. Returns the payload bytes that left; windows that nobody else holds any
    /// more go to `spent`.
    pub(super) fn flush(&mut self, spent: &mut Vec<ReadWindow>) -> Result<usize, CloseCause> {
        if !self.wants_write() {
            return Ok(0);
        }
        let stream = &mut self.stream;
        match self.out.write_with(spent, |slices| stream.write_vectored(slices)) {
            Ok(sent) => Ok(sent),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.writable = false;
                Ok(0)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            Err(error) if error.raw_os_error() == Some(libc::EFAULT) => Err(CloseCause::Lost(self.out.windows())),
            Err(error) => Err(CloseCause::Io(error)),
        }
    }

    /// Something waits that the kernel may take now.
    pub(super) fn wants_write(&self) -> bool {
        self.writable && self.phase == Phase::Open && !self.out.is_empty()
    }

    /// Whether a connect that became writable has succeeded. `None`: not yet known.
    pub(super) fn finish_connect(&mut self) -> Result<bool, CloseCause> {
        if let Some(error) = self.stream.take_error().map_err(CloseCause::Connect)? {
            return Err(CloseCause::Connect(error));
        }
        match self.stream.peer_addr() {
            Ok(_) => {
                self.phase = Phase::Open;
                self.writable = true;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(CloseCause::Connect(error)),
        }
    }
}
