//! The thread's loop: connect, carry stanzas and commands until the stream ends, wait, connect again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jid::Jid;

use super::XmppThreadOptions;
use super::connection::{AccountOptions, Connection, Incoming};
use super::error::ConnectError;
use super::facts::Facts;
use super::farewell::Farewells;
use super::port::{Port, Wake, now};
use super::probe::Probe;
use super::recovery::Recovery;
use super::requests::Requests;
use super::tell::Teller;
use crate::bus::{Reply, Subscriber};
use crate::component::event::{Account, Bus, ControlError, Event, Part, Told};
use crate::component::snapshot::{AccountState, AccountStatus, Contacts, OwnCatalog, Published, Torrents};
use crate::proto::xmpp::announcer::{Catalogs, may_need_catalog};
use crate::proto::xmpp::complaints::AddressRules;
use crate::proto::xmpp::stream::Tls;
use crate::proto::xmpp::{SessionEvent, SessionOptions, XmppSession, xml};
use crate::types::{AccountKey, Endpoint, Share, Via, Witness};

/// How long stanzas of a goodbye may wait for room in a full connection.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A full connection makes room within moments, and so does a thread that has much to read.
const FULL_PAUSE: Duration = Duration::from_millis(50);
const UNSAID_PAUSE: Duration = Duration::from_millis(2);

/// The reader takes a moment; more than this only if it hangs.
const KNOWN_WITHIN: Duration = Duration::from_secs(2);

/// A thread with nothing to wait for looks around all the same.
const LOOK_ANYWAY: Duration = Duration::from_secs(3600);

pub(super) struct Worker {
    key: AccountKey,
    bus: Bus,
    probe: Probe,
    news: Subscriber<Event>,
    orders: Subscriber<Event>,
    pub(super) teller: Teller,
    /// How this node can be reached, and what it shares, as was said last.
    endpoint: Arc<Endpoint>,
    own_shares: Arc<[Share]>,
    own_catalog: Option<Published<OwnCatalog>>,
    /// It was told that the server has confirmed the own shares as they are.
    pub(super) confirmed: bool,
    pub(super) account: Option<Arc<Account>>,
    /// How it is doing, as was told last.
    pub(super) status: Option<AccountStatus>,
    /// There while an account is; it outlives the connection.
    pub(super) session: Option<XmppSession>,
    /// A stream is bound.
    pub(super) live: bool,
    pub(super) recovery: Recovery,
    /// When to connect. `None`: only a new account or a restart can help.
    pub(super) next_attempt: Option<Instant>,
    pub(super) requests: Requests,
    pub(super) farewells: Farewells,
    pub(super) facts: Facts,
    rules: AddressRules,
    stopping: bool,
    /// A stanza the connection had no room for.
    pub(super) unsent: Option<Vec<u8>>,
}

impl Worker {
    pub(super) fn new(
        options: XmppThreadOptions,
        bus: Bus,
        (news, orders): (Subscriber<Event>, Subscriber<Event>),
        farewells: Farewells,
        contacts: &Published<Contacts>,
        torrents: &Published<Torrents>,
    ) -> Self {
        // Read after the subscriptions were made, so that nothing falls between the two.
        let (endpoint, own_shares) = (Arc::clone(&contacts.read().endpoint), Arc::clone(&torrents.read().shares));
        let mut worker = Self {
            key: options.key,
            bus: bus.clone(),
            probe: Probe::default(),
            news,
            orders,
            teller: Teller::new(bus, Via::Account(options.key)),
            endpoint,
            own_shares,
            own_catalog: options.catalog,
            confirmed: false,
            account: None,
            status: None,
            session: None,
            live: false,
            recovery: Recovery::default(),
            next_attempt: None,
            requests: Requests::default(),
            farewells,
            facts: Facts::new(options.facts.clone()),
            rules: options.rules,
            stopping: false,
            unsent: None,
        };
        // What a thread before this one heard is not known any more to be so.
        worker.teller.tell(Told::Left);
        worker.teller.tell(Told::Remains(Vec::new()));
        match options.account {
            Some(account) => worker.use_account(account),
            None => worker.set_status(None),
        }
        worker
    }

    /// Waits until what was told can be read, so that nobody ever reads that there is no account while there is one.
    pub(super) fn be_known(&mut self) {
        let (reply, known) = Reply::channel();
        self.teller.answer(reply, Ok(()));
        let _ = known.wait(KNOWN_WITHIN);
    }

