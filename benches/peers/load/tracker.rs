//! A tracker that tells everybody the same peer, for clients that take peers from nobody else (BEP 3, BEP 23).

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::SOCKET_LIMIT;
use crate::lab::loopback;
use crate::trouble::Trouble;

/// A running tracker.
pub struct Tracker {
    /// Where to announce.
    pub url: String,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Tracker {
    /// Starts one that knows the peer at this port of the loopback interface.
    pub fn start(peer_port: u16) -> Result<Self, Trouble> {
        let listener = TcpListener::bind(loopback(0))?;
        let url = format!("http://{}/announce", listener.local_addr()?);
        listener.set_nonblocking(true)?;
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let thread = thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                match listener.accept() {
                    // Whoever hangs up early is told nothing.
                    Ok((stream, _)) => drop(answer(stream, peer_port)),
                    Err(_) => thread::sleep(Duration::from_millis(1)),
                }
            }
        });
        Ok(Self { url, stopping, thread: Some(thread) })
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(mut stream: TcpStream, peer_port: u16) -> Result<(), Trouble> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(SOCKET_LIMIT))?;
    let (mut request, mut part) = (Vec::new(), [0; 2048]);
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut part)? {
            0 => return Ok(()),
            got => request.extend_from_slice(&part[..got]),
        }
    }
    let peer = [&Ipv4Addr::LOCALHOST.octets()[..], &peer_port.to_be_bytes()].concat();
    let body = [&b"d8:intervali1800e5:peers6:"[..], &peer, b"e"].concat();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), &body].concat())?;
    Ok(())
}
