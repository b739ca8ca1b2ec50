//! The XMPP connection against a real Prosody: logins of every kind, refusals, restart, stanzas in both directions.

#![cfg(feature = "xmpp")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bitween::component::xmpp::connection::{AccountOptions, Connection, Incoming};
use bitween::component::xmpp::error::ConnectError;
use bitween::component::xmpp::port::Port;
use bitween::proto::xmpp::backoff::Retry;
use bitween::proto::xmpp::stream::Tls;
use common::prosody::{Passwords, Prosody, ProsodyOptions, installed};
use jid::Jid;
use minidom::Element;
use zeroize::Zeroizing;

fn options(prosody: &Prosody, tls: Tls) -> AccountOptions {
    account(prosody, tls, "alice@localhost/here", "secret-a")
}

fn account(prosody: &Prosody, tls: Tls, jid: &str, password: &str) -> AccountOptions {
    let mut options = AccountOptions::new(Jid::new(jid).unwrap(), Zeroizing::new(password.into()), "default".into());
    options.server = Some(if tls == Tls::Direct { prosody.direct_tls_server() } else { prosody.server() });
    options.tls = Some(tls);
    options.ca_file = Some(prosody.ca_file());
    options
}

fn failure(options: &AccountOptions) -> ConnectError {
    let mut port = Port::new().unwrap();
    Connection::open(options, &mut port).map(|connection| connection.jid().clone()).unwrap_err()
}

#[allow(clippy::disallowed_methods, reason = "a test against a real server runs on real time")]
fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn stanza(connection: &mut Connection<'_>) -> Element {
    match connection.next(soon()).unwrap() {
        Incoming::Stanza(element) => element,
        other => panic!("{other:?}"),
    }
}

#[test]
fn both_kinds_of_tls_and_both_scram_mechanisms_log_in() {
    if !installed() {
        return;
    }
    for (passwords, mechanism) in [(Passwords::HashedSha1, "SCRAM-SHA-1"), (Passwords::HashedSha256, "SCRAM-SHA-256")] {
        let prosody = Prosody::start(ProsodyOptions { passwords, ..Default::default() });
        for tls in [Tls::StartTls, Tls::Direct] {
            let mut port = Port::new().unwrap();
            let connection = Connection::open(&options(&prosody, tls), &mut port).unwrap();
            assert_eq!(connection.jid().to_string(), "alice@localhost/here");
            assert!(connection.features().unwrap().has("bind", "urn:ietf:params:xml:ns:xmpp-bind"));
            connection.close();
        }
        assert!(prosody.log().contains(&format!("mechanism='{mechanism}'")), "{mechanism}");
    }
}

#[test]
fn a_jid_without_resource_gets_the_default_one() {
    if !installed() {
        return;
    }
    let prosody = Prosody::start(ProsodyOptions::default());
    let mut port = Port::new().unwrap();
    let options = account(&prosody, Tls::StartTls, "bob@localhost", "secret-b");
    let connection = Connection::open(&options, &mut port).unwrap();
    assert_eq!(connection.jid().to_string(), "bob@localhost/default");
}

#[test]
fn wrong_passwords_and_unknown_users_are_told_once() {
    if !installed() {
        return;
    }
    let prosody = Prosody::start(ProsodyOptions::default());
    for (jid, password) in [("alice@localhost", "hunter2"), ("nobody@localhost", "secret-a")] {
        let error = failure(&account(&prosody, Tls::StartTls, jid, password));
        assert!(error.to_string().contains("wrong user name or password"), "{error}");
        assert_eq!(error.retry(), Retry::Never);
        assert!(!error.to_string().contains(password));
    }
}

#[test]
fn passwords_outside_ascii_work() {
    if !installed() {
        return;
    }
    let users = &[("alice", "pä,ss=w\u{F6}rd \u{1F980}")];
    let prosody = Prosody::start(ProsodyOptions { users, ..Default::default() });
    let mut port = Port::new().unwrap();
    let options = account(&prosody, Tls::StartTls, "alice@localhost", users[0].1);
    assert!(Connection::open(&options, &mut port).is_ok(), "{}", prosody.log());
}

#[test]
fn certificates_of_strangers_are_refused() {
    if !installed() {
        return;
    }
    let prosody = Prosody::start(ProsodyOptions::default());
    let other = Prosody::start(ProsodyOptions { certificate_name: "other.example", ..Default::default() });
    for tls in [Tls::StartTls, Tls::Direct] {
        let mut options = options(&prosody, tls);
        options.ca_file = Some(other.ca_file());
        let error = failure(&options);
        assert!(error.to_string().contains("not signed by an authority known here"), "{error}");
        options.ca_file = None;
        let error = failure(&options);
        assert!(error.to_string().contains("not signed by an authority known here"), "{error}");
        options.ca_file = Some(PathBuf::from("/nonexistent/ca.pem"));
        assert!(matches!(failure(&options), ConnectError::CaFile { .. }));

        let error = failure(&self::options(&other, tls));
        assert!(error.to_string().contains("another name (other.example), not for localhost"), "{error}");
    }
}

