//! From the first byte of a stream to a bound resource: STARTTLS, SASL, bind (RFC 6120 sections 4 to 7), or to an
//! earlier stream that goes on (XEP-0198). Pure.
//!
//! Frames go in, bytes to send come out, and a [`Step`] tells the driver what only it can do: encrypt the connection,
//! or begin a new stream. The driver must begin each new stream with a fresh framer, and must give the connection up if
//! the old framer still holds bytes (they were injected before the encryption began). Before TLS nothing the server
//! says is believed, except that it can do TLS. SASL2 and Bind 2 would be further states here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jid::{BareJid, FullJid};
use minidom::Element;
use quick_xml::escape::escape;
use thiserror::Error;
use xmpp_parsers::ns;
use zeroize::{Zeroize, Zeroizing};

use super::backoff::Retry;
use super::downgrade::{self, Channel, Offer, Policy};
use super::framing::Frame;
use super::resume::{self, SmError};
use super::sasl::{ChannelBinding, Derivation, Exchange, Mechanism, Reply, SaltedPassword, SaslError};
use super::stream::{self, Features, StreamError, Tls};

/// The stanza id of the bind request; ids need only be unique within the stream.
const BIND_ID: &str = "bind";

/// Who wants to log in, and how.
pub struct Login {
    /// The account.
    pub account: BareJid,
    /// The resource to ask for.
    pub resource: String,
    /// The password; wiped when this value goes.
    pub password: Zeroizing<String>,
    /// Whether the password itself may be sent (inside TLS) to a server that offers nothing better.
    pub allow_plain: bool,
    /// The strongest mechanism that this account ever logged in with; a weaker one is used only if the server signs
    /// that it offers no better.
    pub seen: Option<Mechanism>,
    /// Types of channel binding that the server did not know, although it announces none; they are not tried while it
    /// announces none, unless a login was bound once.
    pub unknown_bindings: Vec<&'static str>,
    /// Fresh randomness for SASL: printable ASCII without commas, at least 128 bits.
    pub nonce: String,
    /// The `<resume/>` of an earlier stream, to be taken up again instead of binding a resource.
    pub resume: Option<Vec<u8>>,
}

/// What the driver does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send what was written and wait for the next frame.
    Continue,
    /// Make sure that nothing is unread, do the TLS handshake, then call [`Negotiation::encrypted`].
    StartTls,
    /// Make sure that nothing is unread, take a new framer; the new header is already written.
    Restart,
    /// Do this work, then call [`Negotiation::derived`].
    Derive(Derivation),
    /// The stream is ready for stanzas.
    Bound(FullJid),
    /// The earlier stream goes on; the server has taken so many of its stanzas.
    Resumed(u32),
}

/// Why there will be no stream.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum NegotiationError {
    /// What answers is not an XMPP server of today.
    #[error("{0}")]
    NotXmpp(&'static str),
    /// The server does not offer STARTTLS: either it is set up wrongly, or somebody between removes the offer.
    #[error("the server offers no encryption (STARTTLS), so no password is sent to it")]
    NoTls,
    /// The server offers STARTTLS and refuses to do it.
    #[error("the server refused to begin encryption (STARTTLS)")]
    TlsRefused,
    /// The exchange failed on our side.
    #[error(transparent)]
    Sasl(#[from] SaslError),
    /// The server refused the login: wrong password, account disabled, ... (RFC 6120 section 6.5).
    #[error("{}", describe_refusal(.condition, .text.as_deref()))]
    Refused {
        /// The defined condition, e.g. `not-authorized`.
        condition: String,
        /// The server's words.
        text: Option<String>,
    },
    /// The server refused a login that said "you do not bind to the channel, though I could": the password may be wrong,
    /// or it does, and its offer does not say so.
    #[error(
        "the server refused the login: wrong user name or password, or it can bind logins to the channel and that is \
         missing in its offer (its administrator has switched it off, or somebody between has taken it out)"
    )]
    RefusedUnbound {
        /// The server has not said that the password is wrong.
        malformed: bool,
    },
    /// No resource could be bound (RFC 6120 section 7.6).
    #[error("the server gave no resource: {0}")]
    Bind(String),
    /// What the server says of the earlier stream makes no sense.
    #[error("the server cannot go on with the stream before: {0}")]
    Resume(SmError),
    /// The server ended the stream with an error.
    #[error("the server closed the stream: {0}")]
    Stream(StreamError),
    /// The server ended the stream without one.
    #[error("the server closed the stream")]
    Closed,
    /// The server sent something that has no place at this point.
    #[error("the server sent something unexpected while logging in: {0}")]
    Unexpected(&'static str),
}

