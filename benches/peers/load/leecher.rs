//! Many connections that ask for random whole pieces and throw the data away, on one thread.
//!
//! Each keeps the same number of requests outstanding. The first bytes of every block are compared with what they should
//! be, so that a client cannot be fast by being wrong.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::socket_from;
use super::wire::{self, BLOCK, Decoder, HANDSHAKE_LEN, Message};
use crate::content::Content;
use crate::lab::Lab;
use crate::trouble::Trouble;

/// Requests under way on each connection.
pub const OUTSTANDING: usize = 64;

/// Bytes read at once, into a buffer that all connections share.
const SCRATCH: usize = 256 * 1024;

/// Reads of one connection until the others have their turn.
const TURNS: usize = 4;

/// Some connections, all to one client.
pub struct Leechers {
    poll: Poll,
    connections: Vec<Connection>,
    /// Those that may have more to read than their turn allowed.
    ready: Vec<usize>,
    scratch: Vec<u8>,
    content: Content,
}

struct Connection {
    stream: TcpStream,
    started: Instant,
    first_byte: Option<Duration>,
    /// What is missing of the other side's handshake.
    greeting: Vec<u8>,
    decoder: Decoder,
    tally: Tally,
    random: fastrand::Rng,
    next: (u32, u32),
    out: Vec<u8>,
    open: bool,
}

#[derive(Default)]
struct Tally {
    bytes: u64,
    blocks: usize,
    requested: usize,
    unchoked: bool,
    wrong: Option<Trouble>,
}

impl Leechers {
    /// Begins to connect, each from an address of its own.
    pub fn connect(client: SocketAddr, content: &Content, count: usize) -> Result<Self, Trouble> {
        let poll = Poll::new()?;
        let mut connections = Vec::with_capacity(count);
        for nth in 0..count {
            let started = Instant::now();
            let socket = socket_from(nth)?;
            socket.set_nonblocking(true)?;
            socket.set_tcp_nodelay(true)?;
            match socket.connect(&client.into()) {
                Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error.into()),
                _ => {}
            }
            let mut stream = TcpStream::from_std(socket.into());
            poll.registry().register(&mut stream, Token(nth), Interest::READABLE | Interest::WRITABLE)?;
            connections.push(Connection {
                stream,
                started,
                first_byte: None,
                greeting: Vec::with_capacity(HANDSHAKE_LEN),
                decoder: Decoder::default(),
                tally: Tally::default(),
                random: fastrand::Rng::with_seed(nth as u64),
                next: (0, content.piece_len),
                out: wire::handshake(&content.info_hash, false).to_vec(),
                open: true,
            });
        }
        let scratch = vec![0; SCRATCH];
        Ok(Self { poll, connections, ready: Vec::new(), scratch, content: content.clone() })
    }

    /// Keeps going until `done` says so or the time is over.
    pub fn run(&mut self, lab: &Lab, time: Duration, done: impl Fn(&Self) -> bool) -> Result<(), Trouble> {
        let mut events = Events::with_capacity(1024);
        let start = Instant::now();
        while let Some(left) = time.checked_sub(start.elapsed()) {
            if done(self) {
                break;
            }
            lab.check()?;
            let patience = if self.ready.is_empty() { left.min(Duration::from_millis(100)) } else { Duration::ZERO };
            match self.poll.poll(&mut events, Some(patience)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
                _ => {}
            }
            let mut turn = std::mem::take(&mut self.ready);
            turn.extend(events.iter().map(|event| event.token().0));
            turn.sort_unstable();
            turn.dedup();
            for nth in turn {
                self.turn(nth)?;
            }
        }
        if self.open() == 0 { Err(Trouble::failed("the client closed every connection")) } else { Ok(()) }
    }

    /// Bytes of blocks that came.
    pub fn bytes(&self) -> u64 {
        self.connections.iter().map(|connection| connection.tally.bytes).sum()
    }

    /// How many connections got anything.
    pub fn served(&self) -> usize {
        self.connections.iter().filter(|connection| connection.first_byte.is_some()).count()
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.connections.iter().filter(|connection| connection.open).count()
    }

    /// Seconds from connecting until the first byte of a block, of those that got one, shortest first.
    pub fn first_bytes(&self) -> Vec<f64> {
        let times = self.connections.iter().filter_map(|connection| connection.first_byte);
        let mut times: Vec<f64> = times.map(|time| time.as_secs_f64()).collect();
        times.sort_by(f64::total_cmp);
        times
    }

    /// What the connection that got least has got, as a part of what they got on average.
    pub fn slowest_share(&self) -> f64 {
        let least = self.connections.iter().map(|connection| connection.tally.bytes).min().unwrap_or(0);
        least as f64 * self.connections.len() as f64 / self.bytes() as f64
    }

    fn turn(&mut self, nth: usize) -> Result<(), Trouble> {
        let Some(connection) = self.connections.get_mut(nth).filter(|connection| connection.open) else {
            return Ok(());
        };
        match connection.turn(&mut self.scratch, &self.content) {
            Ok(true) => self.ready.push(nth),
            Ok(false) => {}
            Err(Trouble::Failed(_)) if connection.tally.wrong.is_none() => connection.open = false,
            Err(error) => return Err(connection.tally.wrong.take().unwrap_or(error)),
        }
        Ok(())
    }
}

