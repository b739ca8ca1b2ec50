//! One TCP connection, encrypted sooner or later: non-blocking bytes in and out, for the XMPP thread.
//!
//! Never blocks by itself; the caller waits on its [`Port`], which wakes it for the socket, for other threads and for
//! deadlines alike. Knows nothing of XML. Dropping it closes the connection.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use mio::Interest;
use mio::net::TcpStream;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ProtocolVersion};
use zeroize::Zeroize;

use super::error::ConnectError;
use super::port::{Port, SOCKET, now};
use crate::proto::x509;
use crate::proto::xmpp::downgrade::Channel;

/// Capacity of the out-buffer kept when it is empty, in bytes.
const KEEP_CAPACITY: usize = 64 * 1024;

/// What keying material to bind a login to is derived for (RFC 9266 section 2).
const EXPORTER: &[u8] = b"EXPORTER-Channel-Binding";

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// So many bytes; there may be more.
    Bytes(usize),
    /// Nothing now: wait for the socket.
    Nothing,
    /// The server closed the connection.
    Closed,
}

#[derive(Debug)]
pub(super) struct Link {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// The account's domain: what the certificate must be for, and the name in errors.
    domain: String,
    /// Plain bytes that TLS (or the socket) has not taken yet, from `taken` on. Wiped when sent: logins pass through.
    out: Vec<u8>,
    taken: usize,
}

impl Link {
    /// Connects, for at most until `deadline`.
    pub(super) fn connect(
        port: &mut Port,
        address: SocketAddr,
        domain: &str,
        deadline: Instant,
    ) -> Result<Self, ConnectError> {
        let unreachable = |reason| ConnectError::Unreachable { endpoint: address.to_string(), reason };
        let mut socket = TcpStream::connect(address).map_err(unreachable)?;
        port.registry().register(&mut socket, SOCKET, Interest::READABLE | Interest::WRITABLE)?;
        loop {
            if let Some(error) = socket.take_error()? {
                return Err(unreachable(error));
            }
            match socket.peer_addr() {
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
                Err(error) => return Err(unreachable(error)),
            }
            if now() >= deadline {
                return Err(unreachable(io::ErrorKind::TimedOut.into()));
            }
            wait(port, deadline)?;
        }
        // Stanzas are written whole: waiting for more to fill a segment only delays them.
        socket.set_nodelay(true)?;
        Ok(Self { socket, tls: None, domain: domain.to_owned(), out: Vec::with_capacity(4096), taken: 0 })
    }

    /// Does the TLS handshake, for at most until `deadline`. The certificate is checked for the link's domain.
    pub(super) fn start_tls(
        &mut self,
        port: &mut Port,
        config: Arc<ClientConfig>,
        deadline: Instant,
    ) -> Result<(), ConnectError> {
        let name = ServerName::try_from(self.domain.clone())
            .map_err(|_| ConnectError::Options(format!("'{}' is no valid host name", self.domain)))?;
        let tls = ClientConnection::new(config, name).map_err(|error| ConnectError::from_tls(&self.domain, error))?;
        self.tls = Some(Box::new(tls));
        loop {
            self.flush()?;
            let Some(tls) = self.tls.as_mut() else { return Err(ConnectError::Closed) };
            if !tls.is_handshaking() && !tls.wants_write() {
                debug!(target: "bitween::xmpp", "TLS with {}: {:?}", self.domain, tls.protocol_version());
                return Ok(());
            }
            match self.receive_tls()? {
                Received::Bytes(_) => {}
                Received::Closed => {
                    let reason = rustls::Error::General("the server closed the connection".to_owned());
                    return Err(ConnectError::from_tls(&self.domain, reason));
                }
                Received::Nothing if now() >= deadline => {
                    return Err(ConnectError::TimedOut("setting up the encryption"));
                }
                Received::Nothing => wait(port, deadline)?,
            }
        }
    }

    /// What a login can be bound to. Keying material only with TLS 1.3: before it two connections can have the same
    /// (RFC 9266 section 4).
    pub(super) fn channel(&self) -> Channel {
        let Some(tls) = self.tls.as_ref() else { return Channel::default() };
        let is_13 = tls.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        let exported = is_13.then(|| tls.export_keying_material([0; 32], EXPORTER, Some(b""))).and_then(Result::ok);
        let certificate = tls.peer_certificates().and_then(<[_]>::first);
        Channel { exporter: exported, end_point: certificate.and_then(|certificate| x509::end_point_hash(certificate)) }
    }

    /// The buffer of bytes to send. What is appended goes out with the next [`Link::flush`].
    pub(super) const fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Bytes that wait to be taken by TLS or the socket.
    pub(super) const fn pending(&self) -> usize {
        self.out.len() - self.taken
    }

    /// Writes what the socket takes now. How many bytes went out, encryption included.
    pub(super) fn flush(&mut self) -> Result<u64, ConnectError> {
        let mut written = 0;
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
                Ok(count) => written += count as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        if self.taken == self.out.len() {
            self.out.as_mut_slice().zeroize();
            self.out.clear();
            self.out.shrink_to(KEEP_CAPACITY);
            self.taken = 0;
        }
        Ok(written)
    }

    /// Reads decrypted bytes that are there.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<Received, ConnectError> {
        loop {
            let result = match self.tls.as_mut() {
                Some(tls) => tls.reader().read(buffer),
                None => self.socket.read(buffer),
            };
            match result {
                Ok(0) => return Ok(Received::Closed),
                Ok(count) => return Ok(Received::Bytes(count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Received::Closed),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error.into()),
                Err(_) if self.tls.is_none() => return Ok(Received::Nothing),
                Err(_) => match self.receive_tls()? {
                    Received::Bytes(_) => {}
                    other => return Ok(other),
                },
            }
        }
    }

    /// Reads encrypted bytes and decrypts them; the count says nothing about decrypted ones.
    fn receive_tls(&mut self) -> Result<Received, ConnectError> {
        let Some(tls) = self.tls.as_mut() else { return Ok(Received::Nothing) };
        let count = loop {
            match tls.read_tls(&mut self.socket) {
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Received::Nothing),
                Err(error) => return Err(error.into()),
            }
        };
        if let Err(error) = tls.process_new_packets() {
            // The alert tells the server's administrator why; whether it arrives does not matter any more.
            let _ = tls.write_tls(&mut self.socket);
            return Err(ConnectError::from_tls(&self.domain, error));
        }
        Ok(if count == 0 { Received::Closed } else { Received::Bytes(count) })
    }

    /// Says that nothing more will be sent.
    pub(super) fn close_notify(&mut self) {
        if let Some(tls) = self.tls.as_mut() {
            tls.send_close_notify();
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.out.as_mut_slice().zeroize();
    }
}

/// Sleeps until the socket or another thread has something, at most until `until`.
pub(super) fn wait(port: &mut Port, until: Instant) -> Result<(), ConnectError> {
    if port.is_interrupted() {
        return Err(ConnectError::Stopped);
    }
    port.poll_until(until)?;
    if port.is_interrupted() { Err(ConnectError::Stopped) } else { Ok(()) }
}
