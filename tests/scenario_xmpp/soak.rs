//! For a while everything goes wrong that goes wrong in years: cables are pulled, connections are closed, cut and
//! forgotten, the server stops or dies and comes back, and meanwhile three people share, take back and fetch, and a
//! fourth uses a program that speaks the original's format. In the end everybody knows what is true, can fetch it, and
//! nothing has leaked.
//!
//! Each person has a machine in a small network of namespaces, which needs root (see `common/network.rs`); the server is
//! at its switch. `BITWEEN_SOAK_SECONDS` says for how long things go wrong (40 if it says nothing; from 300 on, packets
//! are lost for longer than a daemon waits for an answer). `BITWEEN_SOAK_SEED` repeats the choices of a run that failed;
//! every run prints its own. A long run is best made alone:
//!
//! ```text
//! BITWEEN_SOAK_SECONDS=1800 cargo test --test scenario_xmpp soak::prosody -- --nocapture
//! ```
#![cfg(target_os = "linux")]

mod person;
mod size;

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;

use self::person::Person;
use self::size::Size;
use crate::PASSWORD;
use crate::common::network::Network;
use crate::common::original::Original;
use crate::common::server::{AnyServer, Kind};

const PEOPLE: [&str; 3] = ["alice", "bob", "carol"];

/// Who uses the other program.
const DAVE: &str = "dave@localhost";

/// How long things go wrong unless the environment says something else.
const SECONDS: u64 = 40;

/// In a run this long, packets are lost for longer than a daemon waits for an answer (a minute, and half a one), and a
/// daemon has grown to its size after a quarter of it.
const LONG: Duration = Duration::from_secs(300);

/// The longest time for which packets are lost, in a long run and in a short one.
const SILENCE: [Duration; 2] = [Duration::from_secs(100), Duration::from_secs(12)];

/// How much more memory a daemon may need at the end than after the first part, in KiB: in a long run, and in a short
/// one, in which it is still growing to its size.
const MORE_MEMORY: [u64; 2] = [1024, 4096];

/// The server lives that long at most.
const SERVER_LIFE: Duration = Duration::from_secs(30);

/// Something happens that often.
const STEP: Duration = Duration::from_millis(400);

/// Within this time everything is right again: the longest pause between two attempts, and some more.
const CALM: Duration = Duration::from_secs(400);

/// How often that is looked at.
const LOOK: Duration = Duration::from_secs(1);

struct Soak {
    server: AnyServer,
    people: [Person; 3],
    original: Original,
    originals: BTreeSet<String>,
    random: Rng,
    restarts: u32,
    compared: u32,
    span: Duration,
}

impl Soak {
    fn is_long(&self) -> bool {
        self.span >= LONG
    }

    /// In how many parts things go wrong. Sizes are compared with those after the first.
    fn parts(&self) -> u32 {
        if self.is_long() { 4 } else { 2 }
    }

    /// A part of the whole: things go wrong, and then no more. How large the daemons are in the end.
    fn part(&mut self) -> [Size; 3] {
        let end = Instant::now() + self.span / self.parts();
        let life = SERVER_LIFE.min(self.span / 5);
        let mut server_ends = Instant::now() + life;
        while Instant::now() < end {
            self.step();
            if Instant::now() >= server_ends {
                self.restart_server();
                server_ends = Instant::now() + life;
            }
            thread::sleep(STEP);
        }
        self.calm_down();
        let sizes = self.people.each_mut().map(Person::size);
        sizes.iter().zip(PEOPLE).for_each(|(size, name)| eprintln!("{name}: {size}"));
        sizes
    }

    fn step(&mut self) {
        let silence = if self.is_long() { SILENCE[0] } else { SILENCE[1] };
        for person in &mut self.people {
            person.trouble(&mut self.random, silence);
        }
        let person = &mut self.people[self.random.usize(..PEOPLE.len())];
        match self.random.u32(..8) {
            0..4 => person.change(&mut self.random),
            4 => person.fetch(&mut self.random),
            5 if self.originals.len() < 20 => {
                let hash: String = (0..40).map(|_| self.random.digit(16)).collect();
                self.original.share(&hash, &format!("original {}", self.originals.len()));
                self.originals.insert(hash);
            }
            _ => {}
        }
    }

    fn restart_server(&mut self) {
        self.restarts += 1;
        if self.random.bool() {
            self.server.stop();
        } else {
            self.server.kill();
        }
        thread::sleep(Duration::from_millis(self.random.u64(..2_000)));
        self.server.resume();
    }

    /// Ends all trouble, and waits until everybody sees of everybody what that one shares.
    fn calm_down(&mut self) {
        self.people.iter_mut().for_each(Person::mend);
        let start = Instant::now();
        loop {
            let wrong = self.wrong();
            if wrong.is_empty() {
                eprintln!("all is right {:.0} s after the last trouble", start.elapsed().as_secs_f32());
                return;
            }
            assert!(start.elapsed() < CALM, "after {} s: {wrong:#?}", CALM.as_secs());
            thread::sleep(LOOK);
        }
    }

