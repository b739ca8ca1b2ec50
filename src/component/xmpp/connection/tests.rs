//! Tests of the connection against scripted servers on loopback: what attackers, broken and hung servers do.
//!
//! Real logins are tested with Prosody, in `tests/xmpp_connect.rs`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use jid::Jid;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::*;
use crate::proto::xmpp::backoff::Retry;
use crate::proto::xmpp::framing::FramingError;
use crate::proto::xmpp::negotiation::NegotiationError;
use crate::proto::xmpp::stream::Tls;

const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
                      xmlns:stream='http://etherx.jabber.org/streams' from='localhost' id='1' version='1.0'>";
const STARTTLS: &str = "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>";
const PROCEED: &str = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
const PLAIN: &str = "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\
                     <mechanism>PLAIN</mechanism></mechanisms></stream:features>";
const SUCCESS: &str = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";
const BIND: &str = "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>";
const BOUND: &str = "<iq type='result' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
                     <jid>alice@localhost/r1</jid></bind></iq>";

/// A server that runs one script on the first connection.
struct Server {
    address: String,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(script: impl FnOnce(TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let thread = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            script(stream);
        });
        Self { address, thread: Some(thread) }
    }

    fn join(&mut self) {
        self.thread.take().unwrap().join().unwrap();
    }
}

/// A certificate for one name, its own authority.
struct Identity {
    folder: TempDir,
    config: Arc<ServerConfig>,
}

impl Identity {
    fn new(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Self { folder, config: Arc::new(config) }
    }

    fn accept(config: Arc<ServerConfig>, stream: TcpStream) -> StreamOwned<ServerConnection, TcpStream> {
        StreamOwned::new(ServerConnection::new(config).unwrap(), stream)
    }
}

fn options(server: &Server, tls: Tls, identity: Option<&Identity>) -> AccountOptions {
    let jid = Jid::new("alice@localhost").unwrap();
    let mut options = AccountOptions::new(jid, Zeroizing::new("hunter2".into()), "r1".into());
    options.server = Some(server.address.clone());
    options.tls = Some(tls);
    options.allow_plain = true;
    options.ca_file = identity.map(|identity| identity.folder.path().join("ca.pem"));
    options.timing.login = Duration::from_secs(5);
    options
}

/// Reads until `end` has come; everything that was read.
fn hear(stream: &mut impl Read, end: &str) -> String {
    let mut heard = Vec::new();
    let mut byte = [0];
    while !heard.ends_with(end.as_bytes()) {
        match stream.read(&mut byte) {
            Ok(1) => heard.push(byte[0]),
            result => panic!("waiting for {end}: {result:?} after {}", String::from_utf8_lossy(&heard)),
        }
    }
    String::from_utf8(heard).unwrap()
}

fn say(stream: &mut impl Write, text: &str) {
    stream.write_all(text.as_bytes()).unwrap();
    stream.flush().unwrap();
}

/// Lets the client log in with PLAIN and bind.
fn serve_login(stream: &mut (impl Read + Write)) {
    hear(stream, "'alice@localhost'>");
    say(stream, &format!("{HEADER}{PLAIN}"));
    hear(stream, "</auth>");
    say(stream, SUCCESS);
    hear(stream, "'alice@localhost'>");
    say(stream, &format!("{HEADER}{BIND}"));
    hear(stream, "</iq>");
    say(stream, BOUND);
}

fn failure(options: &AccountOptions) -> ConnectError {
    let mut port = Port::new().unwrap();
    Connection::open(options, &mut port).map(|connection| connection.jid().clone()).unwrap_err()
}

#[test]
fn a_server_without_tls_gets_no_password() {
    let mut server = Server::start(|mut stream| {
        hear(&mut stream, ">");
        hear(&mut stream, ">");
        say(&mut stream, &format!("{HEADER}{PLAIN}"));
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "</stream:stream>");
    });
    let error = failure(&options(&server, Tls::StartTls, None));
    assert!(matches!(error, ConnectError::Negotiation(NegotiationError::NoTls)), "{error}");
    server.join();
}

