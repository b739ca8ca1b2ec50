//! Name look-ups that can be given up.
//!
//! The system's resolver cannot be interrupted, and where no name server answers it takes half a minute. So each
//! look-up has a thread of its own, for the moment; when the announce's time is over the thread is left behind and ends
//! by itself.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::RecvTimeoutError;

use super::AnnounceError;
use super::deadline::{Deadline, SLICE};
use crate::bus::spawn;

/// Looks up names. Clones count their look-ups together.
#[derive(Clone, Debug, Default)]
pub(super) struct LookUp {
    under_way: Arc<AtomicUsize>,
}

impl LookUp {
    /// The addresses of a host, in the system's order of preference; at least one.
    pub(super) fn addresses(
        &self,
        host: &str,
        port: u16,
        deadline: &Deadline,
    ) -> Result<Vec<SocketAddr>, AnnounceError> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let Some(ticket) = Ticket::take(&self.under_way) else { return Err(AnnounceError::Busy) };
        let (sender, answer) = crossbeam_channel::bounded(1);
        let name = host.to_owned();
        let look_up = move || {
            let found = (name.as_str(), port).to_socket_addrs();
            drop(ticket);
            // Nobody listens any more when the time was over.
            let _ = sender.send(found.map(|addrs| addrs.take(MAX_ADDRESSES).collect::<Vec<_>>()));
        };
        let no_thread = |_| AnnounceError::Busy;
        let thread = spawn("tracker-dns", look_up).map_err(no_thread)?;
        loop {
            match answer.recv_timeout(deadline.left()?.min(SLICE)) {
                Ok(found) => {
                    let _ = thread.join(); // it has nothing left to do
                    return found.ok().filter(|found| !found.is_empty()).ok_or(AnnounceError::Resolve);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(AnnounceError::Resolve),
            }
        }
    }

    /// Look-ups that have not come back.
    pub(super) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }
}

/// Counts one look-up as long as it lives.
struct Ticket(Arc<AtomicUsize>);

impl Ticket {
    fn take(count: &Arc<AtomicUsize>) -> Option<Self> {
        let ticket = Self(Arc::clone(count)); // gives back what the next line took, also when that was too much
        (count.fetch_add(1, Ordering::Relaxed) < MAX_UNDER_WAY).then_some(ticket)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Look-ups at a time, those that were given up included. Taste: names that hang do so together, and no thread is worth
/// having for the next one then.
const MAX_UNDER_WAY: usize = 16;
/// Addresses of a host that are looked at.
const MAX_ADDRESSES: usize = 16;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bus::{Clock, SystemClock};

    fn deadline() -> Deadline {
        Deadline::new(SystemClock.now() + Duration::from_secs(10), false, Arc::default())
    }

    #[test]
    fn names_and_addresses_are_looked_up_and_nothing_is_left_behind() {
        let look_up = LookUp::default();
        assert_eq!(look_up.addresses("::1", 7, &deadline()), Ok(vec!["[::1]:7".parse().unwrap()]));
        let found = look_up.addresses("localhost", 7, &deadline()).unwrap();
        assert!(found.iter().all(|addr| addr.ip().is_loopback() && addr.port() == 7), "{found:?}");
        assert_eq!(look_up.addresses("", 7, &deadline()), Err(AnnounceError::Resolve));
        assert_eq!(look_up.under_way(), 0);
    }

    #[test]
    fn look_ups_are_bounded_and_have_an_end() {
        let look_up = LookUp::default();
        let over = Deadline::new(SystemClock.now(), false, Arc::default());
        assert_eq!(look_up.addresses("localhost", 7, &over), Err(AnnounceError::Timeout));
        let held: Vec<_> = (0..MAX_UNDER_WAY).filter_map(|_| Ticket::take(&look_up.under_way)).collect();
        assert_eq!(look_up.addresses("localhost", 7, &deadline()), Err(AnnounceError::Busy));
        drop(held);
        assert!(look_up.addresses("localhost", 7, &deadline()).is_ok());
    }
}