    pub(super) fn run(mut self, mut port: Port) {
        loop {
            port.go_on();
            self.commands();
            if self.stopping {
                break;
            }
            self.take_events();
            self.answer_late_login();
            let now = now();
            if self.recovery.poll_timeout().is_some_and(|end| end <= now) {
                self.give_up_broken("the server could not be reached");
            }
            if self.session.is_some() && self.next_attempt.is_some_and(|at| at <= now) {
                self.connect(&mut port);
                continue;
            }
            let unsaid = (!self.teller.flush()).then(|| now + UNSAID_PAUSE);
            let broken = self.recovery.poll_timeout();
            let until = [self.next_attempt, self.farewells.poll_timeout(), unsaid, broken];
            let until = until.into_iter().flatten().fold(now + LOOK_ANYWAY, Instant::min);
            match port.wait(until.saturating_duration_since(now)) {
                Ok(Wake::Stopped) => break,
                Ok(Wake::Woken | Wake::Timeout) => {}
                Err(error) => {
                    log::error!("the XMPP thread cannot go on: {error}");
                    break;
                }
            }
        }
        self.requests.fail_all(&ControlError::Refused("bitween is stopping".to_owned()));
    }

    /// Begins with this account; the next turn of the loop connects.
    pub(super) fn use_account(&mut self, account: Arc<Account>) {
        let account = self.facts.with_resource(account);
        self.give_up_broken("the account was set anew");
        let session = match self.new_session(&account) {
            Ok(session) => session,
            Err(reason) => return self.refuse(account, reason),
        };
        self.farewells.cancel(session.own_jid());
        self.session = Some(session);
        self.confirmed = false;
        self.account = Some(account);
        self.recovery = Recovery::default();
        self.next_attempt = Some(now());
        self.set_state(AccountState::Connecting, None);
    }

    /// A session without a stream that announces what is shared now.
    pub(super) fn new_session(&mut self, account: &Account) -> Result<XmppSession, String> {
        let mut seed = [0; 32];
        if getrandom::fill(&mut seed).is_err() {
            seed.iter_mut().for_each(|byte| *byte = fastrand::u8(..));
        }
        let options = SessionOptions { publish_original: account.publish_original, seed };
        let mut session = XmppSession::new(full_jid(account)?, &options);
        session.set_accept_from(account.accept_from.iter().filter_map(|rule| rule.parse().ok()).collect());
        let (here, all) = self.facts.blocked(account);
        session.set_blocked(here.into_iter(), all.into_iter());
        let (requests, handout) = self.facts.requests(account);
        session.set_requests(requests.into_iter(), handout);
        session.set_address_rules(self.rules);
        if let Some(limit) = self.facts.publish_limit(account) {
            session.set_publish_limit(now(), limit);
        }
        session.set_endpoint(now(), Endpoint::clone(&self.endpoint));
        session.set_catalogs(now(), self.catalogs());
        session.set_shares(now(), self.own_shares.to_vec());
        Ok(session)
    }

    /// What is known of the own shares as a catalog.
    fn catalogs(&self) -> Catalogs {
        let Some(own) = self.own_catalog.as_ref().map(Published::read) else { return Catalogs::None };
        match own.catalog {
            Some(catalog) => Catalogs::Made(catalog),
            None if own.failed || !may_need_catalog(&self.own_shares) => Catalogs::None,
            None => Catalogs::Coming,
        }
    }

    /// The own shares or their catalog have changed.
    fn announce_shares(&mut self, shares: Option<Vec<Share>>) {
        self.confirmed = false;
        let catalogs = self.catalogs();
        if let Some(session) = &mut self.session {
            session.set_catalogs(now(), catalogs);
            if let Some(shares) = shares {
                session.set_shares(now(), shares);
            }
        }
    }

    /// What is announced is what is shared, not a catalog of what was shared a moment ago.
    fn is_up_to_date(&self, session: &XmppSession) -> bool {
        let own = self.own_catalog.as_ref().filter(|_| session.is_by_catalog());
        own.is_none_or(|own| Arc::ptr_eq(&own.read().shares, &self.own_shares))
    }

    fn refuse(&mut self, account: Arc<Account>, reason: String) {
        if self.requests.login.is_some() {
            return self.refuse_account(reason);
        }
        self.account = Some(account);
        self.session = None;
        self.next_attempt = None;
        self.set_state(AccountState::Failed, Some(reason));
    }

    pub(super) fn set_state(&mut self, state: AccountState, problem: Option<String>) {
        let key = self.key;
        let jid = self
            .account
            .as_ref()
            .map(|account| full_jid(account).map_or_else(|_| account.jid.clone(), |jid| jid.to_string()));
        self.set_status(jid.map(|jid| AccountStatus { key, jid, state, problem }));
    }

