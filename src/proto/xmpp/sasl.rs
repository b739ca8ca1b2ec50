//! SASL for clients: SCRAM (RFC 5802) with SHA-1, SHA-256 (RFC 7677) and SHA-512, each also bound to the TLS channel
//! (`-PLUS`), and PLAIN (RFC 4616), as a pure state machine.
//!
//! Works on the decoded messages; base64 and XML are the stream's business. The nonce is given, so exchanges can be
//! replayed in tests. Everything the server says is checked: its nonce extends ours, salt and iteration count are
//! within bounds, and its signature proves that it knows the password too, also when it comes inside `<success/>`.
//! Passwords and what is derived from them are wiped after use and appear in no error. The one step that takes long,
//! the derivation of the key, is handed out as a [`Derivation`], to be done wherever there is time for it. Which
//! mechanism to use is decided in `downgrade.rs`.

mod mechanism;
#[cfg(test)]
mod tests;

pub use mechanism::{ChannelBinding, HashKind, Mechanism};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{EagerHash, Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use thiserror::Error;
use zeroize::Zeroizing;

use super::downgrade::Choice;

/// The fewest iterations accepted (RFC 7677 section 4): fewer make a stolen exchange cheap to crack.
pub const MIN_ITERATIONS: u32 = 4096;

/// The most iterations accepted. Above every current recommendation (OWASP: 1,300,000 for SHA-1), yet computed in
/// seconds on a common machine (a small board may not be done when the login's time is over): without a bound a server
/// could keep a thread busy for hours.
pub const MAX_ITERATIONS: u32 = 2_000_000;

/// Bytes a server's message may have. Real ones have below 200.
const MAX_MESSAGE: usize = 4096;

/// Why an exchange failed. No variant carries a secret.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SaslError {
    /// Nothing the server offers is good enough.
    #[error("the server offers no acceptable login mechanism (it offers: {offered}){}", if *.plain_refused { "; PLAIN is not allowed by the configuration" } else { "" })]
    NoMechanism {
        /// The server's list.
        offered: String,
        /// PLAIN was on it.
        plain_refused: bool,
    },
    /// User name or password contain something that cannot be sent.
    #[error("the {0} contains characters that cannot be used to log in")]
    BadCredentials(&'static str),
    /// The server's message breaks the protocol.
    #[error("the server's login message is wrong: {0}")]
    Malformed(&'static str),
    /// The iteration count is outside [`MIN_ITERATIONS`]..=[`MAX_ITERATIONS`].
    #[error("the server asks for {0} iterations; accepted are {MIN_ITERATIONS} to {MAX_ITERATIONS}")]
    Iterations(u64),
    /// The nonce does not begin with ours: an old exchange is being replayed.
    #[error("the server answered to a different login attempt")]
    WrongNonce,
    /// The server does not know the password: it is not the one it claims to be.
    #[error("the server could not prove that it knows the account")]
    WrongSignature,
    /// What the server has signed is another offer than the one that arrived.
    #[error(
        "somebody between here and the server has changed the list of logins that it offers, so no password was used"
    )]
    OfferChanged,
    /// The server offers less than it once did, and does not sign that it does.
    #[error(
        "the server offers weaker logins than before ({0} at best); if that is right, set the account again \
         (`bitween account set`)"
    )]
    Weaker(&'static str),
    /// The server offers channel binding and announces no type of it that is known here, and does not sign that.
    #[error(
        "the server says that it binds logins to the channel only in ways that are not known here ({0}), and does not \
         sign that, so no password was used; it should do tls-exporter or tls-server-end-point, or somebody between has \
         changed its offer"
    )]
    UnknownBindings(String),
    /// The server said no inside the exchange (RFC 5802 section 7, `e=`).
    #[error("the server refused the login: {0}")]
    Refused(String),
}

impl SaslError {
    /// Nothing of this list will do.
    pub(super) fn no_mechanism(offered: &[String]) -> Self {
        let plain_refused = offered.iter().any(|name| name == Mechanism::Plain.name());
        Self::NoMechanism { offered: printable(&offered.join(", ")), plain_refused }
    }

    /// None of these types will do.
    pub(super) fn unknown_bindings(kinds: &[String]) -> Self {
        Self::UnknownBindings(printable(&kinds.join(", ")))
    }

