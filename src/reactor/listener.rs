//! Listening sockets, and accepting without spinning on errors.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, Socket, Type};

/// Connections that may wait in the kernel to be accepted.
const BACKLOG: i32 = 256;

/// How long a listener rests after an error such as "too many open files".
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// Opens a listening socket. An IPv6 socket takes IPv6 only, so that both families can share a port.
pub(super) fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A restarted program gets its port back although old connections linger.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// What one call of accept brought.
pub(super) enum Accepted {
    Peer(TcpStream, SocketAddr),
    /// Nobody waits.
    Empty,
    /// The machine cannot take another connection now.
    Exhausted(io::Error),
}

pub(super) fn accept(listener: &TcpListener) -> Accepted {
    loop {
        match listener.accept() {
            Ok((stream, addr)) => return Accepted::Peer(stream, addr),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => return Accepted::Empty,
                // The peer gave up while it waited, or a signal came: the next one may be there.
                io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                _ => return Accepted::Exhausted(error),
            },
        }
    }
}
