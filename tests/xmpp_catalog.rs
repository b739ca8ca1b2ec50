//! Lists that are too long for XMPP, through real servers (Prosody, ejabberd) and between real engines: what they cost, that nothing of it
//! shows as a torrent, and what becomes of catalogs that are not what was announced.
#![cfg(feature = "xmpp")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a failure is a failed test"
)]

mod common;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bitween::bus::Subscriber;
use bitween::component::bt::BtOptions;
use bitween::component::catalogs::{CatalogOptions, CatalogsThread};
use bitween::component::event::{Account, Bus, Event, Hidden, NewTorrent, Topic, TorrentSource};
use bitween::component::people::{PeopleOptions, PeopleThread};
use bitween::component::snapshot::{AccountState, Contacts, OwnCatalog, Published, Torrents};
use bitween::component::xmpp::{XmppThread, XmppThreadOptions};
use bitween::node::Engine;
use bitween::proto::xmpp::complaints::AddressRules;
use bitween::share::{AddressOptions, ContactLimits, catalog};
use bitween::storage::CheckMode;
use bitween::types::{AccountKey, Catalog, InfoHash, Share};
use common::ejabberd::{self, Ejabberd};
use common::prosody::{Prosody, ProsodyOptions, installed};
use common::{loopback, wait_for};
use tempfile::TempDir;

/// Longer than anything here takes; only a failure waits that long.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two catalogs here.
const PAUSE: Duration = Duration::from_millis(500);
/// Nothing has passed for so long: all is said.
const QUIET: Duration = Duration::from_millis(2500);

const ALICE: &str = "alice@localhost";

/// A line between two programs that counts what passes, in both directions together.
struct Counter {
    address: SocketAddr,
    passed: Arc<AtomicU64>,
}

