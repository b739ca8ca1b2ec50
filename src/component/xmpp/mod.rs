//! The XMPP thread of an account: its connection, and what is said to and heard of its contacts. There is one for each.
//!
//! Between the server ([`connection`]) and the rules ([`proto::xmpp`](crate::proto::xmpp), pure) it carries stanzas;
//! between the rules and the other threads it carries commands and events of the bus. What is heard of contacts goes to
//! the `people` thread, which knows those of all accounts.
//!
//! `worker.rs` is the loop, `recovery.rs` what follows when a stream ends, `requests.rs` the commands that wait for an
//! outcome, `tell.rs` the way to `people`, `farewell.rs` cleans up after accounts that were left while they could not be
//! reached, `facts.rs` remembers earlier logins, `probe.rs` asks STUN servers for the own address,
//! `trial.rs` logs in once and tells nobody. They stand on
//! `connection.rs` (open, next, send, close), that on `establish.rs` (look-up to bind), `link.rs` (socket and TLS),
//! `port.rs` (how other threads reach this one), `resolve.rs` and `tls_config.rs`.

mod account;
pub mod connection;
pub mod error;
mod establish;
mod facts;
mod farewell;
mod link;
pub mod port;
mod probe;
mod recovery;
mod requests;
pub mod resolve;
mod tell;
pub mod tls_config;
#[cfg(feature = "cli")]
mod trial;
mod worker;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};

pub use self::facts::forget_logins;
use self::farewell::Farewells;
use self::port::{Handle, Port};
#[cfg(feature = "cli")]
pub use self::trial::{Trial, try_login};
use self::worker::Worker;
use super::event::{Account, Bus, Event, Part, Topic};
use super::snapshot::{Contacts, OwnCatalog, Published, Torrents};
use crate::bus::spawn;
use crate::proto::xmpp::complaints::AddressRules;
use crate::types::AccountKey;

/// Messages that may wait for this thread.
const INBOX: usize = 1024;

/// How long a goodbye may take before the connection is cut: the session's three seconds and the stream's end.
const GOODBYE: Duration = Duration::from_millis(4500);

/// What the contacts are told; it waits while a connection is being made.
const NEWS: &[Topic] = &[Topic::PublishEndpoint, Topic::PublishShares, Topic::PublishCatalog];

/// What somebody waits for: an attempt to connect is interrupted for it. What is meant for other accounts disturbs nobody.
const fn orders(key: AccountKey) -> [Topic; 2] {
    [Topic::Contacts(key), Topic::StopXmpp(key)]
}

/// What the thread is told at its start.
#[derive(Clone, Debug)]
pub struct XmppThreadOptions {
    /// The place of its account. Commands name it, and this thread hears only its own.
    pub key: AccountKey,
    /// The account; without one the thread waits until one is set.
    pub account: Option<Arc<Account>>,
    /// File with what was learned of accounts; made if it is not there. Without one nothing is remembered.
    pub facts: Option<PathBuf>,
    /// Contacts' addresses that are named in a warning are those that these rules refuse.
    pub rules: AddressRules,
    /// Where the catalog of the own shares is to be read. Without one a list that is too long is cut.
    pub catalog: Option<Published<OwnCatalog>>,
}

/// The running thread, as its owner sees it.
#[derive(Debug)]
pub struct XmppThread {
    key: AccountKey,
    thread: Option<JoinHandle<()>>,
    handle: Handle,
    ended: Receiver<()>,
    bus: Bus,
}

impl XmppThread {
    /// Starts the thread, which connects if there is an account. It reads in the snapshots how this node can be reached and
    /// what is shared; changes come over the bus. When this returns, the snapshot tells of the account.
    ///
    /// # Errors
    /// If the system has no file descriptors or threads left.
    pub fn start(
        options: XmppThreadOptions,
        bus: Bus,
        contacts: &Published<Contacts>,
        torrents: &Published<Torrents>,
    ) -> io::Result<Self> {
        let port = Port::new()?;
        let handle = port.handle();
        let (wake, interrupt) = (handle.clone(), handle.clone());
        let news = bus.subscribe_with_wake("xmpp news", NEWS, INBOX, Arc::new(move || wake.wake()));
        let key = options.key;
        let interrupt = Arc::new(move || interrupt.interrupt());
        let orders = bus.subscribe_with_wake("xmpp orders", &orders(key), INBOX, interrupt);
        let farewells = Farewells::new(handle.clone());
        let mut worker = Worker::new(options, bus.clone(), (news, orders), farewells, contacts, torrents);
        worker.be_known();
        Self::spawn(key, handle, bus, move || worker.run(port))
    }