    /// Whether it is about what was offered on one connection: nothing made of the password was sent, and another of
    /// the server's addresses may offer more.
    pub const fn is_of_the_offer(&self) -> bool {
        matches!(self, Self::NoMechanism { .. } | Self::OfferChanged | Self::Weaker(_) | Self::UnknownBindings(_))
    }
}

/// What follows a challenge.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// Send this.
    Send(Zeroizing<Vec<u8>>),
    /// Do this, then call [`Exchange::derived`].
    Derive(Derivation),
}

/// The work of an exchange: a password is made a key, which takes up to some seconds.
#[derive(Clone, PartialEq, Eq)]
pub struct Derivation {
    hash: HashKind,
    password: Zeroizing<String>,
    salt: Vec<u8>,
    iterations: u32,
}

impl std::fmt::Debug for Derivation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Derivation").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// The key that a password became.
pub struct SaltedPassword(Zeroizing<Vec<u8>>);

impl Derivation {
    /// How much work it is.
    pub const fn iterations(&self) -> u32 {
        self.iterations
    }

    /// Does it.
    pub fn run(&self) -> SaltedPassword {
        SaltedPassword(match self.hash {
            HashKind::Sha1 => self.stretch::<Sha1>(),
            HashKind::Sha256 => self.stretch::<Sha256>(),
            HashKind::Sha512 => self.stretch::<Sha512>(),
        })
    }

    fn stretch<D: EagerHash + Digest>(&self) -> Zeroizing<Vec<u8>> {
        let mut salted = Zeroizing::new(vec![0; <D as Digest>::output_size()]);
        pbkdf2::pbkdf2_hmac::<D>(self.password.as_bytes(), &self.salt, self.iterations, &mut salted);
        salted
    }
}

/// One exchange with one mechanism.
pub struct Exchange {
    mechanism: Mechanism,
    /// The offer as the server should have signed it (XEP-0474), and why it must have.
    offered: Option<String>,
    unless_signed: Option<SaslError>,
    state: State,
}

enum State {
    /// PLAIN: the one message; afterwards only success can come.
    Plain { message: Zeroizing<Vec<u8>> },
    /// SCRAM: the first message is made, the challenge is awaited.
    First { bare: String, nonce: String, password: Zeroizing<String>, binding: ChannelBinding },
    /// SCRAM: the key is being derived; then this is signed with it, and sent with the proof.
    Deriving { signed: String, without_proof: String },
    /// SCRAM: the proof is sent, the server's signature is awaited. Holds the HMAC key and what is signed.
    Proved { server_key: Zeroizing<Vec<u8>>, signed: String },
    /// The server has proved itself.
    Verified,
    /// An error happened, or a step is under way.
    Spent,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

impl Exchange {
    /// Prepares an exchange. `nonce` must be fresh printable ASCII without commas, with at least 128 bits of
    /// randomness.
    ///
    /// # Errors
    /// [`SaslError::BadCredentials`] if user name or password cannot be prepared (SASLprep, RFC 4013).
    pub fn new(choice: impl Into<Choice>, user: &str, password: &str, nonce: &str) -> Result<Self, SaslError> {
        let Choice { mechanism, binding, offered, unless_signed } = choice.into();
        let user = prepare(user).ok_or(SaslError::BadCredentials("user name"))?;
        let password = prepare(password).ok_or(SaslError::BadCredentials("password"))?;
        let state = if mechanism == Mechanism::Plain {
            let message = Zeroizing::new([b"\0", user.as_bytes(), b"\0", password.as_bytes()].concat());
            State::Plain { message }
        } else {
            let bare = format!("n={},r={nonce}", escape(&user));
            State::First { bare, nonce: nonce.to_owned(), password, binding }
        };
        Ok(Self { mechanism, offered, unless_signed, state })
    }

    /// The mechanism in use.
    pub const fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// The client's first message.
    pub fn initial(&self) -> Zeroizing<Vec<u8>> {
        match &self.state {
            State::Plain { message } => message.clone(),
            State::First { bare, binding, .. } => Zeroizing::new((binding.gs2_header() + bare).into_bytes()),
            _ => Zeroizing::default(),
        }
    }

    /// The type of channel binding, if there is one and no challenge has come yet: the server has seen nothing that
    /// depends on the password.
    pub const fn untried_binding(&self) -> Option<&'static str> {
        match &self.state {
            State::First { binding, .. } => binding.kind(),
            _ => None,
        }
    }

