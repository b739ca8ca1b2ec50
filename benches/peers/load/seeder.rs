//! A seeder that serves from memory: blocking sockets, a thread per connection, many blocks in one `writev`.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::wire::{self, Decoder, Message};
use super::{SOCKET_LIMIT, socket_from};
use crate::content::Content;
use crate::lab::loopback;
use crate::trouble::Trouble;

/// Blocks in one `writev` at most: 2 MiB.
const BATCH: usize = 128;

/// Bytes read at once; a request has 17.
const READ: usize = 16 * 1024;

/// A running seeder with all its connections.
pub struct Seeder {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    content: Content,
    first_request: OnceLock<Instant>,
    last_block: Mutex<Option<Instant>>,
    stopping: AtomicBool,
    sockets: Mutex<Vec<TcpStream>>,
}

impl Seeder {
    /// A seeder without connections.
    pub fn new(content: &Content) -> Self {
        let shared = Shared {
            content: content.clone(),
            first_request: OnceLock::new(),
            last_block: Mutex::default(),
            stopping: AtomicBool::new(false),
            sockets: Mutex::default(),
        };
        Self { shared: Arc::new(shared), threads: Mutex::default() }
    }

    /// Connects to a client, which is how every client can be reached on the loopback interface.
    pub fn connect(&self, client: SocketAddr) -> Result<(), Trouble> {
        self.connect_from(0, client)
    }

    /// As one of several peers, each with an address of its own.
    pub fn connect_from(&self, nth: usize, client: SocketAddr) -> Result<(), Trouble> {
        let socket = socket_from(nth)?;
        socket.connect_timeout(&client.into(), SOCKET_LIMIT)?;
        let shared = Arc::clone(&self.shared);
        let stream: TcpStream = socket.into();
        shared.remember(&stream)?;
        self.keep(thread::spawn(move || drop(serve(&shared, stream))));
        Ok(())
    }

    /// Takes connections at this port, so that the load tools can be measured against each other.
    pub fn listen(&self, port: u16) -> Result<(), Trouble> {
        let listener = TcpListener::bind(loopback(port))?;
        listener.set_nonblocking(true)?;
        let shared = Arc::clone(&self.shared);
        self.keep(thread::spawn(move || {
            let mut threads = Vec::new();
            while !shared.stopping.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) if stream.set_nonblocking(false).is_ok() && shared.remember(&stream).is_ok() => {
                        let shared = Arc::clone(&shared);
                        threads.push(thread::spawn(move || drop(serve(&shared, stream))));
                    }
                    _ => thread::sleep(Duration::from_millis(2)),
                }
            }
            for thread in threads {
                let _ = thread.join();
            }
        }));
        Ok(())
    }

    /// When the first block was asked for.
    pub fn first_request(&self) -> Option<Instant> {
        self.shared.first_request.get().copied()
    }

    /// When the last block so far was sent.
    pub fn last_block(&self) -> Option<Instant> {
        *self.shared.last_block.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, thread: JoinHandle<()>) {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
    }
}

impl Drop for Seeder {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        for socket in self.shared.sockets.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = socket.shutdown(Shutdown::Both);
        }
        for thread in self.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn remember(&self, stream: &TcpStream) -> Result<(), Trouble> {
        stream.set_nodelay(true)?;
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner).push(stream.try_clone()?);
        Ok(())
    }
}

/// Serves one connection until it ends, which is no trouble: clients close it when they have everything.
fn serve(shared: &Shared, mut stream: TcpStream) -> Result<(), Trouble> {
    stream.write_all(&wire::handshake(&shared.content.info_hash, true))?;
    let mut answer = [0; wire::HANDSHAKE_LEN];
    stream.read_exact(&mut answer)?;
    if wire::speaks_fast(&answer, &shared.content.info_hash)? {
        stream.write_all(&wire::HAVE_ALL)?;
    } else {
        stream.write_all(&wire::full_bitfield(shared.content.pieces()))?;
    }
    stream.write_all(&wire::UNCHOKE)?;
    let mut decoder = Decoder::default();
    let (mut buffer, mut wanted) = (vec![0; READ], Vec::new());
    loop {
        let got = match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(got) => got,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        decoder.feed(&buffer[..got], |message, _| {
            if let Message::Request { piece, begin, len } = message {
                wanted.push((piece, begin, len));
            }
        })?;
        if !wanted.is_empty() {
            shared.first_request.get_or_init(Instant::now);
        }
        for batch in wanted.chunks(BATCH) {
            send(shared, &mut stream, batch)?;
        }
        if !wanted.is_empty() {
            *shared.last_block.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        wanted.clear();
    }
}

fn send(shared: &Shared, stream: &mut TcpStream, batch: &[(u32, u32, u32)]) -> Result<(), Trouble> {
    let headers: Vec<[u8; 13]> =
        batch.iter().map(|&(piece, begin, len)| wire::block_header(piece, begin, len)).collect();
    let mut slices = Vec::with_capacity(2 * batch.len());
    for (header, &(piece, begin, len)) in headers.iter().zip(batch) {
        let block = shared.content.bytes(piece, begin, len);
        let block = block.ok_or_else(|| Trouble::failed("the client asked for what is not there"))?;
        slices.push(IoSlice::new(header));
        slices.push(IoSlice::new(block));
    }
    let mut left = slices.as_mut_slice();
    while !left.is_empty() {
        match stream.write_vectored(left) {
            Ok(0) => return Err(Trouble::failed("the connection takes no more")),
            Ok(written) => IoSlice::advance_slices(&mut left, written),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