impl Counter {
    fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let passed = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&passed);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(target) else { continue };
                for (from, to) in [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)] {
                    let counted = Arc::clone(&counted);
                    std::thread::spawn(move || carry(from, to, &counted));
                }
            }
        });
        Self { address, passed }
    }

    fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, passed: &AtomicU64) {
    let mut slice = [0; 16 * 1024];
    while let Ok(len @ 1..) = from.read(&mut slice) {
        passed.fetch_add(len as u64, Ordering::Relaxed);
        if to.write_all(&slice[..len]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

/// Everything of a daemon that has to do with contacts and torrents, but its interface and its list of torrents.
struct Node {
    bus: Bus,
    contacts: Published<Contacts>,
    own: Published<OwnCatalog>,
    lifecycle: Subscriber<Event>,
    /// Between this node and its server.
    line: Counter,
    /// Between contacts and this node.
    door: Counter,
    // In the order in which they are stopped.
    _thread: XmppThread,
    _catalogs: Option<CatalogsThread>,
    _people: PeopleThread,
    engine: Engine,
}

/// Where a server is, and who vouches for it.
struct Place {
    address: SocketAddr,
    ca_file: PathBuf,
}

impl Place {
    fn of(server: &Prosody) -> Self {
        Self { address: loopback(server.port()), ca_file: server.ca_file() }
    }
}

struct Given<'a> {
    user: &'a str,
    folder: &'a Path,
    /// It makes and fetches catalogs.
    catalogs: bool,
}

impl Node {
    fn start(place: &Place, user: &str, folder: &TempDir) -> Self {
        Self::start_with(place, &Given { user, folder: folder.path(), catalogs: true })
    }

    fn start_with(place: &Place, given: &Given<'_>) -> Self {
        if let Ok(filter) = std::env::var("BITWEEN_LOG") {
            let _ = bitween::logging::init(filter.parse().unwrap(), false);
        }
        let (bus, contacts, torrents) =
            (Bus::new(), Published::<Contacts>::default(), Published::<Torrents>::default());
        let lifecycle = bus.subscribe("test", &[Topic::Lifecycle], 1000);
        let bt = BtOptions {
            bind: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            state: Some(given.folder.join("resume.sqlite")),
            ..BtOptions::default()
        };
        let engine = Engine::start_on(bt, bus.clone(), contacts.clone(), torrents.clone()).unwrap();
        let options = PeopleOptions {
            addresses: AddressOptions { loopback: true, ..AddressOptions::default() },
            allow_loopback: true,
            allow_low_ports: false,
            limits: ContactLimits::default(),
            facts: None,
        };
        let people = PeopleThread::start(&options, bus.clone(), contacts.clone(), &torrents).unwrap();
        let own = Published::default();
        let catalogs = given.catalogs.then(|| {
            let options = CatalogOptions::new(given.folder.join("catalog"));
            let options = CatalogOptions { pause: PAUSE, patience: Duration::from_secs(3), ..options };
            CatalogsThread::start(options, bus.clone(), contacts.clone(), torrents.clone(), own.clone()).unwrap()
        });
        let line = Counter::to(place.address);
        let options = XmppThreadOptions {
            key: AccountKey::FIRST,
            account: Some(Arc::new(account(place, given.user, line.address))),
            facts: None,
            rules: AddressRules { loopback: true, low_ports: false },
            catalog: Some(own.clone()),
        };
        let thread = XmppThread::start(options, bus.clone(), &contacts, &torrents).unwrap();
        let door = Counter::to(loopback(engine.port()));
        bus.publish(Event::SetPort(door.address.port())).unwrap();
        let node = Self {
            bus,
            contacts,
            own,
            lifecycle,
            line,
            door,
            _thread: thread,
            _catalogs: catalogs,
            _people: people,
            engine,
        };
        let is_online = |contacts: &Contacts| contacts.account().is_some_and(|a| a.state == AccountState::Online);
        node.until("it is online", is_online);
        node
    }

    fn share(&self, shares: &[Share]) {
        self.bus.publish(Event::PublishShares(shares.into())).unwrap();
    }

    fn until(&self, what: &str, condition: impl Fn(&Contacts) -> bool) {
        wait_for(what, PATIENCE, || condition(&self.contacts.read()).then_some(()));
    }

    /// How many shares of somebody are known.
    fn knows(&self, jid: &str) -> usize {
        let contacts = self.contacts.read();
        contacts.shares.contact(jid).map_or(0, |known| known.resources().map(|(_, r)| r.share_count()).sum())
    }

    fn until_knows(&self, jid: &str, count: usize) {
        wait_for(&format!("{count} shares of {jid}"), PATIENCE, || (self.knows(jid) == count).then_some(()));
    }

    fn names_of(&self, jid: &str) -> Vec<String> {
        let contacts = self.contacts.read();
        let resources = contacts.shares.contact(jid).into_iter().flat_map(|known| known.resources());
        resources.flat_map(|(_, resource)| resource.shares()).map(|share| share.name.to_owned()).collect()
    }

    /// Announces a catalog that nobody has made.
    fn announce(&self, shares: &Arc<[Share]>, catalog: Catalog) {
        self.own.publish(Arc::new(OwnCatalog { shares: Arc::clone(shares), catalog: Some(catalog), failed: false }));
        self.bus.publish(Event::PublishCatalog).unwrap();
    }

    /// Nothing of catalogs shows among torrents.
    fn shows_no_torrent(&self) {
        assert!(self.engine.torrents().list.is_empty());
        assert!(self.engine.torrents().shares.is_empty());
        assert!(self.lifecycle.try_recv().is_none(), "nobody else hears of it");
    }
}

fn account(place: &Place, user: &str, line: SocketAddr) -> Account {
    Account {
        jid: format!("{user}@localhost"),
        resource: format!("bitween-{user}"),
        password: user.to_owned().into(),
        server: Some(line.to_string()),
        direct_tls: Some(false),
        ca_file: Some(place.ca_file.clone()),
        allow_plain: false,
        publish_original: true,
        accept_from: Vec::new(),
        stun: false,
    }
}

/// Waits until nothing passes any more, and tells what has passed: XMPP of both, BitTorrent.
fn settled(alice: &Node, bob: &Node) -> (u64, u64, u64) {
    let counted = || (alice.line.passed(), bob.line.passed(), alice.door.passed() + bob.door.passed());
    let (mut last, mut since) = (counted(), now());
    wait_for("quiet", PATIENCE, || {
        if counted() != last {
            (last, since) = (counted(), now());
        }
        (since.elapsed() >= QUIET).then_some(last)
    })
}

fn many(count: u32) -> Vec<Share> {
    let mut rng = fastrand::Rng::with_seed(3);
    let share = |n| Share {
        info_hash: InfoHash::new(std::array::from_fn(|_| rng.u8(..))),
        name: format!("Holiday recording number {n:015}").into(),
        size: 700 << 20,
        files: 12,
        complete: n % 3 != 0,
    };
    let mut shares: Vec<Share> = (0..count).map(share).collect();
    shares.sort_unstable();
    shares
}

fn server() -> Prosody {
    Prosody::start(ProsodyOptions {
        users: &[("alice", "alice"), ("bob", "bob"), ("carol", "carol"), ("dave", "dave"), ("erin", "erin")],
        contacts: &[("alice", "bob"), ("bob", "carol"), ("bob", "dave"), ("bob", "erin")],
        limits: true,
        ..ProsodyOptions::default()
    })
}

#[allow(clippy::disallowed_methods, reason = "a test against a real server runs on real time")]
fn now() -> Instant {
    Instant::now()
}

#[test]
fn a_hundred_thousand_shares_cost_xmpp_little_and_a_change_costs_little_in_all() {
    if installed() {
        let server = server();
        long_lists_are_cheap(&Place::of(&server));
    }
}

#[test]
fn a_hundred_thousand_shares_cost_little_on_ejabberd() {
    if ejabberd::installed() {
        let server = Ejabberd::start(&[("alice", "alice"), ("bob", "bob")], &[("alice", "bob")]);
        long_lists_are_cheap(&Place { address: server.server().parse().unwrap(), ca_file: server.ca_file() });
    }
}

fn long_lists_are_cheap(place: &Place) {
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let alice = Node::start(place, "alice", &folders[0]);
    let bob = Node::start(place, "bob", &folders[1]);
    bob.until("alice can be reached", |contacts| contacts.shares.contact(ALICE).is_some());
    let mut shares = many(100_001);
    let last = shares.remove(77_777);

    let (to_alice, to_bob, _) = settled(&alice, &bob);
    let start = now();
    alice.share(&shares);
    bob.until_knows(ALICE, 100_000);
    let seconds = start.elapsed().as_secs_f64();
    alice.until("it is confirmed", |contacts| contacts.announced.len() == 100_000);
    let (alice_after, bob_after, bt) = settled(&alice, &bob);
    let (alice_xmpp, bob_xmpp) = (alice_after - to_alice, bob_after - to_bob);
    println!("100,000 shares: {seconds:.2} s, XMPP {alice_xmpp} + {bob_xmpp} bytes with TLS, BitTorrent {bt} bytes");
    assert!(bob_xmpp < 4096, "{bob_xmpp} bytes for whoever reads");
    assert!(alice_xmpp < 8192, "{alice_xmpp} bytes for whoever announces, answers included");

    let before = settled(&alice, &bob);
    shares.push(last.clone());
    shares.sort_unstable();
    let start = now();
    alice.share(&shares);
    bob.until_knows(ALICE, 100_001);
    let seconds = start.elapsed().as_secs_f64();
    let after = settled(&alice, &bob);
    let (xmpp, bt) = (after.0 + after.1 - before.0 - before.1, after.2 - before.2);
    println!("one more: {seconds:.2} s, XMPP {xmpp} bytes of both, BitTorrent {bt} bytes");
    assert!(xmpp + bt < 64 * 1024, "{xmpp} + {bt} bytes");
    let contacts = bob.contacts.read();
    assert_eq!(contacts.shares.share(&last.info_hash).map(|share| share.to_share()), Some(last));
    for node in [&alice, &bob] {
        node.shows_no_torrent();
    }

    // Whoever comes back finds on the disk what it had.
    drop((contacts, bob));
    let bob = Node::start(place, "bob", &folders[1]);
    bob.until_knows(ALICE, 100_001);
    let fetched = settled(&alice, &bob).2 - alice.door.passed();
    assert_eq!((fetched, alice.door.passed() - after.2), (0, 0), "nothing is fetched again");
    // So does whoever shares: the same list has the same name.
    drop(alice);
    let alice = Node::start(place, "alice", &folders[0]);
    alice.share(&shares);
    alice.until("it is confirmed", |contacts| contacts.announced.len() == 100_001);
    bob.until("alice is back", |contacts| contacts.shares.contact(ALICE).is_some_and(|known| known.is_online()));
    settled(&alice, &bob);
    assert_eq!((bob.knows(ALICE), alice.door.passed()), (100_001, 0));

    alice.share(&shares[..3]);
    bob.until_knows(ALICE, 3);
    alice.share(&[]);
    bob.until_knows(ALICE, 0);
}

#[test]
fn what_was_missed_is_fetched_later_and_pieces_that_are_the_same_are_not() {
    if !installed() {
        return;
    }
    let server = server();
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let alice = Node::start(&Place::of(&server), "alice", &folders[0]);
    let bob = Node::start(&Place::of(&server), "bob", &folders[1]);
    let mut shares = many(20_000);
    alice.share(&shares);
    bob.until_knows(ALICE, 20_000);
    drop(bob);
    for share in &mut shares[100..103] {
        share.complete = !share.complete;
    }
    alice.share(&shares);
    let bob = Node::start(&Place::of(&server), "bob", &folders[1]);
    bob.until_knows(ALICE, 20_000);
    let changed = shares[101].clone();
    bob.until("what changed meanwhile", |contacts| {
        contacts.shares.share(&changed.info_hash).is_some_and(|share| share.complete == changed.complete)
    });
    settled(&alice, &bob);
    assert!(alice.door.passed() < (2 << 20) + 64 * 1024, "{} bytes in all", alice.door.passed());
}

/// Serves this file, whatever it is, and says under which name.
fn serve(node: &Node, folder: &Path, bytes: &[u8]) -> InfoHash {
    std::fs::write(folder.join(catalog::FILE_NAME), bytes).unwrap();
    let metainfo = catalog::describe(bytes).unwrap();
    let info_hash = metainfo.info_hash;
    let torrent = NewTorrent {
        seed: true,
        check: CheckMode::Full,
        hidden: Some(Hidden { size: bytes.len() as u64 }),
        ..NewTorrent::download(TorrentSource::Metainfo(Arc::new(metainfo)), folder)
    };
    node.engine.add(torrent).unwrap();
    info_hash
}

#[test]
fn a_catalog_that_is_not_what_was_announced_counts_for_nothing_and_is_complained_about_once() {
    if !installed() {
        return;
    }
    let server = server();
    let folder = TempDir::new().unwrap();
    let bob = Node::start(&Place::of(&server), "bob", &folder);
    let (few, long): (Arc<[Share]>, Arc<[Share]>) = (many(3).into(), many(2_000).into());
    let good = catalog::build(&long, None).bytes;
    let nonsense: Vec<u8> = std::iter::repeat_with(|| 7).take(good.len()).collect();
    // What is served, and what is said of it.
    let cases: [(&str, &[u8], u64, u64, &str); 4] = [
        ("carol", &good, 16 * 1024, 2_000, "not one file of 16384 bytes"),
        ("dave", &nonsense, good.len() as u64, 2_000, "does not begin as"),
        ("erin", &good, good.len() as u64, 1_999, "2000 shares, not 1999"),
        ("alice", &good, good.len() as u64 + 1, 2_000, "never"),
    ];
    let mut nodes = Vec::new();
    for (user, bytes, size, count, _) in &cases {
        let (own, content) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let node = Node::start_with(&Place::of(&server), &Given { user, folder: own.path(), catalogs: false });
        let jid = format!("{user}@localhost");
        node.share(&few);
        bob.until_knows(&jid, 3);
        let info_hash = serve(&node, content.path(), bytes);
        node.announce(&long, Catalog { info_hash, size: *size, count: *count });
        node.share(&long);
        nodes.push((node, own, content));
    }
    for (user, .., reason) in &cases {
        let complaints = |contacts: &Contacts| {
            let about = format!("{user}@localhost/bitween-{user} ");
            contacts.warnings.iter().filter(|line| line.contains(&about) && line.contains(reason)).count()
        };
        bob.until(&format!("{user}: {reason}"), |contacts| complaints(contacts) == 1);
        assert_eq!(bob.names_of(&format!("{user}@localhost")).len(), 3, "the last good list of {user} stays");
    }
    // Nobody serves this one.
    let (alice, ..) = nodes.last().unwrap();
    alice.announce(&long, Catalog { info_hash: InfoHash::new([9; 20]), size: 128 * 1024, count: 2_000 });
    bob.until("nobody answers", |contacts| {
        contacts.warnings.iter().any(|line| line.contains(ALICE) && line.contains("answer"))
    });
    assert_eq!(bob.knows(ALICE), 3);
    // The truth at last.
    let content = TempDir::new().unwrap();
    let built = catalog::build(&many(2_001), None).bytes;
    let info_hash = serve(alice, content.path(), &built);
    alice.announce(&long, Catalog { info_hash, size: built.len() as u64, count: 2_001 });
    bob.until_knows(ALICE, 2_001);
    bob.shows_no_torrent();
    let sizes = std::fs::read_dir(folder.path().join("catalog")).unwrap().count();
    assert!(sizes <= 4, "{sizes} folders");
}