    /// Takes a challenge.
    ///
    /// # Errors
    /// [`SaslError`]; the exchange is over then.
    pub fn challenge(&mut self, message: &[u8]) -> Result<Reply, SaslError> {
        let text = message_text(message)?;
        match (std::mem::replace(&mut self.state, State::Spent), self.mechanism.hash()) {
            (State::First { bare, nonce, password, binding }, Some(hash)) => {
                let first = ServerFirst::parse(text, &nonce)?;
                self.check_offer(hash, first.offer_hash)?;
                let without_proof = format!("c={},r={}", BASE64.encode(&*binding.repeated()), first.nonce);
                self.state = State::Deriving { signed: format!("{bare},{text},{without_proof}"), without_proof };
                Ok(Reply::Derive(Derivation { hash, password, salt: first.salt, iterations: first.iterations }))
            }
            (State::Proved { server_key, signed }, Some(hash)) => {
                self.check_final(hash, text, &server_key, &signed)?;
                Ok(Reply::Send(Zeroizing::default()))
            }
            _ => Err(SaslError::Malformed("an unexpected challenge")),
        }
    }

    /// The answer to the challenge, now that the key is there.
    ///
    /// # Errors
    /// [`SaslError::Malformed`] if none was asked for.
    pub fn derived(&mut self, salted: &SaltedPassword) -> Result<Zeroizing<Vec<u8>>, SaslError> {
        let state = std::mem::replace(&mut self.state, State::Spent);
        let (State::Deriving { signed, without_proof }, Some(hash)) = (state, self.mechanism.hash()) else {
            return Err(SaslError::Malformed("a key that nobody asked for"));
        };
        let (proof, server_key) = match hash {
            HashKind::Sha1 => prove::<Sha1>(&salted.0, &signed),
            HashKind::Sha256 => prove::<Sha256>(&salted.0, &signed),
            HashKind::Sha512 => prove::<Sha512>(&salted.0, &signed),
        };
        self.state = State::Proved { server_key, signed };
        Ok(Zeroizing::new(format!("{without_proof},p={}", BASE64.encode(&*proof)).into_bytes()))
    }

    /// Compares the offer that arrived with the one that the server signs. The signature itself is part of what both
    /// sides prove afterwards.
    fn check_offer(&self, hash: HashKind, signed: Option<&str>) -> Result<(), SaslError> {
        match (signed, &self.offered) {
            (Some(signed), Some(offered)) => {
                let expected = match hash {
                    HashKind::Sha1 => BASE64.encode(Sha1::digest(offered)),
                    HashKind::Sha256 => BASE64.encode(Sha256::digest(offered)),
                    HashKind::Sha512 => BASE64.encode(Sha512::digest(offered)),
                };
                if signed == expected { Ok(()) } else { Err(SaslError::OfferChanged) }
            }
            _ => self.unless_signed.clone().map_or(Ok(()), Err),
        }
    }

    /// Takes the server's word that the login succeeded, with the data that came along.
    ///
    /// # Errors
    /// [`SaslError`] if the mechanism demands a proof from the server and there was none: then this is no success.
    pub fn success(&mut self, data: Option<&[u8]>) -> Result<(), SaslError> {
        match (std::mem::replace(&mut self.state, State::Spent), self.mechanism.hash()) {
            (State::Plain { .. } | State::Verified, _) => Ok(()),
            (State::Proved { server_key, signed }, Some(hash)) => {
                let text = message_text(data.unwrap_or_default())?;
                self.check_final(hash, text, &server_key, &signed)
            }
            _ => Err(SaslError::WrongSignature),
        }
    }

    fn check_final(&mut self, hash: HashKind, text: &str, server_key: &[u8], signed: &str) -> Result<(), SaslError> {
        let attribute = text.split(',').next().unwrap_or_default();
        if let Some(error) = attribute.strip_prefix("e=") {
            return Err(SaslError::Refused(printable(error)));
        }
        let signature = attribute.strip_prefix("v=").and_then(|value| BASE64.decode(value).ok());
        let signature = signature.ok_or(SaslError::WrongSignature)?;
        let right = match hash {
            HashKind::Sha1 => mac::<Sha1>(server_key, signed.as_bytes()).verify_slice(&signature).is_ok(),
            HashKind::Sha256 => mac::<Sha256>(server_key, signed.as_bytes()).verify_slice(&signature).is_ok(),
            HashKind::Sha512 => mac::<Sha512>(server_key, signed.as_bytes()).verify_slice(&signature).is_ok(),
        };
        if !right {
            return Err(SaslError::WrongSignature);
        }
        self.state = State::Verified;
        Ok(())
    }
}

