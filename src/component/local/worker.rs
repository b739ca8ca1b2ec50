//! The thread's loop: who calls, who is called, what comes in, and what it is about.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;

use super::LocalOptions;
use super::commands::Waiting;
use super::identity::Identity;
use super::mdns::{Found, Mdns, Service};
use super::meeting::{Named, Neighbor};
use super::store::Store;
use super::stream::Stream;
use super::telling;
use crate::bus::{Clock, Reply, Subscriber, SystemClock};
use crate::component::event::{Bus, Event, Part, Told};
use crate::component::snapshot::{Contacts, LocalStatus, Published, Torrents};
use crate::component::teller::Teller;
use crate::proto::xmpp::local::{LocalName, LocalSession, OwnItems, Role};
use crate::types::{Endpoint, Host, Share, SortedMap, Via};

/// Streams at the same time, and those of one host.
const MAX_STREAMS: usize = 64;
const MAX_PER_HOST: usize = 8;

/// Changes that come one after the other are told at once.
const GATHER: Duration = Duration::from_millis(150);

/// A search that has ended, or could not begin, begins again after this time.
const AGAIN: Duration = Duration::from_secs(60);

/// While the reader has much to read, this thread reads no more.
const UNSAID_PAUSE: Duration = Duration::from_millis(2);

/// The reader takes a moment; more than this only if it hangs.
const KNOWN_WITHIN: Duration = Duration::from_secs(2);

/// How long the goodbyes may take.
const GOODBYE: Duration = Duration::from_millis(300);

/// News of mDNS and of name look-ups that may wait.
const NEWS: usize = 64;

/// A thread with nothing to wait for looks around all the same.
const LOOK_ANYWAY: Duration = Duration::from_secs(600);

const WAKE: Token = Token(0);
const LISTEN: Token = Token(1);
const FIRST_STREAM: usize = 2;

/// What other threads of this component found.
pub(super) enum News {
    Found(Found),
    /// Where a neighbour of the configuration is: its place in the list.
    LookedUp(usize, io::Result<Vec<SocketAddr>>),
}

pub(super) struct Worker {
    pub(super) options: LocalOptions,
    pub(super) identity: Identity,
    pub(super) service: Service,
    /// The name to begin with, and how many times it had to be changed.
    base: LocalName,
    renames: u32,
    poll: Poll,
    waker: Arc<Waker>,
    listener: TcpListener,
    inbox: Subscriber<Event>,
    pub(super) teller: Teller,
    news: (Sender<News>, Receiver<News>),
    mdns: Option<Mdns>,
    /// When neighbours are looked for, if that has not begun or has ended.
    discover_due: Option<Instant>,
    search_failed: bool,
    pub(super) store: Store,
    pub(super) streams: Slab<Stream>,
    pub(super) neighbors: SortedMap<LocalName, Neighbor>,
    pub(super) named: Vec<Named>,
    pub(super) waiting: Vec<Waiting>,
    endpoint: Arc<Endpoint>,
    /// Where peers can call.
    peers_port: u16,
    pub(super) own_shares: Arc<[Share]>,
    pub(super) items: Arc<OwnItems>,
    /// What is announced has changed, and is told then.
    items_due: Option<Instant>,
    /// Shares that were left out for want of room, as the user was told last.
    cut: usize,
    /// What other threads know of neighbours is out of date.
    pub(super) stale: bool,
    pub(super) told: Option<Arc<LocalStatus>>,
    buffer: Box<[u8]>,
    stopping: bool,
}

/// What the thread sleeps in, and what wakes it.
pub(super) fn poll() -> io::Result<(Poll, Arc<Waker>)> {
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
    Ok((poll, waker))
}

pub(super) fn now() -> Instant {
    SystemClock.now()
}