impl NegotiationError {
    /// Whether and when a new attempt makes sense.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Refused { condition, .. } => match condition.as_str() {
                "temporary-auth-failure" | "aborted" => Retry::Soon,
                "not-authorized" | "account-disabled" | "credentials-expired" | "invalid-authzid" => Retry::Never,
                _ => Retry::Later,
            },
            // The password may be wrong, and servers lock accounts that keep trying.
            Self::RefusedUnbound { malformed: false } | Self::Sasl(SaslError::BadCredentials(_)) => Retry::Never,
            Self::RefusedUnbound { malformed: true } => Retry::Later,
            Self::Stream(error) => error.retry(),
            Self::Closed | Self::Unexpected(_) | Self::Resume(_) => Retry::Soon,
            Self::NotXmpp(_) | Self::NoTls | Self::TlsRefused | Self::Sasl(_) | Self::Bind(_) => Retry::Later,
        }
    }
}

fn describe_refusal(condition: &str, text: Option<&str>) -> String {
    let words = match condition {
        // What servers add to this is about their mathematics.
        "not-authorized" => return "the server refused the login: wrong user name or password".to_owned(),
        "account-disabled" => "the server refused the login: the account is disabled".to_owned(),
        "credentials-expired" => "the server refused the login: the password has expired".to_owned(),
        other => format!("the server refused the login: {other}"),
    };
    text.map_or_else(|| words.clone(), |text| format!("{words} (\"{text}\")"))
}

/// Where the negotiation is.
enum State {
    /// A header was sent, the server's is awaited.
    Header,
    /// The features are awaited.
    Features,
    /// `<starttls/>` was sent.
    StartTls,
    /// SASL is under way.
    Sasl(Exchange),
    /// SASL waits for a key.
    Deriving(Exchange),
    /// The earlier stream is to be taken up again.
    Resume,
    /// The bind request was sent.
    Bind,
    /// Nothing more is expected: TLS must begin, or all is done.
    Idle,
}

/// How much has been reached; decides what is asked of the features.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Plain,
    Encrypted,
    Authenticated,
}

/// The negotiation of one connection.
pub struct Negotiation {
    login: Login,
    phase: Phase,
    state: State,
    features: Option<Features>,
    /// What a login can be bound to.
    channel: Channel,
    /// Types of channel binding that the server does not know.
    unknown_bindings: Vec<&'static str>,
    /// The server was told that it seems not to bind to the channel.
    said_unoffered: bool,
    /// The mechanism that succeeded.
    used: Option<Mechanism>,
}

impl std::fmt::Debug for Negotiation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Negotiation").field("account", &self.login.account).finish_non_exhaustive()
    }
}

impl Negotiation {
    /// Begins. With [`Tls::Direct`] the TLS handshake must have been done already, and `channel` is of it. Appends the
    /// first bytes to `out`.
    pub fn begin(mut login: Login, tls: Tls, channel: Channel, out: &mut Vec<u8>) -> Self {
        let mut unknown_bindings = std::mem::take(&mut login.unknown_bindings);
        if login.seen.is_some_and(Mechanism::is_bound) {
            unknown_bindings.clear();
        }
        let phase = if tls == Tls::Direct { Phase::Encrypted } else { Phase::Plain };
        let mut negotiation = Self {
            login,
            phase,
            state: State::Idle,
            features: None,
            channel,
            unknown_bindings,
            said_unoffered: false,
            used: None,
        };
        negotiation.open(out);
        negotiation
    }

    /// The connection is encrypted now, and the server's certificate was found good.
    pub fn encrypted(&mut self, channel: Channel, out: &mut Vec<u8>) {
        self.channel = channel;
        self.phase = Phase::Encrypted;
        self.open(out);
    }

    /// The features of the stream as it is now, without those of the steps before.
    pub const fn features(&self) -> Option<&Features> {
        self.features.as_ref()
    }