/// The server's first SCRAM message: `r=nonce,s=salt,i=iterations`, and what extensions add.
struct ServerFirst<'t> {
    nonce: &'t str,
    salt: Vec<u8>,
    iterations: u32,
    /// The hash of what the server offers (XEP-0474).
    offer_hash: Option<&'t str>,
}

impl<'t> ServerFirst<'t> {
    fn parse(text: &'t str, ours: &str) -> Result<Self, SaslError> {
        let mut attributes = text.split(',');
        let mut value = |name: &str| attributes.next().and_then(|attribute| attribute.strip_prefix(name));
        // A mandatory extension would be the first attribute; none is known, so it fails here.
        let nonce = value("r=").ok_or(SaslError::Malformed("no nonce"))?;
        let salt = value("s=").and_then(|salt| BASE64.decode(salt).ok()).filter(|salt| !salt.is_empty());
        let salt = salt.ok_or(SaslError::Malformed("no salt"))?;
        let iterations: u64 =
            value("i=").and_then(|count| count.parse().ok()).ok_or(SaslError::Malformed("no iteration count"))?;
        let mut offer_hash = None;
        for extension in attributes {
            if extension.starts_with("m=") {
                return Err(SaslError::Malformed("an unknown mandatory extension"));
            }
            offer_hash = offer_hash.or_else(|| extension.strip_prefix("h="));
        }
        if !nonce.starts_with(ours) || nonce.len() == ours.len() {
            return Err(SaslError::WrongNonce);
        }
        let iterations = u32::try_from(iterations)
            .ok()
            .filter(|count| (MIN_ITERATIONS..=MAX_ITERATIONS).contains(count))
            .ok_or(SaslError::Iterations(iterations))?;
        Ok(Self { nonce, salt, iterations, offer_hash })
    }
}

/// Client proof and server key (RFC 5802 section 3).
fn prove<D: EagerHash + Digest>(salted: &[u8], signed: &str) -> (Zeroizing<Vec<u8>>, Zeroizing<Vec<u8>>) {
    let client_key = Zeroizing::new(mac::<D>(salted, b"Client Key").finalize().into_bytes().to_vec());
    let stored_key = D::digest(&*client_key);
    let signature = mac::<D>(&stored_key, signed.as_bytes()).finalize().into_bytes();
    let proof = client_key.iter().zip(&*signature).map(|(key, mask)| key ^ mask).collect();
    let server_key = mac::<D>(salted, b"Server Key").finalize().into_bytes().to_vec();
    (Zeroizing::new(proof), Zeroizing::new(server_key))
}

fn mac<D: EagerHash>(key: &[u8], message: &[u8]) -> Hmac<D> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    let mut mac = <Hmac<D> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.update(message);
    mac
}

/// SASLprep. It refuses characters newer than Unicode 3.2 (emoji, ...), which a client may still send (RFC 3454
/// section 7: queries may contain unassigned code points); those pass as they are, control characters never do.
fn prepare(text: &str) -> Option<Zeroizing<String>> {
    let prepared = match stringprep::saslprep(text) {
        Ok(prepared) => Zeroizing::new(prepared.into_owned()),
        Err(_) if !text.chars().any(char::is_control) => Zeroizing::new(text.to_owned()),
        Err(_) => return None,
    };
    (!prepared.is_empty()).then_some(prepared)
}

/// A user name as `saslname`: `,` and `=` separate attributes.
fn escape(user: &str) -> String {
    user.replace('=', "=3D").replace(',', "=2C")
}

fn message_text(message: &[u8]) -> Result<&str, SaslError> {
    if message.len() > MAX_MESSAGE {
        return Err(SaslError::Malformed("too long"));
    }
    std::str::from_utf8(message).map_err(|_| SaslError::Malformed("not UTF-8"))
}

/// Foreign text for an error message: short and without control characters.
fn printable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(200).collect()
}