#[test]
fn bytes_behind_proceed_end_the_connection() {
    let mut server = Server::start(|mut stream| {
        hear(&mut stream, "'localhost'>");
        say(&mut stream, &format!("{HEADER}{STARTTLS}"));
        hear(&mut stream, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
        say(&mut stream, &format!("{PROCEED}{HEADER}{PLAIN}"));
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert_eq!(rest, b"");
    });
    let error = failure(&options(&server, Tls::StartTls, None));
    assert!(matches!(error, ConnectError::Injected), "{error}");
    assert_eq!(error.retry(), Retry::Later);
    server.join();
}

#[test]
fn plain_bytes_instead_of_tls_end_the_connection() {
    let mut server = Server::start(|mut stream| {
        hear(&mut stream, "'localhost'>");
        say(&mut stream, &format!("{HEADER}{STARTTLS}"));
        hear(&mut stream, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
        say(&mut stream, PROCEED);
        let mut hello = [0; 3];
        stream.read_exact(&mut hello).unwrap();
        assert_eq!(hello, [0x16, 3, 1], "a TLS client hello");
        say(&mut stream, &format!("{HEADER}{PLAIN}"));
    });
    let error = failure(&options(&server, Tls::StartTls, None));
    assert!(matches!(error, ConnectError::Tls { .. }), "{error}");
    server.join();
}

#[test]
fn a_hung_server_is_given_up_at_every_step() {
    for (tls, step) in [(Tls::StartTls, "logging in"), (Tls::Direct, "setting up the encryption")] {
        let mut server = Server::start(|mut stream| {
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).unwrap();
        });
        let mut options = options(&server, tls, None);
        options.timing.login = Duration::from_millis(200);
        let begin = now();
        let error = failure(&options);
        assert!(matches!(error, ConnectError::TimedOut(at) if at == step), "{error}");
        assert!(begin.elapsed() < Duration::from_secs(3));
        assert_eq!(error.retry(), Retry::Soon);
        server.join();
    }
}

#[test]
fn a_stop_ends_the_wait_for_a_hung_server() {
    let mut server = Server::start(|mut stream| {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
    });
    let options = options(&server, Tls::Direct, None);
    let mut port = Port::new().unwrap();
    let handle = port.handle();
    let stopper = thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        handle.stop();
    });
    let begin = now();
    let error = Connection::open(&options, &mut port).map(|_| ()).unwrap_err();
    assert!(matches!(error, ConnectError::Stopped), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(3));
    stopper.join().unwrap();
    server.join();
}

