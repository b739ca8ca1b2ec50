//! Peers that connect, say that they want nothing, and stay.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::wire::{self, HANDSHAKE_LEN};
use super::{SOCKET_LIMIT, socket_from};
use crate::content::Content;
use crate::trouble::Trouble;

/// How long all answers together may take: less than the 30 s after which aria2 parts from those who want nothing.
const ANSWER_LIMIT: Duration = Duration::from_secs(25);

/// Open connections on which nothing happens.
pub struct IdlePeers(Vec<TcpStream>);

impl IdlePeers {
    /// Opens `count` connections, each from an address of its own. Those that the client refuses are missing.
    pub fn connect(client: SocketAddr, content: &Content, count: usize) -> Result<Self, Trouble> {
        let mut streams = Vec::with_capacity(count);
        for nth in 0..count {
            let socket = socket_from(nth)?;
            let connected = socket.connect_timeout(&client.into(), SOCKET_LIMIT);
            connected.map_err(|error| Trouble::failed(format!("connection {}: {error}", nth + 1)))?;
            let mut stream: TcpStream = socket.into();
            stream.write_all(&wire::handshake(&content.info_hash, false))?;
            streams.push(stream);
        }
        // Only now, since a client may take its time to answer.
        let deadline = Instant::now() + ANSWER_LIMIT;
        streams.retain_mut(|stream| greet(stream, content, deadline).is_ok());
        Ok(Self(streams))
    }

    /// How many are still open.
    pub fn count_open(&mut self) -> usize {
        let mut buffer = [0; 4096];
        self.0.retain_mut(|stream| {
            loop {
                match stream.read(&mut buffer) {
                    Ok(0) => return false,
                    Ok(_) => {}
                    Err(error) => return error.kind() == ErrorKind::WouldBlock,
                }
            }
        });
        self.0.len()
    }
}

fn greet(stream: &mut TcpStream, content: &Content, deadline: Instant) -> Result<(), Trouble> {
    let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    stream.set_read_timeout(Some(left))?;
    let mut answer = [0; HANDSHAKE_LEN];
    stream.read_exact(&mut answer)?;
    wire::speaks_fast(&answer, &content.info_hash)?;
    stream.write_all(&wire::NOT_INTERESTED)?;
    Ok(stream.set_nonblocking(true)?)
}
