//! A line between a program and its server that a test can cut.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

/// Carried at a time; the place of a cut is as exact as this.
const SLICE: usize = 512;

/// Takes connections and carries them on to one address, both ways, while it is up.
pub struct Line {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    down: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
    connections: AtomicUsize,
    /// Bytes that may still go to the server before it is cut, if there is a limit.
    left: Mutex<Option<u64>>,
    to_server: AtomicU64,
}

impl Line {
    /// A line to `target`, up.
    pub fn to(target: SocketAddr) -> Self {
        Self::between(Ipv4Addr::LOCALHOST.into(), target)
    }

    /// A line from this address to `target`, up.
    pub fn between(near: IpAddr, target: SocketAddr) -> Self {
        let listener = TcpListener::bind((near, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if shared.down.load(Ordering::Acquire) {
                    continue;
                }
                let Ok(far) = TcpStream::connect(target) else { continue };
                shared.connections.fetch_add(1, Ordering::AcqRel);
                shared.open.lock().unwrap().extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
                let (from_near, to_far) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let state = Arc::clone(&shared);
                thread::spawn(move || state.carry(from_near, to_far, true));
                let state = Arc::clone(&shared);
                thread::spawn(move || state.carry(far, near, false));
            }
        });
        Self { address, state }
    }

    /// Cuts all connections; no new one gets through before [`Self::mend`].
    pub fn cut(&self) {
        self.state.down.store(true, Ordering::Release);
        self.state.close();
    }

    /// Forgets all connections, as a router does that is switched off and on: who says something on one is told that
    /// there is none. (Who can be reached meanwhile is told so at once.)
    pub fn forget(&self) {
        for stream in self.state.open.lock().unwrap().iter() {
            let _ = set_socket_linger(stream, Some(Duration::ZERO));
        }
        self.state.close();
    }

    /// New connections get through again.
    pub fn mend(&self) {
        self.state.down.store(false, Ordering::Release);
    }

    /// Cuts what is open once so many more bytes have gone to the server. New connections get through.
    pub fn cut_after(&self, bytes: u64) {
        *self.state.left.lock().unwrap() = Some(bytes);
    }

    /// Connections that have got through so far.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Acquire)
    }

    /// Bytes that have gone to the server.
    pub fn to_server(&self) -> u64 {
        self.state.to_server.load(Ordering::Acquire)
    }
}

impl State {
    fn close(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn carry(&self, mut from: TcpStream, mut to: TcpStream, to_server: bool) {
        let mut slice = [0; SLICE];
        while let Ok(len @ 1..) = from.read(&mut slice) {
            if to.write_all(&slice[..len]).is_err() {
                break;
            }
            if to_server {
                self.count(len as u64);
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    }

    fn count(&self, len: u64) {
        self.to_server.fetch_add(len, Ordering::AcqRel);
        let mut left = self.left.lock().unwrap();
        *left = left.map(|left| left.saturating_sub(len));
        if left.take_if(|left| *left == 0).is_some() {
            self.close();
        }
    }
}
