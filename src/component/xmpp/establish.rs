//! From the settings of an account to a stream with a bound resource: look-up, TCP, TLS, login.
//!
//! Drives the pure [`Negotiation`] over a [`Link`]. The rule against injected plain text (RFC 6120 section 5.4.3.3) is
//! kept here: whenever a stream starts anew, nothing of the old one may be left unread.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use crossbeam_channel::RecvTimeoutError;
use jid::FullJid;

use super::connection::{AccountOptions, Broken};
use super::error::ConnectError;
use super::link::{Link, Received, wait};
use super::port::{Port, now};
use super::{resolve, tls_config};
use crate::bus::spawn;
use crate::proto::xmpp::dns::{self, Endpoint};
use crate::proto::xmpp::framing::{Frame, Framer, FramingError, Limits};
use crate::proto::xmpp::negotiation::{Login, Negotiation, NegotiationError, Step};
use crate::proto::xmpp::sasl::Mechanism;
use crate::proto::xmpp::stream::{self, Features, Tls};

/// How often a look-up that cannot be interrupted is checked against the stop flag.
const STOP_CHECK: Duration = Duration::from_millis(50);

/// A key of so many iterations is made without a thread of its own: some ten milliseconds.
const QUICK_ITERATIONS: u32 = 20_000;

/// A stream with a bound resource.
#[derive(Debug)]
pub(super) struct Established {
    pub(super) link: Link,
    /// May hold stanzas that came right behind the answer to the bind request.
    pub(super) framer: Framer,
    pub(super) jid: FullJid,
    pub(super) features: Option<Features>,
    /// How the login was done.
    pub(super) mechanism: Option<Mechanism>,
    /// Types of channel binding that the server does not know.
    pub(super) unknown_bindings: Vec<&'static str>,
    /// The broken stream goes on, and the server has taken so many of its stanzas.
    pub(super) resumed: Option<u32>,
}

/// What takes long is done beside this thread.
#[derive(Clone, Copy, Debug)]
enum Work {
    LookUp,
    Key,
}

impl Work {
    const fn thread(self) -> &'static str {
        match self {
            Self::LookUp => "xmpp-dns",
            Self::Key => "xmpp-key",
        }
    }

    const fn too_late(self) -> ConnectError {
        ConnectError::TimedOut(match self {
            Self::LookUp => "looking the server up",
            Self::Key => "making the password a key",
        })
    }
}

/// Tries the endpoints and their addresses one after the other. A broken stream is taken up again if the server has it.
pub(super) fn establish(
    options: &AccountOptions,
    port: &mut Port,
    broken: Option<&Broken>,
) -> Result<Established, ConnectError> {
    let domain = ascii_domain(options.jid.domain().as_str())?;
    let mut failure: Option<ConnectError> = None;
    let mut note = |error: ConnectError| {
        debug!(target: "bitween::xmpp", "{error}");
        if failure.as_ref().is_none_or(|failure| failure.progress() < error.progress()) {
            failure = Some(error);
        }
    };
    let location = broken.and_then(|broken| Endpoint::read(broken.location()?, options.tls));
    let usual = if options.first.is_some() { None } else { Some(endpoints(options, port, &domain)?) };
    for endpoint in location.into_iter().chain(options.first.clone()).chain(usual.into_iter().flatten()) {
        let addresses = {
            let endpoint = endpoint.clone();
            in_background(port, Work::LookUp, now() + options.timing.look_up, move || resolve::addresses(&endpoint))?
        };
        let addresses = match addresses {
            Ok(addresses) => addresses,
            Err(error) => {
                note(ConnectError::Dns { domain: endpoint.host.clone(), reason: error.to_string() });
                continue;
            }
        };
        for address in addresses {
            debug!(target: "bitween::xmpp", "connecting to {endpoint} ({address}, {:?})", endpoint.tls);
            let deadline = now() + options.timing.connect;
            let attempt = Link::connect(port, address, &domain, deadline)
                .and_then(|link| log_in(options, port, link, endpoint.tls, broken));
            match attempt {
                Ok(stream) => return Ok(stream),
                Err(error) if error.is_final() => return Err(error),
                Err(error) => note(error),
            }
        }
    }
    Err(failure.unwrap_or(ConnectError::Closed))
}

