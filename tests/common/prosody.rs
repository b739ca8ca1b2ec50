//! A real Prosody server of one's own for a test: temporary folder, own certificate authority, free loopback ports.
//!
//! Accounts and rosters are written straight into Prosody's file storage before it starts, so starting takes a fraction
//! of a second. The server is stopped by its process id when the value is dropped; when the test fails, its log is
//! printed. Needs the program `prosody` (0.12); a test that can do without asks [`installed`] first.

#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use tempfile::TempDir;

use super::namespace::there;

/// The domain all accounts live in.
pub const DOMAIN: &str = "localhost";

/// How long the server may take to listen. Machines that run all tests at once are slow.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// How the server keeps passwords, which decides the SASL mechanisms it offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Passwords {
    /// Clear text on the server: PLAIN, SCRAM-SHA-1 and SCRAM-SHA-256.
    #[default]
    Plain,
    /// Hashed for SCRAM-SHA-1: PLAIN and SCRAM-SHA-1.
    HashedSha1,
    /// Hashed for SCRAM-SHA-256: PLAIN and SCRAM-SHA-256.
    HashedSha256,
}

/// What the server should be like. `ProsodyOptions { users: &[("alice", "secret")], ..Default::default() }`.
#[derive(Clone, Copy, Debug)]
pub struct ProsodyOptions<'a> {
    /// Accounts: local part and password.
    pub users: &'a [(&'a str, &'a str)],
    /// Pairs of local parts that see each other (subscription `both` in both rosters).
    pub contacts: &'a [(&'a str, &'a str)],
    /// Password storage.
    pub passwords: Passwords,
    /// `false`: a server without STARTTLS that takes passwords in the clear.
    pub tls: bool,
    /// The host name in the server's certificate.
    pub certificate_name: &'a str,
    /// Switch on the traffic limit of Debian's default configuration (10 kB/s per client).
    pub limits: bool,
    /// More modules, e.g. `smacks`.
    pub modules: &'a [&'a str],
    /// Run in this network namespace, for whoever can connect to it, and not on the loopback interface only.
    pub namespace: Option<&'a str>,
    /// Lua text put into the global part of the configuration.
    pub extra_config: &'a str,
}

impl Default for ProsodyOptions<'_> {
    fn default() -> Self {
        Self {
            users: &[("alice", "secret-a"), ("bob", "secret-b")],
            contacts: &[],
            passwords: Passwords::Plain,
            tls: true,
            certificate_name: DOMAIN,
            limits: false,
            modules: &[],
            namespace: None,
            extra_config: "",
        }
    }
}

/// A running server.
pub struct Prosody {
    folder: TempDir,
    child: Option<Child>,
    port: u16,
    direct_tls_port: u16,
    namespace: Option<String>,
}

/// Whether Prosody can be started here; see [`super::installed`].
pub fn installed() -> bool {
    super::installed("prosody")
}

impl Prosody {
    /// Starts a server and waits until both its ports take connections.
    ///
    /// # Panics
    /// If Prosody is missing or does not come up; its log is part of the message.
    pub fn start(options: ProsodyOptions<'_>) -> Self {
        let folder = tempfile::Builder::new().prefix("bitween-prosody").tempdir().unwrap();
        let root = folder.path();
        write_certificates(root, options.certificate_name);
        for (user, password) in options.users {
            let text = format!("return {{ [\"password\"] = {}; }};\n", lua_string(password));
            write_stored(root, "accounts", user, &text);
            write_stored(root, "roster", user, &roster_of(user, options.contacts));
        }
        let (port, direct_tls_port) = (free_port(), free_port());
        fs::write(root.join("prosody.cfg.lua"), configuration(root, port, direct_tls_port, &options)).unwrap();
        let namespace = options.namespace.map(str::to_owned);
        let mut server = Self { folder, child: None, port, direct_tls_port, namespace };
        server.resume();
        server
    }

