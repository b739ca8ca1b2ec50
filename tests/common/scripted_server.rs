//! An XMPP server that does as a test's script says: every step of a login as it should be, or wrong in one point.
//!
//! It has a certificate of its own, does the server's half of SCRAM with channel binding, and keeps every byte that it
//! heard, those from before the encryption apart: so a test can see that no password was among them. Each connection
//! runs the script in a thread of its own; a script that meets the end of the connection just ends.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{EagerHash, Hmac, Mac as _};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use tempfile::TempDir;

/// The beginning of every stream it opens.
pub const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
                          xmlns:stream='http://etherx.jabber.org/streams' from='localhost' id='1' version='1.0'>";

/// The offer of encryption.
pub const STARTTLS: &str = "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>";

/// Encryption may begin.
pub const PROCEED: &str = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";

const NS_SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
const SALT: &str = "QSXCR+Q6sek8bf92";

/// Longest that a script waits for the client.
const PATIENCE: Duration = Duration::from_secs(40);

/// What came in on all connections.
#[derive(Debug, Default)]
pub struct Record {
    /// Connections so far.
    pub connections: usize,
    /// Bytes from before the encryption.
    pub plain: Vec<u8>,
    /// Decrypted bytes.
    pub decrypted: Vec<u8>,
}

/// A running server.
pub struct ScriptedServer {
    address: SocketAddr,
    folder: TempDir,
    record: Arc<Mutex<Record>>,
}

impl ScriptedServer {
    /// Runs `script` with the number (from 0) of each connection.
    pub fn start(script: impl Fn(usize, &mut Session) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0", "localhost", script)
    }

    /// At this address, with a certificate for this name.
    pub fn start_at(
        address: &str,
        name: &str,
        script: impl Fn(usize, &mut Session) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let folder = tempfile::Builder::new().prefix("bitween-scripted").tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        let config = Arc::new(config);
        let (record, script) = (Arc::<Mutex<Record>>::default(), Arc::new(script));
        let (kept, end_point) = (Arc::clone(&record), Sha256::digest(certificate.der()).to_vec());
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let nth = {
                    let mut record = kept.lock().unwrap();
                    record.connections += 1;
                    record.connections - 1
                };
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
                let (config, record) = (Arc::clone(&config), Arc::clone(&kept));
                let mut session = Session {
                    wire: Wire::Plain(socket),
                    config,
                    record,
                    end_point: end_point.clone(),
                    unread: Vec::new(),
                };
                let script = Arc::clone(&script);
                thread::spawn(move || script(nth, &mut session));
            }
        });
        Self { address, folder, record }
    }

    /// Its address, as text for an account's `server` option.
    pub fn server(&self) -> String {
        self.address.to_string()
    }

    /// Its port.
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// Its certificate (PEM), which is its own authority.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.record.lock().unwrap().connections
    }

    /// Everything that was said under encryption.
    pub fn decrypted(&self) -> String {
        String::from_utf8_lossy(&self.record.lock().unwrap().decrypted).into_owned()
    }

    /// # Panics
    /// If the password stands in anything that was said, encrypted or not, or the account in what was not encrypted.
    pub fn assert_no_password(&self, user: &str, password: &str) {
        let record = self.record.lock().unwrap();
        let plain_message = BASE64.encode(format!("\0{user}\0{password}"));
        for secret in [password, &BASE64.encode(password), &plain_message] {
            for heard in [&record.plain, &record.decrypted] {
                assert!(!contains(heard, secret.as_bytes()), "a password was sent");
            }
        }
        assert!(!contains(&record.plain, user.as_bytes()), "the account was named in the clear");
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

enum Wire {
    Plain(TcpStream),
    Tls(StreamOwned<ServerConnection, TcpStream>),
    Gone,
}

/// One connection, as a script sees it.
pub struct Session {
    wire: Wire,
    config: Arc<ServerConfig>,
    record: Arc<Mutex<Record>>,
    end_point: Vec<u8>,
    unread: Vec<u8>,
}

/// What the server has to say about its signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// The right one.
    Right,
    /// One that does not fit.
    Wrong,
    /// None.
    Missing,
}

