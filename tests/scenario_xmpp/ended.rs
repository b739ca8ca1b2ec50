//! Servers that end a stream on purpose: they are not run at again and again.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::common::prosody::{ProsodyOptions, installed};
use crate::common::server::{AnyServer, Kind};
use crate::{PATIENCE, SOON, daemon, file, on_every_server, online, server, server_with, servers, until};

fn start(kind: Kind) -> Option<AnyServer> {
    servers::start(kind)
}

/// Sends everybody on to another address; how many came.
fn signpost(target: &str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let came = Arc::new(AtomicUsize::new(0));
    let (count, target) = (Arc::clone(&came), if target.is_empty() { address.clone() } else { target.to_owned() });
    thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            count.fetch_add(1, Ordering::AcqRel);
            let _ = client.read(&mut [0; 4096]);
            let answer = format!(
                "<?xml version='1.0'?><stream:stream xmlns='jabber:client' version='1.0' id='1' from='localhost' \
                 xmlns:stream='http://etherx.jabber.org/streams'><stream:error><see-other-host \
                 xmlns='urn:ietf:params:xml:ns:xmpp-streams'>{target}</see-other-host></stream:error></stream:stream>"
            );
            let _ = client.write_all(answer.as_bytes());
            let _ = client.shutdown(Shutdown::Write);
        }
    });
    (address, came)
}

#[test]
fn who_is_sent_elsewhere_goes_there_and_checks_who_is_there() {
    if !installed() {
        return;
    }
    let server = server();
    let (second, second_came) = signpost(&server.server());
    let (first, first_came) = signpost(&second);
    let mut alice = daemon(&server, "alice");
    alice.edit_config(&server.server(), &first);
    alice.start();
    alice.wait_online();
    assert_eq!((first_came.load(Ordering::Acquire), second_came.load(Ordering::Acquire)), (1, 1));

    let impostor = server_with(ProsodyOptions { certificate_name: "other.example", ..ProsodyOptions::default() });
    let (to_impostor, _) = signpost(&impostor.server());
    let mut bob = daemon(&impostor, "bob");
    bob.edit_config(&impostor.server(), &to_impostor);
    bob.start();
    until("bob has seen the certificate", PATIENCE, || bob.account().1.contains("other.example"));
    assert!(!impostor.log().contains("SCRAM"), "no word of the login was sent");
}

#[test]
fn nobody_runs_in_circles() {
    if !installed() {
        return;
    }
    let server = server();
    let (itself, came) = signpost("");
    let mut alice = daemon(&server, "alice");
    alice.edit_config(&server.server(), &itself);
    alice.start();
    until("alice gives up", PATIENCE, || came.load(Ordering::Acquire) == 2);
    thread::sleep(SOON);
    assert_eq!(came.load(Ordering::Acquire), 2);
    let (state, problem) = alice.account();
    assert!(state == "offline" && problem.contains(&itself), "{state}: {problem}");
}

#[test]
fn what_a_server_takes_is_learned_once() {
    if !installed() {
        return;
    }
    // Below what an item may hold: longer lists are announced by a catalog.
    let small = "c2s_stanza_size_limit = 20000";
    let server = server_with(ProsodyOptions { extra_config: small, ..ProsodyOptions::default() });
    let [mut alice, bob] = online(&server, ["alice", "bob"]);
    let files: Vec<_> = (0..300).map(|n| file(&alice, &format!("{n:0>80}"), 1000 + n)).collect();
    let paths: Vec<&str> = files.iter().map(|path| path.to_str().unwrap()).collect();
    let refused = || alice.account().1.contains("policy-violation");
    let mut shared = 0;
    for some in paths.chunks(50) {
        alice.run(&[&["share"], some].concat());
        shared += some.len();
        if refused() {
            break;
        }
    }
    until("the server has refused it", PATIENCE, refused);
    thread::sleep(SOON);
    assert_eq!(alice.log().matches("trying again").count(), 1, "{}", alice.log());
    // It is remembered: after a restart the same list is told in a way that the server takes.
    alice.stop();
    alice.start();
    alice.wait_online();
    let listed = || bob.json(&["shares"]).as_array().unwrap().len();
    until("bob sees all", PATIENCE, || listed() == shared);
    // And so are longer ones.
    alice.run(&[&["share"], &paths[shared..]].concat());
    until("bob sees the others, too", PATIENCE, || listed() == files.len());
    thread::sleep(SOON);
    assert_eq!(alice.account().0, "online");
    assert!(!alice.log().contains("trying again"), "{}", alice.log());
}

on_every_server! {
    fn two_with_one_resource_do_not_throw_each_other_out_for_ever(server: &mut AnyServer) {
        let [first, second] = ["alice", "alice"].map(|user| {
            let person = daemon(server, user);
            person.edit_config("jid = \"alice@localhost\"", "jid = \"alice@localhost/pc\"");
            person
        });
        let first = first.started();
        first.wait_online();
        let second = second.started();
        second.wait_online();
        until("the first one notices", PATIENCE, || first.account().0 == "offline");
        thread::sleep(Duration::from_secs(3));
        assert!(first.account().1.contains("same resource"), "{:?}", first.account());
        assert_eq!(second.account(), ("online".to_owned(), String::new()));
        assert!(!second.log().contains("trying again"), "{}", second.log());
    }
}