fn endpoints(options: &AccountOptions, port: &Port, domain: &str) -> Result<Vec<Endpoint>, ConnectError> {
    if let Some(server) = &options.server {
        return Ok(vec![fixed_endpoint(server, options.tls)?]);
    }
    // Names that no public name server knows are not asked for (RFC 6761), and addresses need no asking.
    let local = domain == "localhost" || domain.ends_with(".localhost");
    if local || domain.parse::<IpAddr>().is_ok() {
        let tls = options.tls.unwrap_or(Tls::StartTls);
        return Ok(vec![Endpoint { host: domain.to_owned(), port: dns::default_port(tls), tls }]);
    }
    let (name, tls, servers) = (domain.to_owned(), options.tls, options.name_servers.clone());
    in_background(port, Work::LookUp, now() + options.timing.look_up, move || resolve::endpoints(&name, tls, servers))?
        .map_err(|error| ConnectError::Dns { domain: domain.to_owned(), reason: error.to_string() })
}

/// The domain as DNS and certificates write it; addresses without brackets.
fn ascii_domain(domain: &str) -> Result<String, ConnectError> {
    if let Some(address) = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return Ok(address.to_owned());
    }
    idna::domain_to_ascii(domain).map_err(|_| ConnectError::Options(format!("'{domain}' is no valid domain")))
}

/// Reads the option `server`.
fn fixed_endpoint(server: &str, tls: Option<Tls>) -> Result<Endpoint, ConnectError> {
    let bad = || ConnectError::Options(format!("server = \"{server}\" is not of the form \"host:port\""));
    Endpoint::read(server, tls).ok_or_else(bad)
}

/// Runs what cannot be interrupted beside this thread, so that a stop need not wait for it.
fn in_background<T: Send + 'static>(
    port: &Port,
    kind: Work,
    deadline: Instant,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ConnectError> {
    let (sender, receiver) = crossbeam_channel::bounded(1);
    spawn(kind.thread(), move || drop(sender.send(work())))?;
    loop {
        match receiver.recv_timeout(STOP_CHECK) {
            Ok(found) => return Ok(found),
            Err(_) if port.is_interrupted() => return Err(ConnectError::Stopped),
            Err(RecvTimeoutError::Timeout) if now() < deadline => {}
            Err(_) => return Err(kind.too_late()),
        }
    }
}

/// From a TCP connection to a bound resource, or to the broken stream.
fn log_in(
    options: &AccountOptions,
    port: &mut Port,
    mut link: Link,
    tls: Tls,
    broken: Option<&Broken>,
) -> Result<Established, ConnectError> {
    let deadline = now() + options.timing.login;
    let config = tls_config::client_config(options.ca_file.as_deref(), tls)?;
    if tls == Tls::Direct {
        link.start_tls(port, config.clone(), deadline)?;
    }
    let mut framer = Framer::new(Limits::default());
    let channel = link.channel();
    let mut negotiation = Negotiation::begin(login(options, broken)?, tls, channel, link.out());
    loop {
        let frame = next_frame(port, &mut link, &mut framer, deadline)?;
        let step = negotiation.frame(frame, link.out()).map_err(|error| say_goodbye(&mut link, error))?;
        if matches!(step, Step::StartTls | Step::Restart) {
            if framer.has_unread() {
                return Err(ConnectError::Injected);
            }
            framer = Framer::new(Limits::default());
        }
        match step {
            Step::Continue | Step::Restart => {}
            Step::StartTls => {
                link.start_tls(port, config.clone(), deadline)?;
                negotiation.encrypted(link.channel(), link.out());
            }
            Step::Derive(derivation) => {
                let key = if derivation.iterations() <= QUICK_ITERATIONS {
                    derivation.run()
                } else {
                    in_background(port, Work::Key, deadline, move || derivation.run())?
                };
                negotiation.derived(&key, link.out()).map_err(|error| say_goodbye(&mut link, error))?;
            }
            Step::Bound(_) | Step::Resumed(_) => {
                let (features, mechanism) = (negotiation.features().cloned(), negotiation.mechanism());
                let unknown_bindings = negotiation.unknown_bindings().to_vec();
                let (jid, resumed) = match (step, broken) {
                    (Step::Bound(jid), _) => (jid, None),
                    (Step::Resumed(handled), Some(broken)) => (broken.jid().clone(), Some(handled)),
                    _ => return Err(NegotiationError::Unexpected("an answer nobody asked for").into()),
                };
                return Ok(Established { link, framer, jid, features, mechanism, unknown_bindings, resumed });
            }
        }
    }
}