#[test]
fn a_server_without_tls_is_refused() {
    if !installed() {
        return;
    }
    let prosody = Prosody::start(ProsodyOptions { tls: false, ..Default::default() });
    let error = failure(&options(&prosody, Tls::StartTls));
    assert!(error.to_string().contains("no encryption"), "{error}");
    assert!(!prosody.log().contains("<auth"), "nothing about the login may have been sent");
}

#[test]
fn stanzas_travel_both_ways() {
    if !installed() {
        return;
    }
    let prosody = Prosody::start(ProsodyOptions { contacts: &[("alice", "bob")], ..Default::default() });
    let (mut port_a, mut port_b) = (Port::new().unwrap(), Port::new().unwrap());
    let handle = port_a.handle();
    let mut alice = Connection::open(&options(&prosody, Tls::StartTls), &mut port_a).unwrap();
    let bob = account(&prosody, Tls::Direct, "bob@localhost/there", "secret-b");
    let mut bob = Connection::open(&bob, &mut port_b).unwrap();

    handle.send(b"<presence/>".to_vec()).unwrap();
    assert_eq!(stanza(&mut alice).attr("from"), Some("alice@localhost/here"), "the own presence comes back");
    bob.send(b"<presence/>").unwrap();
    assert_eq!(stanza(&mut bob).name(), "presence");
    while stanza(&mut alice).attr("from") != Some("bob@localhost/there") {}

    let long = "x&amp;\u{20AC}".repeat(20_000);
    alice.send(format!("<message to='bob@localhost/there'><body>{long}</body></message>").as_bytes()).unwrap();
    assert_eq!(alice.next(soon().min(soon() - Duration::from_millis(9_900))).unwrap(), Incoming::Timeout);
    let message = loop {
        let element = stanza(&mut bob);
        if element.name() == "message" {
            break element;
        }
    };
    assert_eq!(message.attr("from"), Some("alice@localhost/here"));
    assert_eq!(message.get_child("body", "jabber:client").unwrap().text(), "x&\u{20AC}".repeat(20_000));
}

#[test]
fn a_restarted_server_is_noticed_at_once_and_found_again() {
    if !installed() {
        return;
    }
    let mut prosody = Prosody::start(ProsodyOptions::default());
    let options = options(&prosody, Tls::StartTls);
    let mut port = Port::new().unwrap();
    let mut connection = Connection::open(&options, &mut port).unwrap();
    prosody.stop();
    let error = connection.next(soon()).unwrap_err();
    // Prosody does not always get its stream error out before it closes.
    let told = matches!(&error, ConnectError::Stream(error) if error.condition == "system-shutdown");
    assert!(told || matches!(error, ConnectError::Closed), "{error}");
    assert_eq!(error.retry(), Retry::Soon);
    drop(connection);
    assert!(matches!(failure(&options), ConnectError::Unreachable { .. }));

    prosody.resume();
    let mut connection = Connection::open(&options, &mut port).unwrap();
    prosody.kill();
    let error = connection.next(soon()).unwrap_err();
    assert!(matches!(error, ConnectError::Closed | ConnectError::Lost(_)), "{error}");
}

#[test]
fn the_same_resource_twice_is_a_conflict_that_waits() {
    if !installed() {
        return;
    }
    let prosody = Prosody::start(ProsodyOptions::default());
    let options = options(&prosody, Tls::StartTls);
    let (mut port_1, mut port_2) = (Port::new().unwrap(), Port::new().unwrap());
    let mut first = Connection::open(&options, &mut port_1).unwrap();
    let _second = Connection::open(&options, &mut port_2).unwrap();
    let error = first.next(soon()).unwrap_err();
    assert!(matches!(&error, ConnectError::Stream(error) if error.condition == "conflict"), "{error}");
    assert_eq!(error.retry(), Retry::Rarely);
}

#[test]
fn an_idle_connection_is_kept_alive_by_pings() {
    if !installed() {
        return;
    }
    let prosody = Prosody::start(ProsodyOptions::default());
    let mut options = options(&prosody, Tls::StartTls);
    options.timing.silence = Duration::from_millis(100);
    let mut port = Port::new().unwrap();
    let mut connection = Connection::open(&options, &mut port).unwrap();
    assert_eq!(connection.next(soon() - Duration::from_secs(9)).unwrap(), Incoming::Timeout);
    assert!(prosody.log().matches("urn:xmpp:ping").count() > 0 || prosody.log().contains("Received[c2s]: <iq"));
}