    /// What somebody believes that is not true.
    fn wrong(&mut self) -> Vec<String> {
        let mut wrong = Vec::new();
        let truths = self.people.iter().map(|person| (person.jid.as_str(), person.truth()));
        let truths: Vec<_> = truths.chain([(DAVE, self.originals.clone())]).collect();
        for (jid, truth) in &truths {
            let mut compare = |viewer: &str, seen: &BTreeSet<String>| {
                self.compared += 1;
                let (missing, stale) = (truth.difference(seen), seen.difference(truth));
                let (missing, stale) = (missing.collect::<Vec<_>>(), stale.collect::<Vec<_>>());
                if !missing.is_empty() || !stale.is_empty() {
                    wrong.push(format!("{viewer} of {jid}: lacks {missing:?}, still has {stale:?}"));
                }
            };
            for viewer in self.people.iter().filter(|viewer| viewer.jid != *jid) {
                compare(&viewer.jid, &viewer.list(&["--contact", jid]));
            }
            if *jid != DAVE {
                compare(DAVE, &self.original.sees(jid).into_iter().collect());
            }
        }
        let states = self.people.iter().map(|person| (&person.jid, person.user.account()));
        wrong.extend(states.filter(|(_, state)| state.0 != "online").map(|(jid, state)| format!("{jid}: {state:?}")));
        for person in &self.people {
            let contacts = person.user.json(&["contacts"]);
            let offline = contacts.as_array().unwrap().iter().filter(|contact| contact["online"] != true);
            wrong.extend(offline.map(|contact| format!("{} of {}: offline", person.jid, contact["jid"])));
        }
        wrong
    }

    /// Everybody fetches something from everybody else.
    fn fetch_all(&self) {
        for (viewer, owner) in
            [(0, 1), (1, 2), (2, 0)].map(|(viewer, owner)| (&self.people[viewer], &self.people[owner]))
        {
            if let Some(hash) = owner.truth().iter().next() {
                viewer.user.ok_within(CALM, &["get", hash, "--wait"]);
            }
        }
    }

    /// Once what comes and goes has gone.
    fn assert_nothing_leaked(&mut self, before: [Size; 3]) {
        let more = if self.is_long() { MORE_MEMORY[0] } else { MORE_MEMORY[1] };
        for (person, before) in self.people.iter_mut().zip(before) {
            let start = Instant::now();
            let mut after = person.size();
            while !after.has_kept_to(&before, more) && start.elapsed() < CALM {
                thread::sleep(LOOK);
                after = person.size();
            }
            eprintln!("{}: {before} -> {after}; {} changes, {:?}", person.jid, person.changes, person.cuts);
            assert!(after.has_kept_to(&before, more), "{}: {before} -> {after}", person.jid);
        }
    }
}

fn number(name: &str) -> Option<u64> {
    Some(std::env::var(name).ok()?.parse().expect("a number"))
}

fn soak(kind: Kind) {
    let users = [PEOPLE[0], PEOPLE[1], PEOPLE[2], "dave"];
    let Some(network) = Network::new() else { return };
    let hosts = PEOPLE.map(|_| network.host());
    let gateway = network.enter();
    let pairs: Vec<_> = (1..4).flat_map(|b| (0..b).map(move |a| (users[a], users[b]))).collect();
    let Some(server) = AnyServer::start(kind, &users.map(|user| (user, PASSWORD)), &pairs) else { return };
    let seed = number("BITWEEN_SOAK_SEED").unwrap_or_else(|| fastrand::u64(..));
    eprintln!("BITWEEN_SOAK_SEED={seed}");
    let mut hosts = hosts.into_iter();
    let mut soak = Soak {
        people: PEOPLE.map(|name| Person::begin(&server, name, hosts.next().unwrap(), gateway)),
        original: Original::start_lasting(&server, "dave", PASSWORD, "original"),
        server,
        originals: BTreeSet::new(),
        random: Rng::with_seed(seed),
        restarts: 0,
        compared: 0,
        span: Duration::from_secs(number("BITWEEN_SOAK_SECONDS").unwrap_or(SECONDS)),
    };
    let before = soak.part();
    for _ in 1..soak.parts() {
        soak.part();
    }
    soak.fetch_all();
    soak.assert_nothing_leaked(before);
    eprintln!("{} restarts of the server, {} lists compared", soak.restarts, soak.compared);
}

#[test]
fn prosody() {
    soak(Kind::Prosody);
}

#[test]
fn ejabberd() {
    soak(Kind::EjabberdLimits);
}