    /// One whose thread panics at once, for tests of whoever looks after it.
    #[cfg(test)]
    pub(crate) fn panicking(bus: Bus) -> Self {
        let handle = Port::new().unwrap().handle();
        Self::spawn(AccountKey::FIRST, handle, bus, || panic!("on purpose")).unwrap()
    }

    fn spawn(key: AccountKey, handle: Handle, bus: Bus, run: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let (alive, ended) = bounded(0);
        let run = move || {
            run();
            drop(alive);
        };
        let name = match key {
            AccountKey::FIRST => "xmpp".to_owned(),
            other => format!("xmpp-{}", u32::from(other.number()) + 1),
        };
        let thread = spawn(name, run)?;
        Ok(Self { key, thread: Some(thread), handle, ended, bus })
    }

    /// True while the thread runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Takes our shares off the server, says goodbye and ends the thread; under five seconds, whatever the server does.
    pub fn stop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        let _ = self.bus.publish(Event::Stop(Part::Xmpp(self.key)));
        // Nothing is ever sent: this waits for the other end to go, at most the time given.
        if matches!(self.ended.recv_timeout(GOODBYE), Err(crossbeam_channel::RecvTimeoutError::Timeout)) {
            self.handle.stop();
        }
        if thread.join().is_err() {
            log::error!("the XMPP thread panicked");
        }
    }
}

impl Drop for XmppThread {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::bus::{Reply, Subscriber};
    use crate::component::event::{ContactCommand, Told};

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn a_command_for_one_account_disturbs_no_other() {
        let bus = Bus::new();
        let listen = |key, room| -> (Subscriber<Event>, Arc<AtomicUsize>) {
            let disturbed = Arc::<AtomicUsize>::default();
            let count = Arc::clone(&disturbed);
            let wake = Arc::new(move || {
                count.fetch_add(1, Ordering::Relaxed);
            });
            (bus.subscribe_with_wake("test", &orders(key), room, wake), disturbed)
        };
        let (home, work) = (AccountKey::FIRST, AccountKey::new(1));
        let (full, undisturbed) = listen(home, 1);
        let (meant, disturbed) = listen(work, 8);
        let command = |account| {
            let (reply, _answer) = Reply::channel();
            bus.publish(Event::Contacts { account, command: ContactCommand::RemoveAccount { reply } }).is_ok()
        };
        assert!(command(home) && !command(home) && full.try_recv().is_some());
        full.rearm();
        let before = undisturbed.load(Ordering::Relaxed);
        for _ in 0..4 {
            assert!(command(work));
        }
        bus.publish(Event::Stop(Part::Xmpp(work))).unwrap();
        assert_eq!(undisturbed.load(Ordering::Relaxed), before);
        assert!(disturbed.load(Ordering::Relaxed) > 0 && full.try_recv().is_none());
        assert_eq!(std::iter::from_fn(|| meant.try_recv()).count(), 5);
    }

    #[test]
    fn a_thread_takes_back_what_one_before_it_said_to_remain() {
        let (bus, contacts) = (Bus::new(), Published::<Contacts>::default());
        let people = bus.subscribe("test", &[Topic::People], 8);
        let reader = std::thread::spawn(move || {
            let mut remains = vec!["of a thread that panicked".to_owned()];
            while let Ok(Event::Told { told, .. }) = people.recv_timeout(PATIENCE) {
                match told {
                    Told::Remains(lines) => remains = lines,
                    Told::Answer { reply, outcome } => {
                        reply.send(outcome);
                        return remains;
                    }
                    _ => {}
                }
            }
            remains
        });
        let rules = AddressRules::default();
        let options = XmppThreadOptions { key: AccountKey::FIRST, account: None, facts: None, rules, catalog: None };
        let _thread = XmppThread::start(options, bus, &contacts, &Published::default()).unwrap();
        assert!(reader.join().unwrap().is_empty(), "taken back before the thread is known to run");
    }
}
