//! SASL for clients: SCRAM-SHA-256 (RFC 7677), SCRAM-SHA-1 (RFC 5802) and PLAIN (RFC 4616), as a pure state machine.
//!
//! Works on the decoded messages; base64 and XML are the stream's business. The nonce is given, so exchanges can be
//! replayed in tests. Everything the server says is checked: its nonce extends ours, salt and iteration count are
//! within bounds, and its signature proves that it knows the password too, also when it comes inside `<success/>`.
//! Passwords and what is derived from them are wiped after use and appear in no error. Channel binding (`-PLUS`) is
//! not done yet: it needs a second [`ChannelBinding`] and its mechanisms at the top of [`Mechanism`].

#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{EagerHash, Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

/// The fewest iterations accepted (RFC 7677 section 4): fewer make a stolen exchange cheap to crack.
pub const MIN_ITERATIONS: u32 = 4096;

/// The most iterations accepted. Above every current recommendation (OWASP: 1,300,000 for SHA-1), yet computed in
/// seconds on a small board: without a bound a server could keep the thread busy for hours.
pub const MAX_ITERATIONS: u32 = 2_000_000;

/// Bytes a server's message may have. Real ones have below 200.
const MAX_MESSAGE: usize = 4096;

/// A way to log in, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mechanism {
    /// The password itself. Only inside verified TLS and only if the user allowed it.
    Plain,
    /// SCRAM with SHA-1.
    ScramSha1,
    /// SCRAM with SHA-256.
    ScramSha256,
}

impl Mechanism {
    const ALL: [Self; 3] = [Self::Plain, Self::ScramSha1, Self::ScramSha256];

    /// The registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha1 => "SCRAM-SHA-1",
            Self::ScramSha256 => "SCRAM-SHA-256",
        }
    }

    /// The strongest mechanism that both sides have. `plain` says whether PLAIN may be used at all: only when the
    /// connection is encrypted to a verified server *and* the user allowed it.
    ///
    /// # Errors
    /// [`SaslError::NoMechanism`] with what the server offers, if nothing fits.
    pub fn choose<'o>(offered: impl IntoIterator<Item = &'o str>, plain: bool) -> Result<Self, SaslError> {
        let offered: Vec<&str> = offered.into_iter().collect();
        Self::ALL
            .into_iter()
            .filter(|mechanism| plain || *mechanism != Self::Plain)
            .rev()
            .find(|mechanism| offered.contains(&mechanism.name()))
            .ok_or_else(|| SaslError::NoMechanism {
                offered: printable(&offered.join(", ")),
                plain_refused: offered.contains(&Self::Plain.name()),
            })
    }
}

/// Whether the exchange is bound to the TLS channel below it (RFC 5802 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelBinding {
    /// This client does not support it (gs2 flag `n`).
    Unsupported,
}

impl ChannelBinding {
    const fn gs2_header(self) -> &'static str {
        match self {
            Self::Unsupported => "n,,",
        }
    }
}

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
    /// The server said no inside the exchange (RFC 5802 section 7, `e=`).
    #[error("the server refused the login: {0}")]
    Refused(String),
}

/// One exchange with one mechanism.
pub struct Exchange {
    mechanism: Mechanism,
    state: State,
}

enum State {
    /// PLAIN: the one message; afterwards only success can come.
    Plain { message: Zeroizing<Vec<u8>> },
    /// SCRAM: the first message is made, the challenge is awaited.
    First { bare: String, nonce: String, password: Zeroizing<String>, binding: ChannelBinding },
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
    pub fn new(mechanism: Mechanism, user: &str, password: &str, nonce: &str) -> Result<Self, SaslError> {
        let user = prepare(user).ok_or(SaslError::BadCredentials("user name"))?;
        let password = prepare(password).ok_or(SaslError::BadCredentials("password"))?;
        let state = if mechanism == Mechanism::Plain {
            let message = Zeroizing::new([b"\0", user.as_bytes(), b"\0", password.as_bytes()].concat());
            State::Plain { message }
        } else {
            let bare = format!("n={},r={nonce}", escape(&user));
            State::First { bare, nonce: nonce.to_owned(), password, binding: ChannelBinding::Unsupported }
        };
        Ok(Self { mechanism, state })
    }

    /// The mechanism in use.
    pub const fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// The client's first message.
    pub fn initial(&self) -> Zeroizing<Vec<u8>> {
        match &self.state {
            State::Plain { message } => message.clone(),
            State::First { bare, binding, .. } => Zeroizing::new([binding.gs2_header(), bare].concat().into_bytes()),
            _ => Zeroizing::default(),
        }
    }

