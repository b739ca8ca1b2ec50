//! Tells when the addresses of this machine change: rtnetlink(7) says so. Where there is no such thing, looking often has
//! to do.

use std::time::Duration;

pub(super) use system::Changes;

/// Without a word from the system the interfaces are looked at this often: contacts are to know within five seconds.
const LOOK_OFTEN: Duration = Duration::from_secs(2);

/// With it they are looked at from time to time all the same, and so is the calendar.
#[cfg(target_os = "linux")]
const LOOK_SELDOM: Duration = Duration::from_secs(60);

#[cfg(target_os = "linux")]
mod system {
    use std::io;
    use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
    use std::time::Duration;

    use mio::unix::SourceFd;
    use mio::{Interest, Poll, Token};
    use rustix::io::Errno;
    use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, netlink};

    /// Groups of messages: addresses that come and go (`RTMGRP_IPV4_IFADDR`, `RTMGRP_IPV6_IFADDR`).
    const ADDRESSES: u32 = 0x10 | 0x100;
    /// What the messages say is not looked at.
    const MESSAGE: usize = 8192;

    /// The kernel's messages.
    #[derive(Debug)]
    pub(in crate::component::people) struct Changes(Option<OwnedFd>);

    impl Changes {
        /// Begins to listen; `poll` wakes with this token when there is something.
        pub(in crate::component::people) fn new(poll: &Poll, token: Token) -> Self {
            let open = || -> io::Result<OwnedFd> {
                let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
                // Of the netlink protocols routing is number 0, which is also what `None` means.
                let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
                rustix::net::bind(&socket, &netlink::SocketAddrNetlink::new(0, ADDRESSES))?;
                poll.registry().register(&mut SourceFd(&socket.as_fd().as_raw_fd()), token, Interest::READABLE)?;
                Ok(socket)
            };
            let opened = open().inspect_err(|error| log::info!("the system does not tell of new addresses: {error}"));
            Self(opened.ok())
        }

        /// Has anything changed since the last call?
        pub(in crate::component::people) fn take(&self) -> bool {
            let Some(socket) = &self.0 else { return false };
            let (mut buffer, mut any) = ([0; MESSAGE], false);
            loop {
                match rustix::net::recv(socket, &mut buffer, RecvFlags::DONTWAIT) {
                    // More than there was room for: something has changed.
                    Ok(_) | Err(Errno::NOBUFS | Errno::INTR) => any = true,
                    Err(_) => return any,
                }
            }
        }

        /// How often to look without being told.
        pub(in crate::component::people) fn look_every(&self) -> Duration {
            if self.0.is_some() { super::LOOK_SELDOM } else { super::LOOK_OFTEN }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::time::Duration;

    use mio::{Poll, Token};

    /// Nobody tells.
    #[derive(Debug)]
    pub(in crate::component::people) struct Changes;

    impl Changes {
        pub(in crate::component::people) fn new(_poll: &Poll, _token: Token) -> Self {
            Self
        }

        pub(in crate::component::people) fn take(&self) -> bool {
            false
        }

        pub(in crate::component::people) fn look_every(&self) -> Duration {
            super::LOOK_OFTEN
        }
    }
}