    fn set_status(&mut self, status: Option<AccountStatus>) {
        self.status.clone_from(&status);
        self.teller.tell(Told::Account(status));
    }

    fn connect(&mut self, port: &mut Port) {
        let Some(account) = self.account.clone() else { return };
        let mut options = match account_options(&account) {
            Ok(options) => options,
            Err(reason) => return self.refuse(account, reason),
        };
        // An account that was just set is tried as if it were new; one that is refused leaves what is known as it is.
        if self.requests.login.is_none() {
            self.facts.apply(&account, &mut options);
        }
        options.first = self.recovery.redirects.take();
        port.set_patience(self.requests.login.as_ref().map(|login| login.answer_by));
        let opened = Connection::reopen(&options, port, &mut self.recovery.broken);
        let ended = opened.and_then(|connection| self.live(connection));
        port.set_patience(None);
        match ended {
            Err(ConnectError::Stopped) if port.is_stopped() => self.stopping = true,
            _ if self.stopping => {}
            // Interrupted: the next turn of the loop sees what for, and tries again.
            Err(ConnectError::Stopped) => {}
            // An account that is being left is left, however its stream ended.
            _ if self.requests.is_leaving() => {
                let withdrawn = self.session.as_ref().is_some_and(XmppSession::is_withdrawn);
                self.left(withdrawn);
            }
            Ok(()) => {}
            Err(error) => self.failed(&error),
        }
    }

    /// One stream, from its beginning or where it broke to its end: `Ok` if the goodbye was said.
    fn live(&mut self, mut connection: Connection<'_>) -> Result<(), ConnectError> {
        self.recovery.connected(now());
        let (key, jid) = (self.key, connection.jid().clone());
        if let (Some(account), Some(mechanism)) = (&self.account, connection.mechanism()) {
            let anew = self.requests.login.is_some();
            self.facts.logged_in(account, mechanism, connection.unknown_bindings(), anew);
        }
        if connection.is_resumed() {
            self.recovery.went_on();
        } else {
            self.give_up_broken("the server has closed the stream");
        }
        let status = AccountStatus { key, jid: jid.to_string(), state: AccountState::Online, problem: None };
        self.set_status(Some(status));
        self.live = true;
        self.keep_account(Ok(()));
        if let Some(session) = &mut self.session {
            if connection.is_resumed() { session.resumed(now()) } else { session.started(now(), jid) }
        }
        let ended = self.carry(&mut connection);
        self.live = false;
        match ended {
            Ok(()) => connection.close(),
            Err(ConnectError::Stopped) => {}
            Err(_) if self.requests.is_leaving() => {}
            Err(_) => self.keep_broken(connection.suspend()),
        }
        if self.recovery.broken.is_none() {
            self.lose_stream();
        }
        ended
    }

    /// There is no account from now on.
    pub(super) fn use_none(&mut self) {
        self.give_up_broken("the account was removed");
        self.account = None;
        self.session = None;
        self.next_attempt = None;
        self.teller.tell(Told::Left);
        self.set_status(None);
    }

    /// Carries stanzas until the goodbye is said (`Ok`) or the stream is lost.
    fn carry(&mut self, connection: &mut Connection<'_>) -> Result<(), ConnectError> {
        let mut last_words = None;
        self.commands();
        loop {
            self.send(connection)?;
            self.take_events();
            let time = now();
            if !self.teller.flush() {
                // No more is read before all that was read is told.
                std::thread::sleep(UNSAID_PAUSE);
                self.commands();
                if connection.is_stopped() {
                    return Err(ConnectError::Stopped);
                }
                continue;
            }
            let Some(session) = &mut self.session else { return Ok(()) };
            if session.is_parted() && (self.unsent.is_none() || *last_words.get_or_insert(time + LAST_WORDS) <= time) {
                return Ok(());
            }
            let unsent = self.unsent.is_some().then(|| time + FULL_PAUSE);
            let until = [session.poll_timeout(), self.farewells.poll_timeout(), self.teller.poll_timeout(), unsent];
            let until = until.into_iter().flatten().fold(time + LOOK_ANYWAY, Instant::min);
            match connection.next(until)? {
                Incoming::Stanza(stanza) => session.stanza_received(now(), &stanza),
                Incoming::Woken => self.commands(),
                Incoming::Timeout => {
                    session.handle_timeout(now());
                    self.hear_farewells();
                }
                Incoming::Stopped => return Err(ConnectError::Stopped),
            }
        }
    }