    /// Answers a challenge.
    ///
    /// # Errors
    /// [`SaslError`]; the exchange is over then.
    pub fn challenge(&mut self, message: &[u8]) -> Result<Zeroizing<Vec<u8>>, SaslError> {
        let text = message_text(message)?;
        match std::mem::replace(&mut self.state, State::Spent) {
            State::First { bare, nonce, password, binding } => {
                let first = ServerFirst::parse(text, &nonce)?;
                let header = BASE64.encode(binding.gs2_header());
                let without_proof = format!("c={header},r={}", first.nonce);
                let signed = format!("{bare},{text},{without_proof}");
                let (proof, server_key) = if self.mechanism == Mechanism::ScramSha256 {
                    prove::<Sha256>(&password, &first, &signed)
                } else {
                    prove::<Sha1>(&password, &first, &signed)
                };
                self.state = State::Proved { server_key, signed };
                Ok(Zeroizing::new(format!("{without_proof},p={}", BASE64.encode(&*proof)).into_bytes()))
            }
            State::Proved { server_key, signed } => {
                self.check_final(text, &server_key, &signed)?;
                Ok(Zeroizing::default())
            }
            _ => Err(SaslError::Malformed("an unexpected challenge")),
        }
    }

    /// Takes the server's word that the login succeeded, with the data that came along.
    ///
    /// # Errors
    /// [`SaslError`] if the mechanism demands a proof from the server and there was none: then this is no success.
    pub fn success(&mut self, data: Option<&[u8]>) -> Result<(), SaslError> {
        match std::mem::replace(&mut self.state, State::Spent) {
            State::Plain { .. } | State::Verified => Ok(()),
            State::Proved { server_key, signed } => {
                let text = message_text(data.unwrap_or_default())?;
                self.check_final(text, &server_key, &signed)
            }
            State::First { .. } | State::Spent => Err(SaslError::WrongSignature),
        }
    }

    fn check_final(&mut self, text: &str, server_key: &[u8], signed: &str) -> Result<(), SaslError> {
        let attribute = text.split(',').next().unwrap_or_default();
        if let Some(error) = attribute.strip_prefix("e=") {
            return Err(SaslError::Refused(printable(error)));
        }
        let signature = attribute.strip_prefix("v=").and_then(|value| BASE64.decode(value).ok());
        let signature = signature.ok_or(SaslError::WrongSignature)?;
        let right = if self.mechanism == Mechanism::ScramSha256 {
            mac::<Sha256>(server_key, signed.as_bytes()).verify_slice(&signature).is_ok()
        } else {
            mac::<Sha1>(server_key, signed.as_bytes()).verify_slice(&signature).is_ok()
        };
        if !right {
            return Err(SaslError::WrongSignature);
        }
        self.state = State::Verified;
        Ok(())
    }
}

/// The server's first SCRAM message: `r=nonce,s=salt,i=iterations`.
struct ServerFirst {
    nonce: String,
    salt: Vec<u8>,
    iterations: u32,
}

impl ServerFirst {
    fn parse(text: &str, ours: &str) -> Result<Self, SaslError> {
        let mut attributes = text.split(',');
        let mut value = |name: &str| attributes.next().and_then(|attribute| attribute.strip_prefix(name));
        // A mandatory extension would be the first attribute ("m="); none is known, so it fails here.
        let nonce = value("r=").ok_or(SaslError::Malformed("no nonce"))?;
        let salt = value("s=").and_then(|salt| BASE64.decode(salt).ok()).filter(|salt| !salt.is_empty());
        let salt = salt.ok_or(SaslError::Malformed("no salt"))?;
        let iterations: u64 =
            value("i=").and_then(|count| count.parse().ok()).ok_or(SaslError::Malformed("no iteration count"))?;
        if !nonce.starts_with(ours) || nonce.len() == ours.len() {
            return Err(SaslError::WrongNonce);
        }
        let iterations = u32::try_from(iterations)
            .ok()
            .filter(|count| (MIN_ITERATIONS..=MAX_ITERATIONS).contains(count))
            .ok_or(SaslError::Iterations(iterations))?;
        Ok(Self { nonce: nonce.to_owned(), salt, iterations })
    }
}

/// Client proof and server key (RFC 5802 section 3).
fn prove<D: EagerHash + Digest>(
    password: &str,
    first: &ServerFirst,
    signed: &str,
) -> (Zeroizing<Vec<u8>>, Zeroizing<Vec<u8>>) {
    let mut salted = Zeroizing::new(vec![0; <D as Digest>::output_size()]);
    pbkdf2::pbkdf2_hmac::<D>(password.as_bytes(), &first.salt, first.iterations, &mut salted);
    let client_key = Zeroizing::new(mac::<D>(&salted, b"Client Key").finalize().into_bytes().to_vec());
    let stored_key = D::digest(&*client_key);
    let signature = mac::<D>(&stored_key, signed.as_bytes()).finalize().into_bytes();
    let proof = client_key.iter().zip(&*signature).map(|(key, mask)| key ^ mask).collect();
    let server_key = mac::<D>(&salted, b"Server Key").finalize().into_bytes().to_vec();
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
