//! Takes off its server what an account announced that was left while it could not be reached.
//!
//! The account in use has the XMPP thread to itself, so an account that was left gets a thread of its own. It tries
//! again and again until the server has confirmed that nothing is left, has refused, or the program ends. Nothing of
//! this is written to disk: a password that the user took away must not stay there.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError, unbounded};
use jid::FullJid;

use super::connection::{AccountOptions, Connection, Incoming};
use super::error::ConnectError;
use super::port::{Handle, Port, Wake, now};
use super::requests::Answer;
use crate::bus::spawn;
use crate::component::event::ControlError;
use crate::proto::xmpp::backoff::{Backoff, Retry};
use crate::proto::xmpp::{XmppSession, xml};

/// Accounts left without having been reached; of more the oldest are given up.
const MAX_FAREWELLS: usize = 4;

/// A stanza for which a full connection has no room is offered again after this time.
const FULL_PAUSE: Duration = Duration::from_millis(50);

/// How it goes with one account.
enum News {
    Done,
    /// Not this time, for this reason; it is tried again.
    Failed(String),
    /// Not this time, for this reason, which trying again does not change.
    GivenUp(String),
}

/// Who waits for the outcome, and until when.
pub(super) struct Asker {
    pub(super) reply: Answer,
    pub(super) answer_by: Instant,
}

/// One account that was left.
struct Farewell {
    jid: FullJid,
    asker: Option<Asker>,
    /// Why what it announced still stands.
    problem: Option<String>,
    news: Receiver<News>,
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

/// The accounts that were left and could not be reached then.
pub(super) struct Farewells {
    owner: Handle,
    list: Vec<Farewell>,
    /// What was said to remain.
    told: Vec<String>,
}

impl Farewells {
    /// Nobody was left. The owner is woken whenever [`Self::collect`] has something to do.
    pub(super) fn new(owner: Handle) -> Self {
        Self { owner, list: Vec::new(), told: Vec::new() }
    }

    /// Begins to take off what an account announced. The session is a fresh one of that account, without a stream;
    /// `asker` is answered when it is done, has failed once, or takes long.
    pub(super) fn begin(&mut self, options: AccountOptions, mut session: XmppSession, asker: Option<Asker>) {
        let jid = session.own_jid().clone();
        self.cancel(&jid);
        if self.list.len() >= MAX_FAREWELLS {
            self.list.remove(0);
        }
        let (sender, news) = unbounded();
        let started = Port::new().and_then(|mut port| {
            let (handle, owner) = (port.handle(), self.owner.clone());
            let tell = move |news| {
                let _ = sender.send(news);
                owner.wake();
            };
            let run = move || say_farewell(&options, &mut session, &mut port, tell);
            Ok((handle, spawn("xmpp-farewell", run)?))
        });
        match started {
            Ok((handle, thread)) => {
                self.list.push(Farewell { jid, asker, problem: None, news, handle, thread: Some(thread) });
            }
            Err(error) => {
                log::error!("what {jid} announced stays on its server: {error}");
                if let Some(asker) = asker {
                    asker.reply.send(Err(ControlError::Refused(error.to_string())));
                }
            }
        }
    }

    /// This account is used again: what it announces may stand.
    pub(super) fn cancel(&mut self, jid: &FullJid) {
        self.list.retain(|farewell| farewell.jid != *jid);
    }

    /// Takes in how it goes. Returns the answers for those who waited.
    pub(super) fn collect(&mut self, now: Instant) -> Vec<(Answer, Result<(), ControlError>)> {
        let mut answers = Vec::new();
        self.list.retain_mut(|farewell| farewell.goes_on(now, &mut answers));
        answers
    }

    /// When [`Self::collect`] has somebody to answer.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.list.iter().filter_map(|farewell| Some(farewell.asker.as_ref()?.answer_by)).min()
    }

    /// What still stands on servers, one line each, if that is not what was said last.
    pub(super) fn news(&mut self) -> Option<Vec<String>> {
        let remains: Vec<String> = self.list.iter().filter_map(Farewell::remains).collect();
        if remains == self.told {
            return None;
        }
        self.told.clone_from(&remains);
        Some(remains)
    }
}

