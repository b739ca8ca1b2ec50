//! At which addresses contacts are told to find somebody: what servers and STUN servers say, and interfaces that change.

use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::common::ejabberd::{self, Ejabberd};
use crate::common::prosody::{ProsodyOptions, installed};
use crate::common::user::User;
use crate::contacts::contact;
use crate::{ALICE, PASSWORD, PATIENCE, daemon, online, server, server_with, until};

/// What is promised for a change of the own addresses.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(5);

/// Where the scripted STUN server sees everybody: an address of nobody.
const SEEN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);

/// A STUN server; its port.
fn stun_server() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut request = [0; 100];
        while let Ok((20, from)) = socket.recv_from(&mut request) {
            let mut answer = request[..20].to_vec();
            (answer[0], answer[3]) = (1, 12);
            answer.extend(b"\x00\x20\x00\x08\x00\x01\x00\x00");
            answer.extend((SEEN.to_bits() ^ 0x2112_a442).to_be_bytes());
            socket.send_to(&answer, from).unwrap();
        }
    });
    port
}

fn is_told(reader: &User, address: &str) -> bool {
    let addresses = contact(reader, ALICE).map(|alice| alice["addresses"].clone());
    addresses.is_some_and(|list| list.as_array().unwrap().iter().any(|at| at.as_str().unwrap().starts_with(address)))
}

#[test]
fn what_a_stun_server_of_the_own_server_says_is_published() {
    if !installed() {
        return;
    }
    let service = format!("{{ type = \"stun\"; transport = \"udp\"; host = \"127.0.0.1\"; port = {} }}", stun_server());
    let extra_config = &format!("external_services = {{ {service} }}");
    let server =
        server_with(ProsodyOptions { modules: &["external_services"], extra_config, ..ProsodyOptions::default() });
    let alice = daemon(&server, "alice").started();
    let bob = daemon(&server, "bob").with_xmpp("stun = false").started();
    [&alice, &bob].iter().for_each(|user| user.wait_online());
    until("bob is told", PATIENCE, || is_told(&bob, &format!("{SEEN}:")));
    assert!(
        contact(&alice, "bob@localhost").unwrap()["addresses"]
            .as_array()
            .unwrap()
            .iter()
            .all(|at| { !at.as_str().unwrap().starts_with(&SEEN.to_string()) }),
        "he asks nobody"
    );
}

#[test]
fn ejabberd_says_where_it_and_its_stun_server_see_us() {
    if !ejabberd::installed() {
        return;
    }
    let server = Ejabberd::start(&[("alice", PASSWORD)], &[]);
    let alice = User::on_server(&server.server(), &server.ca_file(), "alice", PASSWORD).started();
    alice.wait_online();
    for witness in ["the server", "a STUN server"] {
        until(witness, PATIENCE, || alice.log().contains(&format!("{witness} sees this machine at 127.0.0.1")));
    }
    // That is no address for others, with or without a witness.
    assert!(!alice.ok(&["status"]).contains("observed"));
}

#[test]
fn prosody_says_where_it_sees_us_if_it_has_the_module_for_that() {
    let module = "/usr/lib/prosody/modules/mod_ipcheck/mod_ipcheck.lua";
    if !installed() || !Path::new(module).exists() {
        eprintln!("{module} is not there (package prosody-modules)");
        return;
    }
    let server = server_with(ProsodyOptions { modules: &["ipcheck"], ..ProsodyOptions::default() });
    let [alice] = online(&server, ["alice"]);
    until("the server", PATIENCE, || alice.log().contains("the server sees this machine at 127.0.0.1"));
}

/// Runs this very test again, alone, in a network of its own. True in there.
fn in_own_network(name: &str) -> bool {
    const INSIDE: &str = "BITWEEN_TEST_IN_OWN_NETWORK";
    if std::env::var_os(INSIDE).is_some() {
        ip(&["link", "set", "lo", "up"]);
        return true;
    }
    if !crate::common::installed("ip") || !Command::new("unshare").args(["-n", "true"]).status().unwrap().success() {
        eprintln!("no network namespaces here");
        return false;
    }
    let mut command = Command::new("unshare");
    command.arg("-n").arg(std::env::current_exe().unwrap()).args(["--exact", name, "--nocapture"]).env(INSIDE, "1");
    assert!(command.status().unwrap().success());
    false
}

fn ip(arguments: &[&str]) {
    assert!(Command::new("ip").args(arguments).status().unwrap().success(), "ip {arguments:?}");
}

#[test]
fn an_address_that_comes_or_goes_is_published_within_seconds() {
    if !installed() || !in_own_network("outside::an_address_that_comes_or_goes_is_published_within_seconds") {
        return;
    }
    let server = server();
    let [_alice, bob] = online(&server, ["alice", "bob"]);
    until("bob is told of the first address", PATIENCE, || is_told(&bob, "127.0.0.1:"));
    for address in ["198.51.100.4", "2001:db8::4"] {
        let shown = if address.contains(':') { format!("[{address}]:") } else { format!("{address}:") };
        let prefix = format!("{address}/{}", if address.contains(':') { 128 } else { 32 });
        ip(&["addr", "add", &prefix, "dev", "lo"]);
        until(address, PUBLISHED_WITHIN, || is_told(&bob, &shown));
        ip(&["addr", "del", &prefix, "dev", "lo"]);
        until(address, PUBLISHED_WITHIN, || !is_told(&bob, &shown));
    }
}