#[test]
fn a_closed_port_and_a_foreign_protocol_are_named() {
    let address = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().to_string();
    let gone = Server { address: address.clone(), thread: None };
    let error = failure(&options(&gone, Tls::StartTls, None));
    assert!(error.to_string().starts_with(&format!("cannot connect to {address}: Connection refused")), "{error}");
    let mut server = Server::start(|mut stream| {
        say(&mut stream, "SSH-2.0-OpenSSH_9.2\r\n");
        // Closing with unread bytes would reset the connection, and the greeting might be lost.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let error = failure(&options(&server, Tls::StartTls, None));
    assert!(matches!(error, ConnectError::Framing(_)), "{error}");
    server.join();
}

#[test]
fn bad_certificates_are_refused_with_the_reason() {
    let expired = Identity::new(|params| {
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let other_name = Identity::new(|params| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName("other.example".try_into().unwrap())];
    });
    let good = Identity::new(|_| ());
    let table = [
        (&expired, Some(&expired), "expired"),
        (&other_name, Some(&other_name), "another name (other.example), not for localhost"),
        (&good, Some(&other_name), "not signed by an authority known here"),
        (&good, None, "not signed by an authority known here"),
    ];
    for (identity, trusted, words) in table {
        let config = Arc::clone(&identity.config);
        let mut server = Server::start(move |stream| {
            let mut stream = Identity::accept(config, stream);
            assert!(stream.read(&mut [0]).is_err(), "the client must not go on");
        });
        let error = failure(&options(&server, Tls::Direct, trusted));
        assert!(matches!(error, ConnectError::Certificate { .. }), "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.retry(), Retry::Later);
        server.join();
    }
}

#[test]
fn a_silent_server_is_pinged_and_given_up() {
    let identity = Identity::new(|_| ());
    let config = Arc::clone(&identity.config);
    let mut server = Server::start(move |stream| {
        let mut stream = Identity::accept(config, stream);
        serve_login(&mut stream);
        let ping = hear(&mut stream, "</iq>");
        assert!(ping.contains("id='keep-alive-1' to='localhost'><ping xmlns='urn:xmpp:ping'/>"), "{ping}");
        say(&mut stream, "<iq type='result' id='keep-alive-1' from='localhost'/><presence from='bob@localhost'/>");
        hear(&mut stream, "</iq>");
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert_eq!(rest, b"", "one ping, then the end");
    });
    let mut options = options(&server, Tls::Direct, Some(&identity));
    options.timing.silence = Duration::from_millis(100);
    options.timing.answer = Duration::from_millis(100);
    let mut port = Port::new().unwrap();
    let mut connection = Connection::open(&options, &mut port).unwrap();
    let until = now() + Duration::from_secs(10);
    let Incoming::Stanza(presence) = connection.next(until).unwrap() else { panic!() };
    assert!(presence.is("presence", ns::JABBER_CLIENT), "the pong is not handed out");
    let error = connection.next(until).unwrap_err();
    assert!(matches!(error, ConnectError::Silent), "{error}");
    drop(connection);
    server.join();
}

#[test]
fn a_live_stream_wakes_sends_times_out_and_closes() {
    let identity = Identity::new(|_| ());
    let config = Arc::clone(&identity.config);
    let mut server = Server::start(move |stream| {
        let mut stream = Identity::accept(config, stream);
        serve_login(&mut stream);
        assert_eq!(hear(&mut stream, "<b/>"), "<a/><b/>");
        assert_eq!(hear(&mut stream, "</stream:stream>"), "<last/></stream:stream>");
        say(&mut stream, "<message/></stream:stream>");
    });
    let options = options(&server, Tls::Direct, Some(&identity));
    let mut port = Port::new().unwrap();
    let handle = port.handle();
    let mut connection = Connection::open(&options, &mut port).unwrap();
    assert_eq!(connection.jid().to_string(), "alice@localhost/r1");
    assert!(connection.features().unwrap().bind());
    assert_eq!(connection.next(now()).unwrap(), Incoming::Timeout);
    handle.wake();
    assert_eq!(connection.next(now()).unwrap(), Incoming::Woken);
    connection.send(b"<a/>").unwrap();
    handle.send(b"<b/>".to_vec()).unwrap();
    assert_eq!(connection.next(now() + Duration::from_millis(50)).unwrap(), Incoming::Timeout);
    handle.stop();
    assert_eq!(connection.next(now() + Duration::from_secs(9)).unwrap(), Incoming::Stopped);
    connection.send(b"<last/>").unwrap();
    connection.close();
    assert!(handle.send(b"<c/>".to_vec()).is_err());
    server.join();
}

const MANAGED: &str = "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/><sm xmlns='urn:xmpp:sm:3'/>\
                       </stream:features>";
const ENABLED: &str = "<enabled xmlns='urn:xmpp:sm:3' id='s1' resume='true' max='60'/>";
const ENABLE: &str = "<enable xmlns='urn:xmpp:sm:3' resume='true' max='120'/>";

/// Logs the client in and offers what `features` says; the stream is then at its first word.
fn serve_features(stream: &mut (impl Read + Write), features: &str) {
    hear(stream, "'alice@localhost'>");
    say(stream, &format!("{HEADER}{PLAIN}"));
    hear(stream, "</auth>");
    say(stream, SUCCESS);
    hear(stream, "'alice@localhost'>");
    say(stream, &format!("{HEADER}{features}"));
}

/// The client on a connection to a server that manages streams and hangs up.
fn broken(
    identity: &Identity,
    script: impl FnOnce(&mut StreamOwned<ServerConnection, TcpStream>) + Send + 'static,
) -> Broken {
    let config = Arc::clone(&identity.config);
    let mut server = Server::start(move |stream| {
        let mut stream = Identity::accept(config, stream);
        serve_features(&mut stream, MANAGED);
        hear(&mut stream, "</iq>");
        say(&mut stream, BOUND);
        assert_eq!(hear(&mut stream, ENABLE), ENABLE);
        say(&mut stream, ENABLED);
        script(&mut stream);
    });
    let mut port = Port::new().unwrap();
    let mut connection = Connection::open(&options(&server, Tls::Direct, Some(identity)), &mut port).unwrap();
    assert!(!connection.is_resumed());
    connection.send(b"<a/>").unwrap();
    connection.send(b"<b/>").unwrap();
    while connection.next(now() + Duration::from_secs(9)).is_ok() {}
    server.join();
    connection.suspend().expect("the stream can go on")
}

#[test]
fn a_broken_stream_goes_on_where_it_was() {
    let identity = Identity::new(|_| ());
    let mut kept = Some(broken(&identity, |stream| {
        assert_eq!(hear(stream, "<r xmlns='urn:xmpp:sm:3'/>"), "<a/><b/><r xmlns='urn:xmpp:sm:3'/>");
        say(stream, "<presence/><a xmlns='urn:xmpp:sm:3' h='1'/><message/><r xmlns='urn:xmpp:sm:3'/>");
        assert_eq!(hear(stream, "/>"), "<r xmlns='urn:xmpp:sm:3'/>", "for the second");
        assert_eq!(hear(stream, "/>"), "<a xmlns='urn:xmpp:sm:3' h='2'/>");
    }));
    let config = Arc::clone(&identity.config);
    let mut server = Server::start(move |stream| {
        let mut stream = Identity::accept(config, stream);
        serve_features(&mut stream, MANAGED);
        assert_eq!(hear(&mut stream, "/>"), "<resume xmlns='urn:xmpp:sm:3' previd='s1' h='2'/>");
        say(&mut stream, "<resumed xmlns='urn:xmpp:sm:3' previd='s1' h='1'/><message id='missed'/>");
        assert_eq!(hear(&mut stream, "<r xmlns='urn:xmpp:sm:3'/>"), "<b/><r xmlns='urn:xmpp:sm:3'/>");
        say(&mut stream, "<a xmlns='urn:xmpp:sm:3' h='2'/>");
        let end = hear(&mut stream, "</stream:stream>");
        assert_eq!(end, "<a xmlns='urn:xmpp:sm:3' h='3'/></stream:stream>");
    });
    let mut port = Port::new().unwrap();
    let options = options(&server, Tls::Direct, Some(&identity));
    let mut connection = Connection::reopen(&options, &mut port, &mut kept).unwrap();
    assert!(connection.is_resumed() && kept.is_none());
    assert_eq!(connection.jid().to_string(), "alice@localhost/r1");
    let Incoming::Stanza(missed) = connection.next(now() + Duration::from_secs(9)).unwrap() else { panic!() };
    assert_eq!(missed.attr("id"), Some("missed"));
    assert_eq!(connection.next(now() + Duration::from_millis(50)).unwrap(), Incoming::Timeout);
    connection.close();
    server.join();
}

#[test]
fn a_stream_that_the_server_has_forgotten_begins_anew() {
    let identity = Identity::new(|_| ());
    let mut kept = Some(broken(&identity, |stream| drop(hear(stream, "<r xmlns='urn:xmpp:sm:3'/>"))));
    let gone = Server { address: "127.0.0.1:1".into(), thread: None };
    let mut port = Port::new().unwrap();
    let unreachable = options(&gone, Tls::Direct, Some(&identity));
    assert!(Connection::reopen(&unreachable, &mut port, &mut kept).is_err());
    assert!(kept.is_some(), "it may still go on");
    let config = Arc::clone(&identity.config);
    let mut server = Server::start(move |stream| {
        let mut stream = Identity::accept(config, stream);
        serve_features(&mut stream, MANAGED);
        hear(&mut stream, "<resume xmlns='urn:xmpp:sm:3' previd='s1' h='0'/>");
        say(&mut stream, "<failed xmlns='urn:xmpp:sm:3' h='1'><item-not-found xmlns='urn:x'/></failed>");
        assert!(hear(&mut stream, "</iq>").contains("<resource>r1</resource>"));
        say(&mut stream, BOUND);
        assert_eq!(hear(&mut stream, ENABLE), ENABLE, "nothing is sent again");
        // A count that cannot be, and what the server hears of it.
        say(&mut stream, &format!("{ENABLED}<a xmlns='urn:xmpp:sm:3' h='7'/>"));
        let end = hear(&mut stream, "</stream:stream>");
        assert!(end.contains("<handled-count-too-high xmlns='urn:xmpp:sm:3' h='7' send-count='0'/>"), "{end}");
    });
    let options = options(&server, Tls::Direct, Some(&identity));
    let mut connection = Connection::reopen(&options, &mut port, &mut kept).unwrap();
    assert!(!connection.is_resumed() && kept.is_none());
    let error = connection.next(now() + Duration::from_secs(9)).unwrap_err();
    assert!(matches!(error, ConnectError::Management(_)), "{error}");
    assert!(connection.suspend().is_none(), "one side has ended it");
    server.join();
}

#[test]
fn a_stream_that_was_ended_is_not_taken_up_again() {
    let identity = Identity::new(|_| ());
    for end in ["</stream:stream>", "<stream:error/></stream:stream>", "<message><!-- x --></message>"] {
        let config = Arc::clone(&identity.config);
        let mut server = Server::start(move |stream| {
            let mut stream = Identity::accept(config, stream);
            serve_features(&mut stream, MANAGED);
            hear(&mut stream, "</iq>");
            say(&mut stream, &format!("{BOUND}{ENABLED}{end}"));
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let mut port = Port::new().unwrap();
        let mut connection = Connection::open(&options(&server, Tls::Direct, Some(&identity)), &mut port).unwrap();
        while connection.next(now() + Duration::from_secs(9)).is_ok() {}
        assert!(connection.suspend().is_none(), "{end}");
        server.join();
    }
}

#[test]
fn why_a_server_hung_up_is_heard_even_if_it_takes_nothing_any_more() {
    let identity = Identity::new(|_| ());
    let config = Arc::clone(&identity.config);
    let mut server = Server::start(move |stream| {
        stream.set_nodelay(true).unwrap();
        let mut stream = Identity::accept(config, stream);
        serve_login(&mut stream);
        let why = "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>";
        say(&mut stream, &format!("{why}</stream:stream>"));
        // Whatever is sent to it from now on is answered with a reset.
        socket2::SockRef::from(&stream.sock).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let mut port = Port::new().unwrap();
    let mut connection = Connection::open(&options(&server, Tls::Direct, Some(&identity)), &mut port).unwrap();
    server.join();
    connection.send(b"<presence/>").unwrap();
    let error = connection.next(now() + Duration::from_secs(9)).unwrap_err();
    assert!(matches!(&error, ConnectError::Stream(error) if error.condition == "conflict"), "{error}");
    assert_eq!(error.retry(), Retry::Rarely);
}

#[test]
fn a_silent_server_that_manages_the_stream_is_asked_what_it_has_taken() {
    let identity = Identity::new(|_| ());
    let config = Arc::clone(&identity.config);
    let mut server = Server::start(move |stream| {
        let mut stream = Identity::accept(config, stream);
        serve_features(&mut stream, MANAGED);
        hear(&mut stream, "</iq>");
        say(&mut stream, &format!("{BOUND}{ENABLED}"));
        hear(&mut stream, ENABLE);
        assert_eq!(hear(&mut stream, "/>"), "<r xmlns='urn:xmpp:sm:3'/>");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let mut options = options(&server, Tls::Direct, Some(&identity));
    options.timing.silence = Duration::from_millis(100);
    options.timing.answer = Duration::from_millis(100);
    let mut port = Port::new().unwrap();
    let mut connection = Connection::open(&options, &mut port).unwrap();
    let error = connection.next(now() + Duration::from_secs(10)).unwrap_err();
    assert!(matches!(error, ConnectError::Silent), "{error}");
    assert!(connection.suspend().is_some());
    server.join();
}

#[test]
fn rules_broken_by_the_server_end_the_stream_with_the_condition() {
    let identity = Identity::new(|_| ());
    let config = Arc::clone(&identity.config);
    let mut server = Server::start(move |stream| {
        let mut stream = Identity::accept(config, stream);
        serve_login(&mut stream);
        say(&mut stream, "<message><!-- hello --></message>");
        let said = hear(&mut stream, "</stream:stream>");
        assert!(said.contains("<restricted-xml xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"), "{said}");
    });
    let options = options(&server, Tls::Direct, Some(&identity));
    let mut port = Port::new().unwrap();
    let mut connection = Connection::open(&options, &mut port).unwrap();
    let error = connection.next(now() + Duration::from_secs(9)).unwrap_err();
    assert!(matches!(error, ConnectError::Framing(FramingError::Restricted("comment"))), "{error}");
    server.join();
}

#[test]
fn a_server_that_does_not_read_fills_the_buffer_and_no_more() {
    let identity = Identity::new(|_| ());
    let config = Arc::clone(&identity.config);
    let (done, wait_for_done) = std::sync::mpsc::channel::<()>();
    let mut server = Server::start(move |stream| {
        let mut stream = Identity::accept(config, stream);
        serve_login(&mut stream);
        let _ = wait_for_done.recv();
    });
    let options = options(&server, Tls::Direct, Some(&identity));
    let mut port = Port::new().unwrap();
    let mut connection = Connection::open(&options, &mut port).unwrap();
    let stanza = format!("<m>{}</m>", "x".repeat(200_000)).into_bytes();
    let mut refused = false;
    for _ in 0..200 {
        refused = connection.send(&stanza) == Err(SendError::Full);
        if refused {
            break;
        }
        connection.next(now()).unwrap();
    }
    assert!(refused);
    assert!(connection.pending() <= MAX_PENDING);
    done.send(()).unwrap();
    server.join();
}

#[test]
fn debug_output_of_the_options_shows_no_password() {
    let gone = Server { address: "127.0.0.1:1".into(), thread: None };
    assert!(!format!("{:?}", options(&gone, Tls::Direct, None)).contains("hunter2"));
}