/// Ends the stream, as far as the socket takes it now.
fn say_goodbye(link: &mut Link, error: NegotiationError) -> ConnectError {
    link.out().extend_from_slice(stream::CLOSE);
    let _ = link.flush();
    error.into()
}

fn login(options: &AccountOptions, broken: Option<&Broken>) -> Result<Login, ConnectError> {
    let mut random = [0; 24];
    getrandom::fill(&mut random).map_err(|error| ConnectError::Options(format!("no randomness: {error}")))?;
    let resource = options.jid.resource().map_or(options.resource.as_str(), |resource| resource.as_str());
    Ok(Login {
        account: options.jid.to_bare(),
        resource: resource.to_owned(),
        password: options.password.clone(),
        allow_plain: options.allow_plain,
        seen: options.strongest_login,
        unknown_bindings: options.unknown_bindings.clone(),
        nonce: BASE64.encode(random),
        resume: broken.and_then(Broken::resume_element),
    })
}

/// Waits for the next frame of the negotiation.
fn next_frame(port: &mut Port, link: &mut Link, framer: &mut Framer, deadline: Instant) -> Result<Frame, ConnectError> {
    let mut buffer = [0; 4096];
    loop {
        link.flush()?;
        if let Some(frame) = framer.next_frame().map_err(|error| say_and_fail(link, error))? {
            return Ok(frame);
        }
        if now() >= deadline {
            return Err(ConnectError::TimedOut("logging in"));
        }
        match link.read(&mut buffer)? {
            Received::Bytes(count) => framer.push(buffer.get(..count).unwrap_or_default()),
            Received::Nothing => wait(port, deadline)?,
            Received::Closed => return Err(NegotiationError::Closed.into()),
        }
    }
}

/// Tells the server which rule it broke (RFC 6120 section 4.9), as far as the socket takes it now.
pub(super) fn say_and_fail(link: &mut Link, error: FramingError) -> ConnectError {
    stream::write_error(error.condition(), "", link.out());
    let _ = link.flush();
    error.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_servers_are_read_in_all_their_forms() {
        let read = |text: &str| {
            fixed_endpoint(text, None).map(|endpoint| (endpoint.host, endpoint.port, endpoint.tls)).map_err(|_| ())
        };
        assert_eq!(read("example.org:5222"), Ok(("example.org".into(), 5222, Tls::StartTls)));
        assert_eq!(read("example.org:5223"), Ok(("example.org".into(), 5223, Tls::Direct)));
        assert_eq!(read("example.org"), Ok(("example.org".into(), 5222, Tls::StartTls)));
        assert_eq!(read("[::1]:7"), Ok(("::1".into(), 7, Tls::StartTls)));
        assert_eq!(read("[::1]"), Ok(("::1".into(), 5222, Tls::StartTls)));
        assert_eq!(read("::1"), Ok(("::1".into(), 5222, Tls::StartTls)));
        for bad in ["", ":5222", "a:b", "a:70000", "a b:1", "https://a:1"] {
            assert_eq!(read(bad), Err(()), "{bad}");
        }
        assert_eq!(fixed_endpoint("a", Some(Tls::Direct)).unwrap().port, 5223);
    }

    #[test]
    fn domains_become_ascii() {
        assert_eq!(ascii_domain("bücher.example").unwrap(), "xn--bcher-kva.example");
        assert_eq!(ascii_domain("[::1]").unwrap(), "::1");
    }
}
