//! A line between two programs that carries no more than a test allows: so a test decides how far a transfer has come
//! when something happens, however fast the machine is.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// Carried at a time.
const SLICE: usize = 16 * 1024;

/// Takes connections and carries them on to one address. What comes back from there is counted and limited, over all
/// connections together.
pub struct Relay {
    /// Where it listens.
    pub address: SocketAddr,
    meter: Arc<Meter>,
}

#[derive(Default)]
struct Meter {
    passed: AtomicU64,
    allowed: Mutex<u64>,
    more: Condvar,
}

impl Relay {
    /// A relay to `target` through which nothing comes back before [`Self::allow`].
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let meter = Arc::new(Meter::default());
        let metered = Arc::clone(&meter);
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(target) else { continue };
                let (mut from_near, mut to_far) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                thread::spawn(move || {
                    let _ = std::io::copy(&mut from_near, &mut to_far);
                    let _ = to_far.shutdown(Shutdown::Both);
                });
                let meter = Arc::clone(&metered);
                thread::spawn(move || meter.carry(far, near));
            }
        });
        Self { address, meter }
    }

    /// Bytes that have come back through it.
    pub fn passed(&self) -> u64 {
        self.meter.passed.load(Ordering::Relaxed)
    }

    /// Lets so many more bytes come back than have so far; any number with `u64::MAX`.
    pub fn allow(&self, bytes: u64) {
        *self.meter.allowed.lock().unwrap() = self.passed().saturating_add(bytes);
        self.meter.more.notify_all();
    }
}

impl Meter {
    fn carry(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut slice = vec![0; SLICE];
        while let Ok(len) = from.read(&mut slice) {
            if len == 0 || to.write_all(self.reserve(&slice, len)).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    }

    /// Waits until these bytes may pass. A whole slice passes as soon as one byte of it may.
    fn reserve<'a>(&self, slice: &'a [u8], len: usize) -> &'a [u8] {
        let allowed = self.allowed.lock().unwrap();
        let allowed = self.more.wait_while(allowed, |allowed| self.passed.load(Ordering::Relaxed) >= *allowed).unwrap();
        self.passed.fetch_add(len as u64, Ordering::Relaxed);
        drop(allowed);
        &slice[..len]
    }
}