impl Farewell {
    /// Takes in the news; false when there is nothing left to do or to tell.
    fn goes_on(&mut self, now: Instant, answers: &mut Vec<(Answer, Result<(), ControlError>)>) -> bool {
        loop {
            match self.news.try_recv() {
                Ok(News::Done) => {
                    self.problem = None;
                    answers.extend(self.asker.take().map(|asker| (asker.reply, Ok(()))));
                    return false;
                }
                Ok(News::Failed(problem)) => self.problem = Some(format!("{problem}; it is tried again")),
                Ok(News::GivenUp(problem)) => self.problem = Some(problem),
                // Before it is given up there is always a word why, unless the thread has panicked.
                Err(TryRecvError::Disconnected) => {
                    self.problem.get_or_insert_with(|| "its thread ended unexpectedly".to_owned());
                    break;
                }
                Err(TryRecvError::Empty) => break,
            }
        }
        if self.asker.as_ref().is_some_and(|asker| asker.answer_by <= now) {
            self.problem.get_or_insert_with(|| "the server has not answered yet".to_owned());
        }
        if let Some(remains) = self.remains() {
            answers.extend(self.asker.take().map(|asker| (asker.reply, Err(ControlError::Offline(remains)))));
        }
        true
    }

    fn remains(&self) -> Option<String> {
        let problem = self.problem.as_ref()?;
        Some(format!("what {} announced may still stand on its server: {problem}", self.jid.to_bare()))
    }
}

impl Drop for Farewell {
    fn drop(&mut self) {
        self.handle.stop();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            log::error!("the farewell of {} panicked", self.jid);
        }
        if let Some(remains) = self.remains() {
            log::warn!("{remains}");
        }
    }
}

/// Tries until it is done, hopeless, or stopped.
fn say_farewell(options: &AccountOptions, session: &mut XmppSession, port: &mut Port, tell: impl Fn(News)) {
    let mut backoff = Backoff::new(fastrand::u64(..));
    loop {
        let outcome = take_off(options, session, port);
        if port.is_stopped() {
            return;
        }
        let (problem, retry) = match outcome {
            Ok(true) => return tell(News::Done),
            Ok(false) => ("it did not confirm in time".to_owned(), Retry::Soon),
            Err(error) => (error.to_string(), error.retry()),
        };
        let Some(pause) = backoff.failed(now(), retry) else { return tell(News::GivenUp(problem)) };
        tell(News::Failed(problem));
        let until = now() + pause;
        while now() < until {
            if !matches!(port.wait(until.saturating_duration_since(now())), Ok(Wake::Timeout | Wake::Woken)) {
                return;
            }
        }
    }
}

/// One attempt: logs in, takes everything off and says goodbye. False if the server did not confirm it.
fn take_off(options: &AccountOptions, session: &mut XmppSession, port: &mut Port) -> Result<bool, ConnectError> {
    let mut connection = Connection::open(options, port)?;
    session.started(now(), connection.jid().clone());
    session.withdraw(now());
    let mut unsent: Option<Vec<u8>> = None;
    loop {
        while let Some(bytes) = unsent.take().or_else(|| next_stanza(session)) {
            if connection.send(&bytes).is_err() {
                unsent = Some(bytes);
                break;
            }
        }
        // What the roster and the nodes hold interests nobody any more.
        while session.poll_event().is_some() {}
        if session.is_parted() && unsent.is_none() {
            let withdrawn = session.is_withdrawn();
            connection.close();
            return Ok(withdrawn);
        }
        let soon = now() + FULL_PAUSE;
        let until = session.poll_timeout().filter(|_| unsent.is_none()).unwrap_or(soon);
        match connection.next(until)? {
            Incoming::Stanza(stanza) => session.stanza_received(now(), &stanza),
            Incoming::Timeout => session.handle_timeout(now()),
            Incoming::Woken => {}
            Incoming::Stopped => return Err(ConnectError::Stopped),
        }
    }
}

/// The next stanza as bytes. One that cannot be written is a bug, and costs only itself.
fn next_stanza(session: &mut XmppSession) -> Option<Vec<u8>> {
    while let Some(stanza) = session.poll_stanza() {
        match xml::to_bytes(&stanza) {
            Ok(bytes) => return Some(bytes),
            Err(error) => log::error!("a stanza could not be written: {error}"),
        }
    }
    None
}
