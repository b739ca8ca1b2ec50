//! The other side of every measurement: a seeder, leechers and idle peers as plain and fast as they can be.
//!
//! They share nothing with bitween, so that no client is measured against its own ideas.

pub mod idle;
pub mod leecher;
pub mod seeder;
pub mod tracker;
pub mod wire;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::trouble::Trouble;

/// How long one system call on a blocking socket may take.
pub const SOCKET_LIMIT: Duration = Duration::from_secs(60);

/// A socket that will connect from a loopback address of its own: some clients take one connection per address only.
pub fn socket_from(nth: usize) -> Result<Socket, Trouble> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let [high, low] = u16::try_from(nth).unwrap_or(0).to_be_bytes();
    let from: SocketAddr = (Ipv4Addr::new(127, 1 + high, low, 2), 0).into();
    socket.bind(&from.into())?;
    Ok(socket)
}