impl Worker {
    pub(super) fn new(
        options: LocalOptions,
        poll: Poll,
        waker: Arc<Waker>,
        inbox: Subscriber<Event>,
        bus: Bus,
        contacts: &Published<Contacts>,
        torrents: &Published<Torrents>,
    ) -> io::Result<Self> {
        let mut listener = listen(&options)?;
        poll.registry().register(&mut listener, LISTEN, Interest::READABLE)?;
        let identity = Identity::new(&options.seed).map_err(io::Error::other)?;
        let base = own_name(options.name.as_deref());
        let host: String = identity.fingerprint.to_string().chars().take(8).collect();
        let service = Service {
            name: base.clone(),
            host: format!("bitween-{host}.local."),
            port: listener.local_addr()?.port(),
            nick: options.name.clone(),
        };
        // Read after the subscription was made, so that nothing falls between the two.
        let torrents = torrents.read();
        let (endpoint, own_shares) = (Arc::clone(&contacts.read().endpoint), Arc::clone(&torrents.shares));
        let store = Store::open(&options.accepted);
        let named = options.neighbors.iter().map(|address| Named::new(address.clone(), now())).collect();
        let mut worker = Self {
            items: Arc::new(OwnItems::new(&telling::endpoint(&endpoint, torrents.port), &own_shares, None)),
            options,
            identity,
            service,
            base,
            renames: 0,
            poll,
            waker,
            listener,
            inbox,
            teller: Teller::new(bus, Via::Local),
            news: bounded(NEWS),
            mdns: None,
            discover_due: Some(now()),
            search_failed: false,
            store,
            streams: Slab::new(),
            neighbors: SortedMap::new(),
            named,
            waiting: Vec::new(),
            endpoint,
            peers_port: torrents.port,
            own_shares,
            items_due: Some(now()),
            cut: 0,
            stale: true,
            told: None,
            buffer: vec![0; 16 * 1024].into_boxed_slice(),
            stopping: false,
        };
        worker.remember();
        worker.begin_to_tell();
        Ok(worker)
    }

    pub(super) const fn port(&self) -> u16 {
        self.service.port
    }

