//! Which login is used, with every mechanism and binding, and what makes a connection refuse one. Without a daemon.

use std::io;
use std::time::Duration;

use bitween::component::xmpp::connection::{AccountOptions, Connection};
use bitween::component::xmpp::error::ConnectError;
use bitween::component::xmpp::port::Port;
use bitween::proto::xmpp::sasl::{HashKind, Mechanism};
use bitween::proto::xmpp::stream::Tls;
use jid::Jid;

use crate::common::ejabberd::{self, Ejabberd};
use crate::common::scripted_server::{HEADER, Login, PROCEED, STARTTLS, ScriptedServer, Session};
use crate::{PASSWORD, SHA_256, honest};

fn options(server: &ScriptedServer) -> AccountOptions {
    let jid = Jid::new("alice@localhost").unwrap();
    let mut options = AccountOptions::new(jid, PASSWORD.to_owned().into(), "r1".into());
    options.server = Some(server.server());
    options.ca_file = Some(server.ca_file());
    options.tls = Some(Tls::StartTls);
    options
}

/// The mechanism that a login succeeds with.
fn log_in(options: &AccountOptions) -> Result<Option<Mechanism>, ConnectError> {
    let mut port = Port::new().unwrap();
    Connection::open(options, &mut port).map(|connection| connection.mechanism())
}

fn serving(login: Login) -> ScriptedServer {
    ScriptedServer::start(move |_, session| session.starttls_and_log_in(&login))
}

#[test]
fn every_mechanism_and_binding_logs_in() {
    for mechanism in Mechanism::ALL {
        let kinds: &[Option<&'static str>] = match mechanism.is_bound() {
            true => &[None, Some("tls-exporter"), Some("tls-server-end-point")],
            false => &[None],
        };
        for kind in kinds {
            let mut login = honest(&[mechanism.name()]);
            login.bindings = kind.map(|kind| vec![kind, "tls-unique"]);
            let server = serving(login);
            let options = AccountOptions { allow_plain: mechanism == Mechanism::Plain, ..options(&server) };
            assert_eq!(log_in(&options).unwrap(), Some(mechanism), "{kind:?}");
        }
    }
}

#[test]
fn an_ejabberd_that_binds_to_nothing_we_have_costs_no_failed_login() {
    if !ejabberd::installed() {
        return;
    }
    let server = Ejabberd::start(&[("alice", PASSWORD)], &[]);
    let jid = Jid::new("alice@localhost").unwrap();
    let mut options = AccountOptions::new(jid, PASSWORD.to_owned().into(), "r1".into());
    options.server = Some(server.server());
    options.ca_file = Some(server.ca_file());
    // 23.01 offers -PLUS, announces no type, and with TLS 1.3 knows neither of ours.
    let mut port = Port::new().unwrap();
    let connection = Connection::open(&options, &mut port).unwrap();
    assert_eq!(connection.mechanism().unwrap().hash(), Some(HashKind::Sha512));
    // The next one takes one attempt, if it is told.
    options.unknown_bindings = connection.unknown_bindings().to_vec();
    connection.close();
    assert_eq!(log_in(&options).unwrap().unwrap().hash(), Some(HashKind::Sha512));
    options.password = "wrong".to_owned().into();
    assert!(log_in(&options).unwrap_err().to_string().contains("wrong user name or password"));
}

#[test]
fn tls_from_the_first_byte_is_bound_to_as_well() {
    let login = honest(&["SCRAM-SHA-1-PLUS"]);
    let server = ScriptedServer::start(move |_, session| {
        session.encrypt();
        session.log_in(&login)
    });
    let options = AccountOptions { tls: Some(Tls::Direct), ..options(&server) };
    assert_eq!(log_in(&options).unwrap(), Mechanism::named("SCRAM-SHA-1-PLUS"));
}

#[test]
fn a_shortened_offer_fails_at_a_server_that_signs_it_or_hears_of_it() {
    // The server signs what it offers; somebody has taken the stronger one out.
    let mut signed = honest(&["SCRAM-SHA-1"]);
    signed.signed_offer = Some("SCRAM-SHA-1\u{1e}SCRAM-SHA-256");
    let server = serving(signed);
    let error = log_in(&options(&server)).unwrap_err();
    assert!(error.to_string().contains("changed the list of logins"), "{error}");
    assert!(!server.decrypted().contains("<response"), "no proof was sent");

    // The server does channel binding; somebody has taken it out of the features, so it hears "y".
    let login = honest(&[SHA_256, "SCRAM-SHA-256-PLUS"]);
    let server = ScriptedServer::start(move |_, session| {
        session.starttls()?;
        session.open(&honest(&[SHA_256]).features())?;
        session.authenticate(&login)
    });
    assert!(log_in(&options(&server)).is_err());
    assert!(!server.decrypted().contains("<response"), "no proof was sent");
}