    /// Address for STARTTLS connections, as text for an account's `server` option.
    pub fn server(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Address for direct TLS connections, as text for an account's `server` option.
    pub fn direct_tls_server(&self) -> String {
        format!("127.0.0.1:{}", self.direct_tls_port)
    }

    /// The port that speaks XMPP with STARTTLS.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate authority (PEM) that signed the server's certificate.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Everything the server has logged so far.
    pub fn log(&self) -> String {
        let read = |name| fs::read(self.folder.path().join(name)).unwrap_or_default();
        let (log, output) = (read("prosody.log"), read("output.log"));
        format!("{}{}", String::from_utf8_lossy(&log), String::from_utf8_lossy(&output))
    }

    /// Stops the server in order: clients get `system-shutdown`.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let _ = Command::new("kill").arg("-TERM").arg(child.id().to_string()).status();
        let deadline = now() + Duration::from_secs(5);
        while now() < deadline {
            if child.try_wait().unwrap().is_some() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Ends the server without a word to anybody, as a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Makes the server hang: connections stay, nothing is answered any more (SIGSTOP). [`Prosody::kill`] still works.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// The end of a [`Prosody::freeze`].
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Starts a stopped server again: same ports, certificates, accounts and stored data.
    ///
    /// # Panics
    /// As [`Prosody::start`].
    pub fn resume(&mut self) {
        assert!(self.child.is_none(), "prosody is already running");
        let root = self.folder.path();
        let output = fs::File::create(root.join("output.log")).unwrap();
        let mut command = Command::new("prosody");
        command.arg("-F").arg("--config").arg(root.join("prosody.cfg.lua"));
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        if let Some(namespace) = &self.namespace {
            command = there(namespace, &command);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .expect("prosody cannot be started; Debian: apt install prosody");
        self.child = Some(child);
        self.wait_until_listening();
    }

    /// Stops the server in order and starts it again.
    pub fn restart(&mut self) {
        self.stop();
        self.resume();
    }

    fn listens(&self, address: SocketAddr) -> bool {
        let Some(namespace) = &self.namespace else {
            return TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok();
        };
        let mut connect = Command::new("bash");
        connect.args(["-c", &format!("</dev/tcp/{}/{}", address.ip(), address.port())]);
        there(namespace, &connect).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    fn wait_until_listening(&mut self) {
        let deadline = now() + START_TIMEOUT;
        for port in [self.port, self.direct_tls_port] {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            while !self.listens(address) {
                let exited = self.child.as_mut().and_then(|child| child.try_wait().unwrap());
                assert!(exited.is_none() && now() < deadline, "prosody did not come up:\n{}", self.log());
                thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

impl Drop for Prosody {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("--- log of prosody ---\n{}--- end of the log of prosody ---", self.log());
        }
    }
}

fn configuration(root: &Path, port: u16, direct_tls_port: u16, options: &ProsodyOptions<'_>) -> String {
    let mut modules = vec!["roster", "saslauth", "disco", "pep", "ping", "posix"];
    if options.tls {
        modules.push("tls");
    }
    if options.limits {
        modules.push("limits");
    }
    modules.extend(options.modules);
    let modules: Vec<String> = modules.iter().map(|name| lua_string(name)).collect();
    let path = |name: &str| lua_string(root.join(name).to_str().unwrap());
    let (authentication, hash) = match options.passwords {
        Passwords::Plain => ("internal_plain", "SHA-1"),
        Passwords::HashedSha1 => ("internal_hashed", "SHA-1"),
        Passwords::HashedSha256 => ("internal_hashed", "SHA-256"),
    };
    let limits = if options.limits { "limits = { c2s = { rate = \"10kb/s\" } }" } else { "" };
    let ssl = format!("{{ key = {}; certificate = {} }}", path("key.pem"), path("certificate.pem"));
    format!(
        r#"run_as_root = true
pidfile = {pidfile}
data_path = {data}
log = {{ {{ levels = {{ min = "debug" }}, to = "file", filename = {log} }} }}
interfaces = {{ {interfaces} }}
local_interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {port} }}
c2s_direct_tls_ports = {{ {direct_tls_port} }}
s2s_ports = {{ }}
modules_enabled = {{ {modules} }}
modules_disabled = {{ "s2s", "s2s_auth_certs" }}
c2s_require_encryption = {tls}
allow_unencrypted_plain_auth = {no_tls}
authentication = "{authentication}"
password_hash = "{hash}"
storage = "internal"
ssl = {ssl}
c2s_direct_tls_ssl = {ssl}
{limits}
{extra}
VirtualHost "{DOMAIN}"
"#,
        interfaces = if options.namespace.is_some() { r#""*"; "::""# } else { r#""127.0.0.1""# },
        pidfile = path("prosody.pid"),
        data = path("data"),
        log = path("prosody.log"),
        modules = modules.join("; "),
        tls = options.tls,
        no_tls = !options.tls,
        extra = options.extra_config,
    )
}

/// `ca.pem`, and `certificate.pem` and `key.pem` for a server of this name.
pub fn write_certificates(root: &Path, name: &str) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(rcgen::DnType::CommonName, "bitween test authority");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();

    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    // The default, 4096, is beyond what ejabberd's timers can count.
    params.not_after = rcgen::date_time_ymd(2060, 1, 1);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();

    fs::write(root.join("ca.pem"), authority.pem()).unwrap();
    fs::write(root.join("certificate.pem"), certificate.pem()).unwrap();
    fs::write(root.join("key.pem"), key.serialize_pem()).unwrap();
}

fn roster_of(user: &str, contacts: &[(&str, &str)]) -> String {
    let mut text = String::from("return { [false] = { [\"version\"] = 1; [\"pending\"] = { }; };\n");
    for (a, b) in contacts {
        let other = match user {
            user if user == *a => b,
            user if user == *b => a,
            _ => continue,
        };
        let jid = lua_string(&format!("{other}@{DOMAIN}"));
        writeln!(text, "[{jid}] = {{ [\"subscription\"] = \"both\"; [\"groups\"] = {{ }}; }};").unwrap();
    }
    text.push_str("};\n");
    text
}

/// Prosody's file storage: one file per user and store, names escaped as in URLs.
fn write_stored(root: &Path, store: &str, user: &str, text: &str) {
    let folder = root.join("data").join(DOMAIN).join(store);
    fs::create_dir_all(&folder).unwrap();
    let mut name = String::new();
    for byte in user.bytes() {
        if byte.is_ascii_alphanumeric() {
            name.push(char::from(byte));
        } else {
            write!(name, "%{byte:02x}").unwrap();
        }
    }
    fs::write(folder.join(name + ".dat"), text).unwrap();
}

fn lua_string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'"' && byte != b'\\' => quoted.push(char::from(byte)),
            _ => write!(quoted, "\\{byte:03}").unwrap(),
        }
    }
    quoted + "\""
}

/// A port below those the system hands out by itself: nobody else may take it while the server is being restarted.
fn free_port() -> u16 {
    let mut candidates = std::iter::repeat_with(|| fastrand::u16(10_000..32_000));
    candidates.find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()).unwrap()
}

#[allow(clippy::disallowed_methods, reason = "a test against a real server runs on real time")]
fn now() -> Instant {
    Instant::now()
}
