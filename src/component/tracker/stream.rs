//! TCP connections of the HTTP client that can be given up at any time.
//!
//! The client's own ones block until their time-out, so stopping would have to wait for a tracker that hangs. These wait
//! in slices and look at the announce's deadline in between.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Error, Timeout};

use super::AnnounceError;
use super::deadline::{Deadline, SLICE};
use crate::bus::{Clock, SystemClock};

/// Opens the connections of one announce.
#[derive(Debug)]
pub(super) struct TcpConnect(pub(super) Deadline);

impl<In: Transport> Connector<In> for TcpConnect {
    type Out = Either<In, TcpLink>;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        if let Some(through_proxy) = chained {
            return Ok(Some(Either::A(through_proxy)));
        }
        let until = Until::new(&self.0, details.timeout);
        let mut failure = io::Error::from(ErrorKind::AddrNotAvailable);
        for (index, addr) in details.addrs.iter().enumerate() {
            // Half of what is left for each but the last: an address that swallows packets must not take it all.
            let left = until.left()?;
            let share = if index + 1 < details.addrs.len() { left / 2 } else { left };
            match open(*addr, &until, SystemClock.now() + share)? {
                Ok(stream) => {
                    let buffers =
                        LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
                    return Ok(Some(Either::B(TcpLink { stream, buffers, deadline: self.0.clone() })));
                }
                Err(error) => failure = error,
            }
        }
        Err(failure.into())
    }
}

/// Connects to one address. The outer error ends the announce, the inner one concerns this address.
fn open(addr: SocketAddr, until: &Until<'_>, at: Instant) -> Result<io::Result<TcpStream>, Error> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(4);
    let mut stream = match mio::net::TcpStream::connect(addr) {
        Ok(stream) => stream,
        Err(error) => return Ok(Err(error)),
    };
    poll.registry().register(&mut stream, Token(0), Interest::WRITABLE)?;
    loop {
        let left = until.left()?.min(at.saturating_duration_since(SystemClock.now()));
        if left.is_zero() {
            return Ok(Err(ErrorKind::TimedOut.into()));
        }
        match poll.poll(&mut events, Some(left.min(SLICE))) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            result => result?,
        }
        if let Some(error) = stream.take_error()? {
            return Ok(Err(error));
        }
        // A wake-up alone means nothing (see mio); having a peer does.
        if stream.peer_addr().is_ok() {
            break;
        }
    }
    let stream = TcpStream::from(stream);
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    Ok(Ok(stream))
}

/// One connection.
#[derive(Debug)]
pub(super) struct TcpLink {
    stream: TcpStream,
    buffers: LazyBuffers,
    deadline: Deadline,
}

impl Transport for TcpLink {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let until = Until::new(&self.deadline, timeout.for_write());
        let output = self.buffers.output();
        let mut rest: &[u8] = output.get(..amount).unwrap_or_default();
        while !rest.is_empty() {
            self.stream.set_write_timeout(Some(until.left()?.min(SLICE)))?;
            match self.stream.write(rest) {
                Ok(0) => return Err(io::Error::from(ErrorKind::WriteZero).into()),
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if is_pause(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let until = Until::new(&self.deadline, timeout.for_read());
        loop {
            self.stream.set_read_timeout(Some(until.left()?.min(SLICE)))?;
            match self.stream.read(self.buffers.input_append_buf()) {
                Ok(amount) => {
                    self.buffers.input_appended(amount);
                    return Ok(amount > 0);
                }
                Err(error) if is_pause(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn is_open(&mut self) -> bool {
        false // no connection is used twice
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// The nearer one of two limits: the announce's, and the client's for what it is doing.
struct Until<'a> {
    deadline: &'a Deadline,
    step: Option<Instant>,
    reason: Timeout,
}

impl<'a> Until<'a> {
    fn new(deadline: &'a Deadline, timeout: NextTimeout) -> Self {
        let step = if timeout.after.is_not_happening() { None } else { SystemClock.now().checked_add(*timeout.after) };
        Self { deadline, step, reason: timeout.reason }
    }

    fn left(&self) -> Result<Duration, Error> {
        let own = self.deadline.left().map_err(carried)?;
        let step = self.step.map_or(own, |step| step.saturating_duration_since(SystemClock.now()));
        if step.is_zero() { Err(Error::Timeout(self.reason)) } else { Ok(own.min(step)) }
    }
}

/// An error of ours, on its way through the client.
pub(super) fn carried(error: AnnounceError) -> Error {
    Error::Other(Box::new(error))
}