/// A login; changed in one point to be wrong.
#[derive(Clone, Debug)]
pub struct Login {
    /// The account's password.
    pub password: String,
    /// What the features list.
    pub mechanisms: Vec<&'static str>,
    /// Types of channel binding, if they are announced (XEP-0440).
    pub bindings: Option<Vec<&'static str>>,
    /// Iterations asked for.
    pub iterations: u64,
    /// Its proof.
    pub signature: Signature,
    /// The offer that it signs (XEP-0474), if it signs one.
    pub signed_offer: Option<&'static str>,
}

impl Login {
    /// With these mechanisms.
    pub fn new(password: &str, mechanisms: &[&'static str]) -> Self {
        Self {
            password: password.to_owned(),
            mechanisms: mechanisms.to_vec(),
            bindings: None,
            iterations: 4096,
            signature: Signature::Right,
            signed_offer: None,
        }
    }

    /// The stream features.
    pub fn features(&self) -> String {
        let names: String = self.mechanisms.iter().map(|name| format!("<mechanism>{name}</mechanism>")).collect();
        let kinds = self.bindings.as_ref().map_or_else(String::new, |kinds| {
            let kinds: String = kinds.iter().map(|kind| format!("<channel-binding type='{kind}'/>")).collect();
            format!("<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'>{kinds}</sasl-channel-binding>")
        });
        format!("<stream:features><mechanisms xmlns='{NS_SASL}'>{names}</mechanisms>{kinds}</stream:features>")
    }
}

impl Session {
    /// Says this.
    ///
    /// # Errors
    /// If the client is gone.
    pub fn say(&mut self, text: &str) -> io::Result<()> {
        self.say_bytes(text.as_bytes())
    }