    /// Takes the next frame and appends the answer to `out`, which may hold secrets.
    ///
    /// # Errors
    /// [`NegotiationError`]; the connection is to be closed.
    pub fn frame(&mut self, frame: Frame, out: &mut Vec<u8>) -> Result<Step, NegotiationError> {
        let element = match frame {
            Frame::End => return Err(NegotiationError::Closed),
            Frame::Header(header) => {
                if !matches!(self.state, State::Header) {
                    return Err(NegotiationError::Unexpected("a second header"));
                }
                stream::check_header(&header).map_err(NegotiationError::NotXmpp)?;
                self.state = State::Features;
                return Ok(Step::Continue);
            }
            Frame::Element(element) => element,
        };
        if let Some(error) = StreamError::from_element(&element) {
            return Err(NegotiationError::Stream(error));
        }
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Features => self.take_features(element, out),
            State::StartTls if element.is("proceed", ns::TLS) => Ok(Step::StartTls),
            State::StartTls if element.is("failure", ns::TLS) => Err(NegotiationError::TlsRefused),
            State::Sasl(exchange) => self.sasl(exchange, &element, out),
            State::Deriving(_) => Err(NegotiationError::Unexpected("an element before the answer to the last")),
            State::Resume => self.resumed(&element, out),
            State::Bind => self.bound(&element),
            State::Header | State::StartTls | State::Idle => Err(NegotiationError::Unexpected("an element too early")),
        }
    }

    fn open(&mut self, out: &mut Vec<u8>) {
        let account = &self.login.account;
        let from = (self.phase != Phase::Plain).then(|| account.as_str());
        stream::write_header(account.domain().as_str(), from, out);
        self.state = State::Header;
        self.features = None;
    }

    fn take_features(&mut self, element: Element, out: &mut Vec<u8>) -> Result<Step, NegotiationError> {
        let features =
            Features::from_element(element).map_err(|_| NegotiationError::Unexpected("no stream features"))?;
        match self.phase {
            Phase::Plain => {
                if !features.starttls() {
                    return Err(NegotiationError::NoTls);
                }
                out.extend_from_slice(format!("<starttls xmlns='{}'/>", ns::TLS).as_bytes());
                self.state = State::StartTls;
            }
            Phase::Encrypted => self.authenticate(&Offer::of(&features), out)?,
            Phase::Authenticated => {
                if !features.bind() {
                    return Err(NegotiationError::Bind("it does not offer any".to_owned()));
                }
                match self.login.resume.take().filter(|_| features.has("sm", resume::NS)) {
                    Some(element) => {
                        out.extend_from_slice(&element);
                        self.state = State::Resume;
                    }
                    None => self.bind(out),
                }
            }
        }
        self.features = Some(features);
        Ok(Step::Continue)
    }

    /// Begins the best login of those offered.
    fn authenticate(&mut self, offer: &Offer, out: &mut Vec<u8>) -> Result<(), NegotiationError> {
        if offer.bindings.is_some() {
            self.unknown_bindings.clear();
        }
        let policy = Policy {
            allow_plain: self.login.allow_plain,
            seen: self.login.seen,
            unknown_bindings: self.unknown_bindings.clone(),
        };
        let choice = downgrade::choose(offer, &self.channel, &policy)?;
        let user = self.login.account.node().ok_or(SaslError::BadCredentials("user name"))?;
        // Each try has a nonce of its own.
        let nonce = format!("{}{}", self.login.nonce, self.unknown_bindings.len());
        let attribute = format!(" mechanism='{}'", choice.mechanism.name());
        self.said_unoffered = choice.mechanism.hash().is_some() && choice.binding == ChannelBinding::NotOffered;
        let exchange = Exchange::new(choice, user.as_str(), &self.login.password, &nonce)?;
        write_sasl("auth", &attribute, &exchange.initial(), out);
        self.state = State::Sasl(exchange);
        Ok(())
    }

    /// Goes on with the key of a [`Step::Derive`].
    ///
    /// # Errors
    /// [`NegotiationError`]; the connection is to be closed.
    pub fn derived(&mut self, salted: &SaltedPassword, out: &mut Vec<u8>) -> Result<(), NegotiationError> {
        let State::Deriving(mut exchange) = std::mem::replace(&mut self.state, State::Idle) else {
            return Err(NegotiationError::Unexpected("a key that nobody asked for"));
        };
        write_sasl("response", "", &exchange.derived(salted)?, out);
        self.state = State::Sasl(exchange);
        Ok(())
    }

    /// The mechanism that the login succeeded with.
    pub const fn mechanism(&self) -> Option<Mechanism> {
        self.used
    }

    /// Types of channel binding that the server turned out not to know, although it announces none.
    pub fn unknown_bindings(&self) -> &[&'static str] {
        &self.unknown_bindings
    }

    fn sasl(&mut self, mut exchange: Exchange, element: &Element, out: &mut Vec<u8>) -> Result<Step, NegotiationError> {
        if !element.has_ns(ns::SASL) {
            return Err(NegotiationError::Unexpected("a stanza during the login"));
        }
        match element.name() {
            "challenge" => {
                let challenge = decode(&element.text())?.unwrap_or_default();
                match exchange.challenge(&challenge)? {
                    Reply::Send(answer) => {
                        write_sasl("response", "", &answer, out);
                        self.state = State::Sasl(exchange);
                        Ok(Step::Continue)
                    }
                    Reply::Derive(derivation) => {
                        self.state = State::Deriving(exchange);
                        Ok(Step::Derive(derivation))
                    }
                }
            }
            "success" => {
                exchange.success(decode(&element.text())?.as_deref())?;
                self.used = Some(exchange.mechanism());
                self.login.password.zeroize();
                self.phase = Phase::Authenticated;
                self.open(out);
                Ok(Step::Restart)
            }
            "failure" => {
                let offer = self.features.as_ref().map(Offer::of).unwrap_or_default();
                if let Some(kind) = exchange.untried_binding().filter(|_| offer.bindings.is_none()) {
                    self.unknown_bindings.push(kind);
                    // It does not know a type that it did not announce either. Nothing that depends on the password has
                    // been said yet, so this is no failed login.
                    self.authenticate(&offer, out)?;
                    return Ok(Step::Continue);
                }
                let (condition, text) = stream::condition_and_text(element, ns::SASL);
                let condition = condition.unwrap_or_else(|| "no reason given".to_owned());
                // ejabberd says the one, Prosody the other.
                Err(match condition.as_str() {
                    "not-authorized" if self.said_unoffered => NegotiationError::RefusedUnbound { malformed: false },
                    "malformed-request" if self.said_unoffered => NegotiationError::RefusedUnbound { malformed: true },
                    _ => NegotiationError::Refused { condition, text },
                })
            }
            _ => Err(NegotiationError::Unexpected("an unknown login message")),
        }
    }

    /// The server has kept the earlier stream, or has not: then a resource is bound on this one (XEP-0198 section 5).
    fn resumed(&mut self, element: &Element, out: &mut Vec<u8>) -> Result<Step, NegotiationError> {
        if element.is("resumed", resume::NS) {
            return resume::handled(element).map(Step::Resumed).map_err(NegotiationError::Resume);
        }
        if !element.is("failed", resume::NS) {
            return Err(NegotiationError::Unexpected("neither a yes nor a no to going on"));
        }
        self.bind(out);
        Ok(Step::Continue)
    }

    fn bind(&mut self, out: &mut Vec<u8>) {
        let resource = escape(self.login.resource.as_str());
        let request = format!(
            "<iq type='set' id='{BIND_ID}'><bind xmlns='{}'><resource>{resource}</resource></bind></iq>",
            ns::BIND
        );
        out.extend_from_slice(request.as_bytes());
        self.state = State::Bind;
    }

    fn bound(&mut self, element: &Element) -> Result<Step, NegotiationError> {
        if !element.is("iq", ns::JABBER_CLIENT) || element.attr("id") != Some(BIND_ID) {
            self.state = State::Bind;
            return Ok(Step::Continue);
        }
        if element.attr("type") != Some("result") {
            let error = element.get_child("error", ns::JABBER_CLIENT);
            let (condition, text) =
                error.map_or((None, None), |error| stream::condition_and_text(error, ns::XMPP_STANZAS));
            let reason = condition.unwrap_or_else(|| "no reason given".to_owned());
            return Err(NegotiationError::Bind(
                text.map_or_else(|| reason.clone(), |text| format!("{reason} ({text})")),
            ));
        }
        let bind = element.get_child("bind", ns::BIND);
        let jid = bind.and_then(|bind| bind.get_child("jid", ns::BIND)).map(|jid| FullJid::new(jid.text().trim()));
        match jid {
            Some(Ok(jid)) => Ok(Step::Bound(jid)),
            _ => Err(NegotiationError::Bind("its answer has no full JID".to_owned())),
        }
    }
}

/// Base64 of a SASL element: nothing at all, `=` for an empty message, or a message (RFC 6120 section 6.4.2).
fn decode(text: &str) -> Result<Option<Vec<u8>>, SaslError> {
    match text.trim() {
        "" => Ok(None),
        "=" => Ok(Some(Vec::new())),
        text => BASE64.decode(text).map(Some).map_err(|_| SaslError::Malformed("not base64")),
    }
}

fn write_sasl(name: &str, attribute: &str, message: &[u8], out: &mut Vec<u8>) {
    let text = Zeroizing::new(BASE64.encode(message));
    // An empty response is an empty element; only an initial response needs "=", and none of ours is empty.
    let element = Zeroizing::new(format!("<{name} xmlns='{}'{attribute}>{}</{name}>", ns::SASL, *text));
    out.extend_from_slice(element.as_bytes());
}

#[cfg(test)]
mod tests;