    /// Waits until what was told can be read.
    pub(super) fn be_known(&mut self) {
        self.tell();
        let (reply, known) = Reply::channel();
        self.teller.answer(reply, Ok(()));
        let _ = known.wait(KNOWN_WITHIN);
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(128);
        loop {
            self.turn();
            if self.stopping {
                break;
            }
            let pause = self.poll_timeout().saturating_duration_since(now());
            match self.poll.poll(&mut events, Some(pause)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    log::error!("the thread of the local network cannot go on: {error}");
                    break;
                }
                _ => {}
            }
            for event in &events {
                match event.token() {
                    WAKE => {}
                    LISTEN => self.answer_calls(),
                    Token(token) => {
                        if let Some(stream) = self.streams.get_mut(token - FIRST_STREAM) {
                            stream.woken();
                        }
                    }
                }
            }
        }
        self.say_goodbye(&mut events);
    }

    /// Everything that can be done now.
    fn turn(&mut self) {
        self.commands();
        while let Ok(news) = self.news.1.try_recv() {
            match news {
                News::Found(found) => self.found(found),
                News::LookedUp(place, outcome) => self.looked_up(place, outcome),
            }
        }
        let now = now();
        if self.discover_due.take_if(|due| *due <= now).is_some() {
            self.discover();
        }
        if self.items_due.take_if(|due| *due <= now).is_some() {
            self.make_items();
        }
        self.call_who_is_due(now);
        // No more is read before all that was read is told.
        let read = self.teller.flush();
        let keys: Vec<usize> = self.streams.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.turn_of(now, key, read);
        }
        self.give_up_waiting(now);
        self.tell();
    }

    /// Tells neighbours what is announced now. A list that is too long is cut while its first catalog is being made.
    fn make_items(&mut self) {
        let own = self.options.catalog.as_ref().map(Published::read);
        let catalog = own.as_ref().and_then(|own| own.catalog);
        let endpoint = telling::endpoint(&self.endpoint, self.peers_port);
        self.items = Arc::new(OwnItems::new(&endpoint, &self.own_shares, catalog.as_ref()));
        for (_, stream) in &mut self.streams {
            stream.session.set_items(Arc::clone(&self.items));
        }
        let is_coming = own.is_some_and(|own| own.catalog.is_none() && !own.failed);
        let cut = if is_coming { 0 } else { self.items.left_out() };
        if std::mem::replace(&mut self.cut, cut) != cut && cut > 0 {
            self.teller.tell(Told::Warning(format!(
                "{cut} of {} shares are not announced in the local network: the list is too long",
                self.own_shares.len()
            )));
        }
    }

    fn turn_of(&mut self, now: Instant, key: usize, read: bool) {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.turn(now, &self.identity, read, &mut self.buffer);
        }
        while let Some(heard) = self.streams.get_mut(key).and_then(Stream::poll_heard) {
            self.heard(now, key, heard);
        }
        if let Some(stream) = self.streams.get_mut(key) {
            // What was heard may have made something to say.
            stream.turn(now, &self.identity, false, &mut self.buffer);
        }
    }

    fn poll_timeout(&mut self) -> Instant {
        let unsaid = (!self.teller.flush()).then(|| now() + UNSAID_PAUSE);
        let streams = self.streams.iter().map(|(_, stream)| stream.poll_timeout());
        let named = self.named.iter().filter_map(|named| named.dial.due());
        let found = self.neighbors.values().filter_map(|neighbor| neighbor.dial.due());
        let waiting = self.waiting.iter().map(|waiting| waiting.until);
        let others = [self.items_due, self.discover_due].into_iter().flatten();
        let next = streams.chain(named).chain(found).chain(waiting).chain(others);
        // With more to tell than can be told, nothing else is done meanwhile.
        unsaid.unwrap_or_else(|| next.fold(now() + LOOK_ANYWAY, Instant::min))
    }

    fn commands(&mut self) {
        self.inbox.rearm();
        while let Some(event) = self.inbox.try_recv() {
            match event {
                Event::SetPort(port) => {
                    self.peers_port = port;
                    self.items_due.get_or_insert(now() + GATHER);
                }
                Event::PublishEndpoint(endpoint) => {
                    self.endpoint = endpoint;
                    self.items_due.get_or_insert(now() + GATHER);
                }
                Event::PublishCatalog => {
                    self.items_due.get_or_insert(now() + GATHER);
                }
                Event::PublishShares(shares) => {
                    self.own_shares = shares;
                    self.items_due.get_or_insert(now() + GATHER);
                    self.tell_confirmed();
                }
                Event::Neighbor(command) => self.command(command),
                Event::Stop(Part::Local) => self.stopping = true,
                _ => {}
            }
        }
    }

    fn discover(&mut self) {
        if self.options.loopback_only {
            return;
        }
        let (news, waker) = (self.news.0.clone(), Arc::clone(&self.waker));
        let found = move |found| news.send(News::Found(found)).is_ok() && waker.wake().is_ok();
        match Mdns::start(&self.service, found) {
            Ok(mdns) => self.mdns = Some(mdns),
            Err(error) => {
                debug!(target: "bitween::local", "neighbours cannot be looked for: {error}");
                self.discover_again();
            }
        }
    }

    /// The search cannot begin, or has ended.
    pub(super) fn discover_again(&mut self) {
        if !std::mem::replace(&mut self.search_failed, true) {
            log::warn!("neighbours cannot be looked for; it is tried again, and those that are named are called");
        }
        self.mdns = None;
        self.discover_due = Some(now() + AGAIN);
    }

    /// Somebody else in this network has our name: take the next one.
    pub(super) fn take_another_name(&mut self) {
        self.renames += 1;
        self.service.name = self.base.numbered(self.renames);
        log::info!("the name {} is taken in this network; called {} now", self.base, self.service.name);
        if let Some(Err(error)) = self.mdns.as_mut().map(|mdns| mdns.register(&self.service)) {
            log::warn!("this node cannot be found by its neighbours: {error}");
        }
        self.stale = true;
    }

    fn answer_calls(&mut self) {
        loop {
            match self.listener.accept() {
                Ok((socket, address)) => {
                    let host = Host::of(address.ip());
                    let same = self.streams.iter().filter(|(_, stream)| Host::of(stream.address.ip()) == host);
                    if same.count() >= MAX_PER_HOST && !host.is_loopback() || !self.make_room() {
                        debug!(target: "bitween::local", "too many streams: {address} is turned away");
                        continue;
                    }
                    let canonical = SocketAddr::new(address.ip().to_canonical(), address.port());
                    let address = if address.ip() == canonical.ip() { address } else { canonical };
                    if let Err(error) = self.begin(socket, address, Role::Called, None) {
                        debug!(target: "bitween::local", "{address}: {error}");
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    if error.kind() != io::ErrorKind::WouldBlock {
                        log::warn!("a neighbour's call cannot be answered: {error}");
                    }
                    return;
                }
            }
        }
    }

    /// Room for one more stream: strangers go first.
    fn make_room(&mut self) -> bool {
        if self.streams.len() < MAX_STREAMS {
            return true;
        }
        let is_stranger = |stream: &Stream| stream.fingerprint.is_none_or(|it| self.store.neighbors.get(&it).is_none());
        let stranger = self.streams.iter().find(|(_, stream)| is_stranger(stream)).map(|(key, _)| key);
        let Some(key) = stranger else { return false };
        self.over(now(), key, "others need the place");
        true
    }

    /// Calls an address. The key of the stream, unless that is hopeless at once.
    pub(super) fn call(&mut self, address: SocketAddr, whom: Option<LocalName>) -> io::Result<usize> {
        if !self.make_room() {
            return Err(io::Error::other("too many streams"));
        }
        let socket = TcpStream::connect(address)?;
        self.begin(socket, address, Role::Caller, whom)
    }

    fn begin(
        &mut self,
        mut socket: TcpStream,
        address: SocketAddr,
        role: Role,
        whom: Option<LocalName>,
    ) -> io::Result<usize> {
        let entry = self.streams.vacant_entry();
        let key = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut socket, Token(key + FIRST_STREAM), interest)?;
        let session = LocalSession::new(role, self.service.name.clone(), whom, Arc::clone(&self.items));
        entry.insert(Stream::new(now(), socket, address, session, role));
        Ok(key)
    }

    /// Takes a stream away.
    pub(super) fn drop_stream(&mut self, key: usize) -> Option<Stream> {
        let mut stream = self.streams.try_remove(key)?;
        let _ = self.poll.registry().deregister(stream.socket());
        Some(stream)
    }

    /// Looks a neighbour of the configuration up, beside this thread.
    pub(super) fn look_up(&self, place: usize, address: String) {
        let (news, waker) = (self.news.0.clone(), Arc::clone(&self.waker));
        let work = move || {
            let found = std::net::ToSocketAddrs::to_socket_addrs(&address).map(Iterator::collect);
            let _ = news.send(News::LookedUp(place, found));
            let _ = waker.wake();
        };
        if let Err(error) = std::thread::Builder::new().name("local-dns".to_owned()).spawn(work) {
            log::warn!("a neighbour's name cannot be looked up: {error}");
        }
    }

    fn say_goodbye(mut self, events: &mut Events) {
        let start = now();
        self.streams.iter_mut().for_each(|(_, stream)| stream.close(start));
        while !self.streams.is_empty() && now() < start + GOODBYE {
            let keys: Vec<usize> = self.streams.iter().map(|(key, _)| key).collect();
            keys.into_iter().for_each(|key| self.turn_of(now(), key, true));
            if !self.streams.is_empty() && self.poll.poll(events, Some(GOODBYE / 10)).is_err() {
                break;
            }
            self.streams.iter_mut().for_each(|(_, stream)| stream.woken());
        }
        // Whoever sends news stops when nobody hears them.
        drop(self.news);
        if let Some(mdns) = self.mdns.take() {
            mdns.stop();
        }
    }
}

/// On all addresses; the port of the last run if it is free.
fn listen(options: &LocalOptions) -> io::Result<TcpListener> {
    let ports = if options.port == 0 { [options.last_port, 0] } else { [options.port; 2] };
    let ips: &[IpAddr] = if options.loopback_only {
        &[IpAddr::V4(Ipv4Addr::LOCALHOST)]
    } else {
        &[IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)]
    };
    let mut failure = None;
    for port in ports {
        for ip in ips {
            match TcpListener::bind(SocketAddr::new(*ip, port)) {
                Ok(listener) => return Ok(listener),
                Err(error) => failure = Some(error),
            }
        }
    }
    Err(failure.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
}

/// What the user wants to be called, or what the system says.
fn own_name(wanted: Option<&str>) -> LocalName {
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if let Some(name) = wanted.and_then(LocalName::parse) {
        return name;
    }
    let user = wanted.map(str::to_owned).or_else(|| {
        let variables = ["USER", "LOGNAME"].into_iter();
        variables.filter_map(std::env::var_os).map(|name| name.to_string_lossy().into_owned()).next()
    });
    LocalName::made_of(&user.unwrap_or_default(), &machine)
}