    /// Says these bytes.
    ///
    /// # Errors
    /// If the client is gone.
    pub fn say_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.wire {
            Wire::Plain(socket) => socket.write_all(bytes),
            Wire::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
            Wire::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Waits until this has come; everything up to and including it.
    ///
    /// # Errors
    /// If the client is gone.
    pub fn hear(&mut self, end: &str) -> io::Result<String> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end.as_bytes()) {
                let heard: Vec<u8> = self.unread.drain(..at + end.len()).collect();
                return Ok(String::from_utf8_lossy(&heard).into_owned());
            }
            self.receive()?;
        }
    }

    /// Waits for more, whatever it is.
    ///
    /// # Errors
    /// If the client is gone.
    pub fn receive(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        let count = match &mut self.wire {
            Wire::Plain(socket) => socket.read(&mut buffer)?,
            Wire::Tls(stream) => stream.read(&mut buffer)?,
            Wire::Gone => 0,
        };
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut record = self.record.lock().unwrap();
        let kept = if matches!(self.wire, Wire::Plain(_)) { &mut record.plain } else { &mut record.decrypted };
        kept.extend_from_slice(&buffer[..count]);
        self.unread.extend_from_slice(&buffer[..count]);
        Ok(())
    }

    /// Says nothing more and reads until the client goes.
    ///
    /// # Errors
    /// When the client is gone.
    pub fn listen(&mut self) -> io::Result<()> {
        loop {
            self.receive()?;
        }
    }

    /// Answers the client's header with ours and these features.
    ///
    /// # Errors
    /// If the client is gone.
    pub fn open(&mut self, features: &str) -> io::Result<()> {
        self.hear("<stream:stream")?;
        self.hear(">")?;
        self.say(&format!("{HEADER}{features}"))
    }

    /// From the first byte to an encrypted connection.
    ///
    /// # Errors
    /// If the client is gone.
    pub fn starttls(&mut self) -> io::Result<()> {
        self.open(STARTTLS)?;
        self.hear("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")?;
        self.say(PROCEED)?;
        self.encrypt();
        Ok(())
    }

    /// What follows is encrypted.
    pub fn encrypt(&mut self) {
        if let Wire::Plain(socket) = std::mem::replace(&mut self.wire, Wire::Gone) {
            let tls = ServerConnection::new(Arc::clone(&self.config)).unwrap();
            self.wire = Wire::Tls(StreamOwned::new(tls, socket));
        }
    }

    /// A whole login, from the features to the bound resource.
    ///
    /// # Errors
    /// If the client is gone, or cannot prove that it knows the password.
    pub fn log_in(&mut self, login: &Login) -> io::Result<()> {
        self.open(&login.features())?;
        self.authenticate(login)?;
        self.bind()
    }

    /// STARTTLS and a whole login.
    ///
    /// # Errors
    /// As [`Self::log_in`].
    pub fn starttls_and_log_in(&mut self, login: &Login) -> io::Result<()> {
        self.starttls()?;
        self.log_in(login)
    }

    /// Gives the resource asked for.
    ///
    /// # Errors
    /// If the client is gone.
    pub fn bind(&mut self) -> io::Result<()> {
        self.open("<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>")?;
        let asked = self.hear("</iq>")?;
        let resource = asked.split("<resource>").nth(1).and_then(|rest| rest.split('<').next()).unwrap_or("r");
        self.say(&format!(
            "<iq type='result' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
             <jid>alice@localhost/{resource}</jid></bind></iq>"
        ))
    }

    /// Answers every request with an error, but for the roster, which is empty.
    ///
    /// # Errors
    /// When the client is gone.
    pub fn serve(&mut self) -> io::Result<()> {
        loop {
            self.answer("")?;
        }
    }

    /// Answers requests until the roster was asked for, which has these items.
    ///
    /// # Errors
    /// When the client is gone.
    pub fn serve_roster(&mut self, items: &str) -> io::Result<()> {
        while !self.answer(items)? {}
        Ok(())
    }

    /// Answers the next request; whether it was for the roster.
    fn answer(&mut self, roster: &str) -> io::Result<bool> {
        self.hear("<iq ")?;
        let head = self.hear(">")?;
        let value = |name: &str| {
            let value = [format!("{name}='"), format!("{name}=\"")];
            let rest = value.iter().find_map(|begin| head.split(begin.as_str()).nth(1))?;
            Some(rest.split(['\'', '"']).next()?.to_owned())
        };
        let (Some(id), Some(kind)) = (value("id"), value("type")) else { return Ok(false) };
        let body = self.hear("</iq>")?;
        let is_roster = kind == "get" && body.contains("jabber:iq:roster");
        if is_roster {
            self.say(&format!("<iq type='result' id='{id}'><query xmlns='jabber:iq:roster'>{roster}</query></iq>"))?;
        } else if kind == "get" || kind == "set" {
            self.say(&format!(
                "<iq type='error' id='{id}'><error type='cancel'>\
                 <item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
            ))?;
        }
        Ok(is_roster)
    }

    /// The server's half of SASL, up to the word that it succeeded.
    ///
    /// # Errors
    /// If the client is gone, or cannot prove that it knows the password.
    pub fn authenticate(&mut self, login: &Login) -> io::Result<()> {
        loop {
            self.hear("<auth")?;
            let head = self.hear(">")?;
            let name = head.split("mechanism='").nth(1).and_then(|rest| rest.split('\'').next()).unwrap_or_default();
            let first = self.message("</auth>")?;
            if name == "PLAIN" {
                return self.say(&format!("<success xmlns='{NS_SASL}'/>"));
            }
            let first = String::from_utf8(first).map_err(io::Error::other)?;
            let (header, bare) = first.split_at(first.find("n=").unwrap_or_default());
            let Some(binding) = self.binding(header, login) else {
                self.say(&format!("<failure xmlns='{NS_SASL}'><malformed-request/></failure>"))?;
                continue;
            };
            let repeated = [header.as_bytes(), &binding].concat();
            return if name.contains("SHA-512") {
                self.scram::<Sha512>(login, bare, &repeated)
            } else if name.contains("SHA-256") {
                self.scram::<Sha256>(login, bare, &repeated)
            } else {
                self.scram::<Sha1>(login, bare, &repeated)
            };
        }
    }

    /// What the client must bind to; `None` if it is of a type that this server does not do.
    fn binding(&mut self, header: &str, login: &Login) -> Option<Vec<u8>> {
        let Some(kind) = header.strip_prefix("p=") else {
            let offered = login.mechanisms.iter().any(|name| name.ends_with("-PLUS"));
            // "y": the client thinks that nothing was offered.
            return (!header.starts_with('y') || !offered).then(Vec::new);
        };
        let (kind, Wire::Tls(stream)) = (kind.trim_end_matches(','), &mut self.wire) else { return None };
        if login.bindings.as_ref().is_some_and(|kinds| !kinds.contains(&kind)) {
            return None;
        }
        match kind {
            "tls-exporter" => {
                let data = stream.conn.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b""));
                Some(data.unwrap().to_vec())
            }
            "tls-server-end-point" => Some(self.end_point.clone()),
            _ => None,
        }
    }

    fn scram<D: EagerHash + Digest>(&mut self, login: &Login, bare: &str, repeated: &[u8]) -> io::Result<()> {
        let nonce = bare.split("r=").nth(1).unwrap_or_default();
        let signed_offer =
            login.signed_offer.map_or_else(String::new, |offer| format!(",h={}", BASE64.encode(D::digest(offer))));
        let first = format!("r={nonce}server,s={SALT},i={}{signed_offer}", login.iterations);
        self.say(&format!("<challenge xmlns='{NS_SASL}'>{}</challenge>", BASE64.encode(&first)))?;
        self.hear("<response")?;
        self.hear(">")?;
        let last = String::from_utf8(self.message("</response>")?).map_err(io::Error::other)?;
        let (without_proof, proof) = last.split_once(",p=").ok_or(io::ErrorKind::InvalidData)?;
        let signed = format!("{bare},{first},{without_proof}");
        let mut salted = vec![0; <D as Digest>::output_size()];
        let iterations = u32::try_from(login.iterations).unwrap();
        pbkdf2::pbkdf2_hmac::<D>(login.password.as_bytes(), &BASE64.decode(SALT).unwrap(), iterations, &mut salted);
        let stored = D::digest(mac::<D>(&salted, b"Client Key"));
        let mask = mac::<D>(&stored, signed.as_bytes());
        let proof = BASE64.decode(proof).map_err(io::Error::other)?;
        let key: Vec<u8> = proof.iter().zip(&mask).map(|(proof, mask)| proof ^ mask).collect();
        let bound = without_proof.split(',').next() == Some(&format!("c={}", BASE64.encode(repeated)));
        if !bound || D::digest(key)[..] != stored[..] {
            self.say(&format!("<failure xmlns='{NS_SASL}'><not-authorized/></failure>"))?;
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut signature = mac::<D>(&mac::<D>(&salted, b"Server Key"), signed.as_bytes());
        signature[0] ^= u8::from(login.signature == Signature::Wrong);
        let data = match login.signature {
            Signature::Missing => String::new(),
            _ => BASE64.encode(format!("v={}", BASE64.encode(signature))),
        };
        self.say(&format!("<success xmlns='{NS_SASL}'>{data}</success>"))
    }

    /// The decoded text up to a closing tag.
    fn message(&mut self, end: &str) -> io::Result<Vec<u8>> {
        let text = self.hear(end)?;
        BASE64.decode(text.trim_end_matches(end)).map_err(io::Error::other)
    }
}

fn mac<D: EagerHash>(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = <Hmac<D> as hmac::KeyInit>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}