    /// Hands the session's stanzas to the connection, as far as it has room.
    fn send(&mut self, connection: &mut Connection<'_>) -> Result<(), ConnectError> {
        loop {
            let bytes = match self.unsent.take() {
                Some(bytes) => bytes,
                None => match self.session.as_mut().and_then(XmppSession::poll_stanza) {
                    Some(stanza) => match xml::to_bytes(&stanza) {
                        Ok(bytes) => bytes,
                        Err(error) => {
                            // Foreign text was cleaned before; this is a bug, and costs one stanza.
                            log::error!("a stanza could not be written: {error}");
                            continue;
                        }
                    },
                    None => return Ok(()),
                },
            };
            if connection.send(&bytes).is_err() {
                self.unsent = Some(bytes);
                return Ok(());
            }
        }
    }

    /// Passes on what the session noticed.
    pub(super) fn take_events(&mut self) {
        let Some(mut session) = self.session.take() else { return };
        let mut done = Vec::new();
        while let Some(event) = session.poll_event() {
            match event {
                SessionEvent::CommandDone { tag, result } => done.push((tag, result)),
                SessionEvent::RosterChanged => self.teller.roster_changed(now()),
                SessionEvent::Ready => {}
                SessionEvent::SeenAt(ip) => {
                    debug!("the server sees this machine at {ip}");
                    // Nobody listens while the program ends.
                    let _ = self.bus.publish(Event::Observed { witness: Witness::Server(self.key), ip });
                }
                SessionEvent::StunServers(servers) => {
                    if self.account.as_ref().is_some_and(|account| account.stun) {
                        self.probe.begin(servers, Witness::Stun(self.key), self.bus.clone());
                    }
                }
                SessionEvent::Blocked { all, here } => {
                    if let Some(account) = &self.account {
                        self.facts.keep_blocked(account, &all, &here);
                    }
                    self.teller.tell(Told::Blocked(all));
                }
                event => self.teller.tell(Told::Session(event)),
            }
        }
        if self.teller.tell_roster(now(), &session, !done.is_empty())
            && let Some(account) = &self.account
        {
            let requests: Vec<String> = session.roster().pending().map(ToString::to_string).collect();
            self.facts.keep_requests(account, &requests, session.roster().handout());
        }
        self.keep_limit(&session);
        let is_announced = self.live && session.is_announced() && self.is_up_to_date(&session);
        if is_announced && !std::mem::replace(&mut self.confirmed, true) {
            self.teller.tell(Told::Confirmed(Arc::clone(&self.own_shares)));
        }
        self.session = Some(session);
        done.into_iter().for_each(|(tag, result)| self.requests.done(tag, result, &mut self.teller));
    }

    fn hear_farewells(&mut self) {
        let answers = self.farewells.collect(now());
        if let Some(remains) = self.farewells.news() {
            self.teller.tell(Told::Remains(remains));
        }
        answers.into_iter().for_each(|(reply, outcome)| self.teller.answer(reply, outcome));
    }

    fn commands(&mut self) {
        self.news.rearm();
        self.orders.rearm();
        self.hear_farewells();
        while let Some(event) = self.news.try_recv().or_else(|| self.orders.try_recv()) {
            match event {
                Event::PublishEndpoint(endpoint) => {
                    if let Some(session) = &mut self.session {
                        session.set_endpoint(now(), Endpoint::clone(&endpoint));
                    }
                    self.endpoint = endpoint;
                }
                Event::PublishShares(shares) => {
                    self.own_shares = shares;
                    self.announce_shares(Some(self.own_shares.to_vec()));
                }
                Event::PublishCatalog => self.announce_shares(None),
                Event::Contacts { command, .. } => self.contact_command(command),
                Event::Stop(Part::Xmpp(_)) => {
                    self.stopping = true;
                    if let Some(session) = self.session.as_mut().filter(|_| self.live) {
                        session.part(now(), false);
                    }
                }
                _ => {}
            }
        }
    }
}

pub(super) fn full_jid(account: &Account) -> Result<jid::FullJid, String> {
    let jid: Jid = account.jid.parse().map_err(|error| format!("{} is no JID: {error}", account.jid))?;
    match jid.try_into_full() {
        Ok(full) => Ok(full),
        Err(bare) => bare
            .with_resource_str(&account.resource)
            .map_err(|error| format!("{} is no resource: {error}", account.resource)),
    }
}

pub(super) fn account_options(account: &Account) -> Result<AccountOptions, String> {
    let full = full_jid(account)?;
    let resource = full.resource().to_string();
    let mut options = AccountOptions::new(full.into(), account.password.clone(), resource);
    options.server.clone_from(&account.server);
    options.tls = account.direct_tls.map(|direct| if direct { Tls::Direct } else { Tls::StartTls });
    options.ca_file.clone_from(&account.ca_file);
    options.allow_plain = account.allow_plain;
    Ok(options)
}