#[test]
fn types_of_binding_that_nobody_knows_talk_nobody_out_of_it() {
    let both = [SHA_256, "SCRAM-SHA-256-PLUS"];
    let mut unsigned = honest(&both);
    unsigned.bindings = Some(vec!["tls-foo"]);
    let mut signed = unsigned.clone();
    signed.signed_offer = Some("SCRAM-SHA-256\u{1e}SCRAM-SHA-256-PLUS\u{1f}tls-foo");
    let server = serving(unsigned);
    let error = log_in(&options(&server)).unwrap_err().to_string();
    assert!(error.contains("not known here (tls-foo)"), "{error}");
    assert!(!server.decrypted().contains("<response"), "no proof was sent");
    // The server's own word is believed.
    assert_eq!(log_in(&options(&serving(signed))).unwrap(), Mechanism::named(SHA_256));
}

#[test]
fn a_server_that_signs_its_offer_may_offer_less_than_before() {
    let before = Mechanism::named("SCRAM-SHA-512-PLUS");
    let mut login = honest(&[SHA_256, "PLAIN"]);
    login.signed_offer = Some("PLAIN\u{1e}SCRAM-SHA-256");
    let server = serving(login);
    let options = AccountOptions { strongest_login: before, ..options(&server) };
    assert_eq!(log_in(&options).unwrap(), Mechanism::named(SHA_256));
}

/// How far a script goes before it falls silent.
type Step = fn(&mut Session) -> io::Result<()>;

#[test]
fn a_server_that_falls_silent_is_given_up_wherever_it_does() {
    let steps: [Step; 8] = [
        |_| Ok(()),
        |session| session.say(HEADER),
        |session| session.open(STARTTLS),
        |session| {
            session.open(STARTTLS)?;
            session.hear("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")?;
            session.say(PROCEED)
        },
        Session::starttls,
        |session| {
            session.starttls()?;
            session.open(&honest(&[SHA_256]).features())
        },
        |session| {
            session.starttls()?;
            session.open(&honest(&[SHA_256]).features())?;
            session.authenticate(&honest(&[SHA_256]))
        },
        |session| {
            session.starttls()?;
            session.open(&honest(&[SHA_256]).features())?;
            session.authenticate(&honest(&[SHA_256]))?;
            session.open("<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>")
        },
    ];
    for (nth, step) in steps.into_iter().enumerate() {
        let server = ScriptedServer::start(move |_, session| step(session).and_then(|()| session.listen()));
        let mut options = options(&server);
        options.timing.login = Duration::from_millis(700);
        let error = log_in(&options).unwrap_err();
        assert!(matches!(error, ConnectError::TimedOut(_)), "step {nth}: {error}");
        server.assert_no_password("alice", PASSWORD);
    }
}

/// What ends a stream that is bound, and the condition that the server hears.
const BROKEN: [(&[u8], &str); 8] = [
    (b"<!DOCTYPE x [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;&a;'>]><message>&b;</message>", "restricted-xml"),
    (b"<message>&b;</message>", "restricted-xml"),
    (b"<message><?php evil ?></message>", "restricted-xml"),
    (b"<message><!-- hello --></message>", "restricted-xml"),
    (b"<message>\xff\xfe</message>", "unsupported-encoding"),
    (b"<message>\x01</message>", "not-well-formed"),
    (b"<message a='1' a='2'/>", "not-well-formed"),
    (b"text", "not-well-formed"),
];

/// The stream ends when the server says this, and the server hears why.
fn ends_with(condition: &'static str, bytes: Vec<u8>) {
    let login = honest(&[SHA_256]);
    let (told, heard) = std::sync::mpsc::channel();
    let server = ScriptedServer::start(move |_, session| {
        session.starttls_and_log_in(&login)?;
        // What does not fit is not read any more; the answer comes all the same.
        let _ = session.say_bytes(&bytes);
        let _ = told.send(session.hear("</stream:stream>").unwrap_or_default());
        session.listen()
    });
    let mut port = Port::new().unwrap();
    let mut connection = Connection::open(&options(&server), &mut port).unwrap();
    let error = connection.next(std::time::Instant::now() + Duration::from_secs(20)).unwrap_err();
    assert!(matches!(error, ConnectError::Framing(_)), "{error}");
    drop(connection);
    let said = heard.recv().unwrap();
    assert!(said.contains(condition), "{condition}: {said}");
}

#[test]
fn what_xmpp_forbids_ends_the_stream_with_the_reason() {
    for (bytes, condition) in BROKEN {
        ends_with(condition, bytes.to_vec());
    }
    ends_with("policy-violation", b"<a>".repeat(100));
    let attributes: String = (0..100).map(|nth| format!("a{nth}='' ")).collect();
    ends_with("policy-violation", format!("<message {attributes}/>").into_bytes());
    // While the server still talks, the reason may be lost with the connection.
    ends_with("", [b"<message><body>".as_slice(), &[b'x'; 2 << 20]].concat());
}
