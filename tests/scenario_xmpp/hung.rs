//! Servers that hang, at every stage of a connection: the daemon waits quietly, tries again later, and ends in time.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::common::prosody::{Prosody, installed};
use crate::common::user::User;
use crate::{daemon, file, server, until};

/// An orderly stop with a hung server.
const STOP: Duration = Duration::from_secs(10);

/// By then the server has said yes to the login, and not yet all that follows.
const LOGGED_IN: usize = 3500;

/// Stands before a server and passes on so many bytes of what it says; then it neither passes on nor reads anything.
struct Stuck {
    address: String,
    passed: Arc<AtomicUsize>,
}

impl Stuck {
    fn before(server: &Prosody, bytes: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, target) = (listener.local_addr().unwrap().to_string(), server.server());
        let passed = Arc::<AtomicUsize>::default();
        let stuck = Self { address, passed: Arc::clone(&passed) };
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (target, passed) = (target.clone(), Arc::clone(&passed));
                std::thread::spawn(move || pass(&client, &target, bytes, &passed));
            }
        });
        stuck
    }
}

/// Ends, and closes both connections, when the client has gone.
fn pass(mut client: &TcpStream, target: &str, bytes: usize, passed: &AtomicUsize) {
    let server = TcpStream::connect(target).unwrap();
    server.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    client.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let (mut left, mut buffer) = (bytes, [0; 4096]);
    while left > 0 {
        if let Ok(count) = client.read(&mut buffer) {
            if count == 0 {
                return;
            }
            (&server).write_all(&buffer[..count]).unwrap();
        }
        let room = left.min(buffer.len());
        if let Ok(count) = (&server).read(&mut buffer[..room]) {
            left -= count;
            passed.fetch_add(count, Ordering::Relaxed);
            if client.write_all(&buffer[..count]).is_err() {
                return;
            }
        }
    }
    // As a hung process does: the sockets stay, nobody reads. Longer than any test here.
    std::thread::sleep(Duration::from_secs(60));
    let _ = server.shutdown(Shutdown::Both);
}

/// Seconds of processor time that a process has used.
fn processor_time(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: u32 = fields[11..13].iter().map(|text| text.parse::<u32>().unwrap()).sum();
    f64::from(ticks) / 100.0
}

fn through(stuck: &str, server: &Prosody) -> User {
    let mut alice = daemon(server, "alice");
    alice.edit_config(&server.server(), stuck);
    alice.start();
    alice
}

#[test]
fn a_server_that_hangs_at_any_stage_costs_nothing_and_holds_up_nothing() {
    if !installed() {
        return;
    }
    let server = server();
    // Says nothing; hangs in the plain stream, in TLS, in the login, while the roster and the nodes are fetched.
    let stages = [0, 150, 1200, 2200, LOGGED_IN, 5000].map(|bytes| (bytes, Stuck::before(&server, bytes)));
    let mut daemons: Vec<(usize, User)> = Vec::new();
    for (bytes, stuck) in &stages {
        let alice = through(&stuck.address, &server);
        if *bytes == 0 {
            let outcome = alice.run(&["share", crate::common::text(&file(&alice, "film.mkv", 100_000))]);
            assert!(outcome.code == 0 && outcome.err.contains("contacts are told later"), "{outcome:?}");
        }
        daemons.push((*bytes, alice));
    }
    for (bytes, stuck) in &stages {
        let there = || stuck.passed.load(Ordering::Relaxed) == *bytes;
        until(&format!("it hangs after {bytes} bytes"), Duration::from_secs(10), there);
    }
    let before: Vec<f64> = daemons.iter_mut().map(|(_, alice)| processor_time(alice.program().id())).collect();
    std::thread::sleep(Duration::from_secs(2));
    for ((bytes, alice), before) in daemons.iter_mut().zip(before) {
        let used = processor_time(alice.program().id()) - before;
        assert!(used < 0.3, "{used} s of 2 s while the server hangs after {bytes} bytes");
    }
    let start = Instant::now();
    daemons.iter_mut().for_each(|(_, alice)| alice.program().signal("TERM"));
    for (bytes, alice) in &mut daemons {
        let status = alice.program().wait(STOP);
        assert!(status.success() && start.elapsed() < STOP, "{bytes} bytes: {status}, {:?}", start.elapsed());
    }
}

#[test]
fn a_server_that_closes_at_once_is_not_knocked_over() {
    if !installed() {
        return;
    }
    let server = server();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    std::thread::spawn(move || {
        for _closed_at_once in listener.incoming() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let alice = through(&address, &server);
    until("it tries again", Duration::from_secs(5), || connections.load(Ordering::Relaxed) > 1);
    std::thread::sleep(Duration::from_secs(5));
    let tries = connections.load(Ordering::Relaxed);
    // Pauses of half a second to one, one to two, two to four.
    assert!((2..=5).contains(&tries), "{tries} connections");
    let (state, error) = alice.account();
    // Which of the two it is depends on what was on its way.
    assert!(state == "offline" && (error.contains("closed") || error.contains("reset")), "{state}: {error}");
}
