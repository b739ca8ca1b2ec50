//! Servers, and whoever stands before them, that want the password or the daemon.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::scripted_server::{HEADER, Login, PROCEED, STARTTLS, ScriptedServer, Signature};
use crate::common::{text, wait_for};
use crate::{PASSWORD, PATIENCE, SHA_256, daemon, honest, resident, wait_for_problem};

/// Long enough for a daemon that would try again at once to do so several times.
const A_WHILE: Duration = Duration::from_secs(3);

/// Seconds of processor time that a process has used.
fn processor_time(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: u32 = fields[11..13].iter().map(|text| text.parse::<u32>().unwrap()).sum();
    f64::from(ticks) / 100.0
}

/// Fails unless the daemon leaves the server alone, and has told it no secret.
fn assert_left_alone(server: &ScriptedServer) {
    let connections = server.connections();
    std::thread::sleep(A_WHILE);
    assert_eq!(server.connections(), connections, "it comes back at once");
    server.assert_no_password("alice", PASSWORD);
}

#[test]
fn who_takes_the_encryption_away_gets_no_password() {
    let server = ScriptedServer::start(|_, session| {
        session.open(&honest(&["PLAIN", SHA_256]).features())?;
        session.listen()
    });
    let alice = daemon(&server);
    wait_for_problem(&alice, "offers no encryption");
    assert_left_alone(&server);
}

#[test]
fn what_is_said_before_the_encryption_is_not_believed_afterwards() {
    let server = ScriptedServer::start(|_, session| {
        session.open(STARTTLS)?;
        session.hear("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")?;
        session.say(&format!("{PROCEED}{HEADER}{}", honest(&["PLAIN"]).features()))?;
        session.encrypt();
        session.listen()
    });
    let alice = daemon(&server);
    wait_for_problem(&alice, "between the offer of encryption and its beginning");
    assert_left_alone(&server);
}

/// Honest as long as the switch is off; then offers only this.
fn turning(strong: &[&'static str], weak: &[&'static str]) -> (ScriptedServer, Arc<AtomicBool>) {
    let turned = Arc::<AtomicBool>::default();
    let (strong, weak, is_turned) = (honest(strong), honest(weak), Arc::clone(&turned));
    let server = ScriptedServer::start(move |_, session| {
        if is_turned.load(Ordering::Relaxed) {
            return session.starttls_and_log_in(&weak).and_then(|()| session.serve());
        }
        session.starttls_and_log_in(&strong)?;
        session.serve()
    });
    (server, turned)
}

#[test]
fn a_server_that_offers_less_than_before_gets_no_proof_until_the_user_says_so() {
    let weaker: [(&[&str], &[&str]); 3] = [
        (&["SCRAM-SHA-256-PLUS", SHA_256], &[SHA_256]),
        (&[SHA_256], &["SCRAM-SHA-1"]),
        (&["SCRAM-SHA-1"], &["PLAIN"]),
    ];
    for (before, now) in weaker {
        let (server, turned) = turning(before, now);
        let mut alice = daemon(&server);
        alice.stop();
        alice.edit_config("[xmpp]\n", "[xmpp]\nallow_plain = true\n");
        alice.start();
        alice.wait_online();
        alice.stop();
        let said = server.decrypted().matches("<response").count();
        turned.store(true, Ordering::Relaxed);
        // Neither the daemon that was told, nor one that only remembers.
        alice.start();
        wait_for_problem(&alice, "weaker logins than before");
        alice.stop();
        alice.start();
        wait_for_problem(&alice, "weaker logins than before");
        assert_left_alone(&server);
        assert_eq!(server.decrypted().matches("<response").count(), said, "no proof was sent");
        let password = alice.home().join("password");
        let (address, authority) = (server.server(), server.ca_file());
        let set = ["account", "set", "alice@localhost", "--password-file", text(&password)];
        alice.ok(&[&set[..], &["--server", &address, "--ca-file", text(&authority)]].concat());
        alice.wait_online();
    }
}

#[test]
fn a_billion_iterations_are_not_computed_and_two_million_hold_nothing_up() {
    let login = Login { iterations: 1_000_000_000, ..honest(&[SHA_256]) };
    let server = ScriptedServer::start(move |_, session| session.starttls_and_log_in(&login));
    let mut alice = daemon(&server);
    wait_for_problem(&alice, "asks for 1000000000 iterations");
    assert!(processor_time(alice.program().id()) < 3.0);
    assert_left_alone(&server);

    let login = Login { iterations: 1, ..honest(&[SHA_256]) };
    let server = ScriptedServer::start(move |_, session| session.starttls_and_log_in(&login));
    wait_for_problem(&daemon(&server), "asks for 1 iterations");
    assert_left_alone(&server);

    let login = Login { iterations: 2_000_000, ..honest(&[SHA_256]) };
    let server = ScriptedServer::start(move |_, session| {
        session.starttls_and_log_in(&login)?;
        session.serve()
    });
    let mut alice = daemon(&server);
    wait_for("the login has begun", PATIENCE, || server.decrypted().contains("<auth").then_some(()));
    // An order interrupts the work, and an end too.
    alice.stop();
    alice.start();
    alice.wait_online();
}

#[test]
fn a_server_that_cannot_prove_itself_is_left() {
    for signature in [Signature::Wrong, Signature::Missing] {
        let login = Login { signature, ..honest(&[SHA_256]) };
        let server = ScriptedServer::start(move |_, session| session.starttls_and_log_in(&login));
        let alice = daemon(&server);
        wait_for_problem(&alice, "could not prove that it knows the account");
        assert!(!server.decrypted().contains("<bind"));
        assert_left_alone(&server);
    }
    let server = ScriptedServer::start(|_, session| {
        session.starttls()?;
        session.open(&honest(&[SHA_256]).features())?;
        session.hear("</auth>")?;
        session.say("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")?;
        session.bind()
    });
    let alice = daemon(&server);
    wait_for_problem(&alice, "could not prove that it knows the account");
    assert_left_alone(&server);
}

#[test]
fn a_stanza_without_end_costs_no_memory() {
    const SENT: usize = 64 << 20;
    const ALLOWED: u64 = 24 << 20;
    let login = honest(&[SHA_256]);
    let server = ScriptedServer::start(move |nth, session| {
        session.starttls_and_log_in(&login)?;
        if nth > 0 {
            return session.serve();
        }
        session.say("<message><body>")?;
        for _ in 0..SENT >> 16 {
            session.say_bytes(&[b'x'; 1 << 16])?;
        }
        session.listen()
    });
    let mut alice = daemon(&server);
    wait_for_problem(&alice, "a stanza is longer than");
    let used = resident(alice.program().id());
    assert!(used < 60 << 20, "{} MiB resident (of which {} were allowed to be added)", used >> 20, ALLOWED >> 20);
    // The next stream lives.
    alice.stop();
    alice.start();
    alice.wait_online();
}
