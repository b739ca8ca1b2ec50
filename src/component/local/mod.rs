//! The thread of the local network: finds neighbours, and tells them and hears of them what accounts tell and hear
//! through their servers.
//!
//! Neighbours are found by mDNS (`mdns.rs`) or named in the configuration. With each that runs this program there is one
//! stream (XEP-0174, `proto/xmpp/local.rs`), encrypted, on which both show a certificate (`identity.rs`); whom the user
//! accepts is remembered by it (`store.rs`). What accepted neighbours announce goes to the `people` thread, like what is
//! heard through servers.
//!
//! `worker.rs` is the loop, `meeting.rs` who is who, `commands.rs` what the user wants, `telling.rs` what is told to other
//! threads. They stand on `stream.rs` (one stream), that on `link.rs` (socket and TLS); `dial.rs` says whom to call when.

mod commands;
mod dial;
mod identity;
mod link;
mod mdns;
mod meeting;
mod store;
mod stream;
mod telling;
mod worker;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use self::worker::Worker;
use super::event::{Bus, Part, Topic};
use super::running::Running;
use super::snapshot::{Contacts, OwnCatalog, Published, Torrents};

/// Messages that may wait for this thread.
const INBOX: usize = 256;

const TOPICS: &[Topic] = &[
    Topic::SetPort,
    Topic::PublishEndpoint,
    Topic::PublishShares,
    Topic::PublishCatalog,
    Topic::Neighbors,
    Topic::StopLocal,
];

/// What the thread is told at its start.
#[derive(Clone, Debug)]
pub struct LocalOptions {
    /// Accept every neighbour at first sight.
    pub open: bool,
    /// What this node is called, `user@machine`; `None`: what the system says.
    pub name: Option<String>,
    /// TCP port for streams; 0: any.
    pub port: u16,
    /// The port of the last run, tried if `port` is 0.
    pub last_port: u16,
    /// Neighbours to call, `host:port`.
    pub neighbors: Vec<String>,
    /// Keep to this machine: look for nobody by mDNS, and listen on the loopback interface only.
    pub loopback_only: bool,
    /// The secret that this node's key is made of.
    pub seed: [u8; 32],
    /// File with those whom the user has accepted; made if it is not there.
    pub accepted: PathBuf,
    /// Where the catalog of the own shares is to be read. Without one a list that is too long is cut.
    pub catalog: Option<Published<OwnCatalog>>,
}

/// The running thread, as its owner sees it.
#[derive(Debug)]
pub struct LocalThread {
    running: Running,
    port: u16,
}

impl LocalThread {
    /// Starts the thread. When this returns it listens, and the snapshot says how this node is called.
    ///
    /// # Errors
    /// The port is taken, or the system has no file descriptors or threads left.
    pub fn start(
        options: LocalOptions,
        bus: Bus,
        contacts: &Published<Contacts>,
        torrents: &Published<Torrents>,
    ) -> io::Result<Self> {
        let (poll, waker) = worker::poll()?;
        let hook = Arc::clone(&waker);
        let wake = move || {
            if let Err(error) = hook.wake() {
                log::error!("cannot wake the thread of the local network: {error}");
            }
        };
        let inbox = bus.subscribe_with_wake("local", TOPICS, INBOX, Arc::new(wake));
        let mut worker = Worker::new(options, poll, waker, inbox, bus.clone(), contacts, torrents)?;
        let port = worker.port();
        worker.be_known();
        let running = Running::start("local", Part::Local, bus, move || worker.run())?;
        Ok(Self { running, port })
    }

    /// The port on which neighbours can call.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// True while the thread runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.running.is_alive()
    }

    /// Says goodbye to the neighbours and ends the thread; about a second at most.
    pub fn stop(&mut self) {
        self.running.stop();
    }
}

#[cfg(test)]
mod tests;
