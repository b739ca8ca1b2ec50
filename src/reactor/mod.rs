//! The one mio loop (layer 3): every peer socket, its buffers and its deadlines.
//!
//! It knows bytes and protocol sessions, and no policy: what to request, whom to serve and when to connect is the
//! [`Handler`]'s matter, which is called with what happened and answers through [`Net`]. Nothing here ever waits for
//! a disk, a name server or another thread.

mod conn;
mod event_loop;
mod listener;
mod net;
mod out_queue;
mod pause;
mod portions;
mod starved;
mod timers;
mod turns;
mod wake;

pub use conn::CloseCause;
pub use event_loop::{Handler, Reactor};
pub use net::Net;
pub use starved::MEMORY_PATIENCE;
pub use turns::TurnStats;
