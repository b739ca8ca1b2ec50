//! One TCP connection to a neighbour, encrypted sooner or later: non-blocking bytes in and out. Knows nothing of XML.

use std::io::{self, ErrorKind, Read, Write};

use mio::net::TcpStream;
use rustls::Connection;

use super::identity::fingerprint;
use crate::share::Fingerprint;

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// So many bytes; there may be more.
    Bytes(usize),
    /// Nothing now: wait for the socket.
    Nothing,
    /// The other side closed the connection.
    Closed,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) socket: TcpStream,
    tls: Option<Box<Connection>>,
    /// Plain bytes that TLS (or the socket) has not taken yet, from `taken` on.
    out: Vec<u8>,
    taken: usize,
}

impl Link {
    pub(super) const fn new(socket: TcpStream) -> Self {
        Self { socket, tls: None, out: Vec::new(), taken: 0 }
    }

    /// Encrypts from now on. Everything written so far must be sent.
    pub(super) fn start_tls(&mut self, tls: Connection) {
        self.tls = Some(Box::new(tls));
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// What the other side has shown.
    pub(super) fn fingerprint(&self) -> Option<Fingerprint> {
        self.tls.as_ref()?.peer_certificates()?.first().map(fingerprint)
    }

    pub(super) fn queue(&mut self, bytes: &mut Vec<u8>) {
        if self.out.is_empty() {
            std::mem::swap(&mut self.out, bytes);
        } else {
            self.out.append(bytes);
        }
    }

    /// Bytes that wait to be taken by TLS or the socket.
    pub(super) const fn pending(&self) -> usize {
        self.out.len() - self.taken
    }

    /// Writes what the socket takes now; true if that is all.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        loop {
            let rest = self.out.get(self.taken..).unwrap_or_default();
            let result = if let Some(tls) = self.tls.as_mut() {
                self.taken += tls.writer().write(rest)?;
                if !tls.wants_write() {
                    break;
                }
                tls.write_tls(&mut self.socket)
            } else {
                if rest.is_empty() {
                    break;
                }
                self.socket.write(rest).inspect(|count| self.taken += count)
            };
            match result {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => drop(other?),
            }
        }
        if self.pending() == 0 {
            self.out = Vec::new();
            self.taken = 0;
        }
        Ok(self.pending() == 0)
    }

    /// Reads decrypted bytes that are there.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        loop {
            let result = match self.tls.as_mut() {
                Some(tls) => tls.reader().read(buffer),
                None => self.socket.read(buffer),
            };
            match result {
                Ok(0) => return Ok(Received::Closed),
                Ok(count) => return Ok(Received::Bytes(count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(Received::Closed),
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                Err(_) if self.tls.is_none() => return Ok(Received::Nothing),
                // A handshake that is over says so before anything else is read.
                Err(_) => match self.receive_tls()? {
                    Received::Bytes(_) => {}
                    other => return Ok(other),
                },
            }
        }
    }

    /// Reads encrypted bytes and decrypts them; the count says nothing about decrypted ones.
    fn receive_tls(&mut self) -> io::Result<Received> {
        let Some(tls) = self.tls.as_mut() else { return Ok(Received::Nothing) };
        let count = loop {
            match tls.read_tls(&mut self.socket) {
                Ok(count) => break count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Received::Nothing),
                Err(error) => return Err(error),
            }
        };
        if let Err(error) = tls.process_new_packets() {
            // The alert tells the other side why; whether it arrives does not matter any more.
            let _ = tls.write_tls(&mut self.socket);
            return Err(io::Error::other(error));
        }
        Ok(if count == 0 { Received::Closed } else { Received::Bytes(count) })
    }
}