impl Connection {
    /// Reads, answers and writes. Whether there may be more to read.
    fn turn(&mut self, scratch: &mut [u8], content: &Content) -> Result<bool, Trouble> {
        let mut more = true;
        for _ in 0..TURNS {
            let got = match self.stream.read(scratch) {
                Ok(0) => return Err(Trouble::failed("closed")),
                Ok(got) => got,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => 0,
                Err(error) => return Err(error.into()),
            };
            self.take(&scratch[..got], content)?;
            // After every read: who asks again only when all has come makes the other side wait for it.
            self.request(content);
            self.flush()?;
            if got < scratch.len() {
                more = false;
                break;
            }
        }
        Ok(more)
    }

    fn take(&mut self, mut bytes: &[u8], content: &Content) -> Result<(), Trouble> {
        if self.greeting.len() < HANDSHAKE_LEN {
            let taken = (HANDSHAKE_LEN - self.greeting.len()).min(bytes.len());
            self.greeting.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if self.greeting.len() < HANDSHAKE_LEN {
                return Ok(());
            }
            wire::speaks_fast(&self.greeting, &content.info_hash)?;
            // Not together with the handshake: aria2 1.36 closes a connection on which more than that comes at once.
            self.out.extend_from_slice(&wire::INTERESTED);
        }
        let tally = &mut self.tally;
        let blocks = tally.blocks;
        self.decoder.feed(bytes, |message, data| tally.count(message, data, content))?;
        if tally.blocks > blocks && self.first_byte.is_none() {
            self.first_byte = Some(self.started.elapsed());
        }
        if tally.wrong.is_some() { Err(Trouble::failed("wrong data")) } else { Ok(()) }
    }

    /// Asks for the next blocks, so that as many as ever are under way.
    fn request(&mut self, content: &Content) {
        if !self.tally.unchoked {
            return;
        }
        while self.tally.requested < self.tally.blocks + OUTSTANDING {
            if self.next.1 >= content.piece_len {
                self.next = (self.random.u32(..content.pieces()), 0);
            }
            wire::push_request(&mut self.out, self.next.0, self.next.1);
            self.next.1 += BLOCK;
            self.tally.requested += 1;
        }
    }

    fn flush(&mut self) -> Result<(), Trouble> {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(written) => drop(self.out.drain(..written)),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl Tally {
    fn count(&mut self, message: Message, data: &[u8], content: &Content) {
        match message {
            Message::Unchoke => self.unchoked = true,
            // What was asked for before is forgotten (BEP 3).
            Message::Choke => (self.unchoked, self.requested) = (false, self.blocks),
            Message::Block { piece, begin, len } => {
                let known = content.bytes(piece, begin, len).map(|block| &block[..data.len().min(64)]);
                if known.is_none_or(|known| !data.starts_with(known)) {
                    self.wrong = Some(Trouble::failed(format!("block {begin} of piece {piece} came wrong")));
                }
                self.bytes += u64::from(len);
                self.blocks += 1;
            }
            Message::Request { .. } | Message::Other => {}
        }
    }
}
