//! A real ejabberd of one's own for a test: temporary folder, own certificate authority, a free loopback port.
//!
//! It runs as one Erlang program that is no node of a cluster, so nothing but its XMPP port is opened. Accounts and
//! rosters are made by the program itself before the server counts as started, and stay over restarts, as do nodes. Stopped by its process id when the value
//! is dropped; when the test fails, its log is printed. Needs the package `ejabberd` (23.01).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::process::Program;
use super::prosody::{DOMAIN, write_certificates};
use super::{START_LIMIT, free_port, text, wait_for};

/// What the server should be like.
#[derive(Clone, Copy, Debug)]
pub struct EjabberdOptions<'a> {
    /// Accounts: local part and password.
    pub users: &'a [(&'a str, &'a str)],
    /// Pairs of local parts that see each other.
    pub contacts: &'a [(&'a str, &'a str)],
    /// As slow as Debian's configuration makes it (3 kB/s).
    pub limits: bool,
    /// Broken streams can be taken up again for so many seconds. `None`: not at all.
    pub resumable: Option<u32>,
}

/// A running server.
pub struct Ejabberd {
    // Dropped before its folder.
    program: Option<Program>,
    folder: TempDir,
    port: u16,
}

/// Whether ejabberd can be started here; see [`super::installed`].
pub fn installed() -> bool {
    super::installed("ejabberdctl")
}

impl Ejabberd {
    /// Starts a server with these accounts (local part and password), of which the pairs in `contacts` see each other,
    /// and waits until it takes connections.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start(users: &[(&str, &str)], contacts: &[(&str, &str)]) -> Self {
        Self::start_with(EjabberdOptions { users, contacts, limits: true, resumable: None })
    }

    /// Starts a server and waits until it takes connections.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start_with(options: EjabberdOptions<'_>) -> Self {
        let folder = tempfile::Builder::new().prefix("bitween-ejabberd").tempdir().unwrap();
        let (root, port) = (folder.path(), free_port());
        write_certificates(root, DOMAIN);
        let read = |name: &str| fs::read_to_string(root.join(name)).unwrap();
        fs::write(root.join("server.pem"), read("key.pem") + &read("certificate.pem")).unwrap();
        fs::write(root.join("ejabberd.yml"), configuration(root, port, &options)).unwrap();
        let mut server = Self { program: None, folder, port };
        server.launch(options.users, options.contacts);
        server
    }

    fn launch(&mut self, users: &[(&str, &str)], contacts: &[(&str, &str)]) {
        let root = self.folder.path();
        let ready = root.join("ready");
        let _ = fs::remove_file(&ready);
        let mut command = Command::new("erl");
        command
            .args(["-noinput", "-noshell", "-pa", text(&programs()), "-mnesia", "dir"])
            .arg(format!("\"{}\"", root.join("database").display()))
            .arg("-eval")
            .arg(beginning(users, contacts, &ready))
            .env("EJABBERD_CONFIG_PATH", root.join("ejabberd.yml"))
            .env("EJABBERD_LOG_PATH", root.join("ejabberd.log"))
            .env("HOME", root)
            .current_dir(root);
        let mut program = Program::start("ejabberd", command, root);
        wait_for("ejabberd to start", START_LIMIT, || {
            assert!(program.ended().is_none(), "ejabberd ended at its start");
            ready.exists().then_some(())
        });
        self.program = Some(program);
    }

    /// Ends the server in order: clients are told.
    pub fn stop(&mut self) {
        if let Some(mut program) = self.program.take() {
            program.stop(START_LIMIT);
        }
    }

    /// Ends the server without a word to anybody, as a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut program) = self.program.take() {
            program.kill();
        }
    }

    /// Makes the server hang (SIGSTOP): connections stay, nothing is answered any more until [`Self::thaw`].
    pub fn freeze(&self) {
        self.program.as_ref().unwrap().signal("STOP");
    }

    /// The end of a [`Self::freeze`].
    pub fn thaw(&self) {
        self.program.as_ref().unwrap().signal("CONT");
    }

    /// Starts a stopped server again: same port, certificates, accounts and stored data.
    ///
    /// # Panics
    /// As [`Ejabberd::start`].
    pub fn resume(&mut self) {
        assert!(self.program.is_none(), "ejabberd is already running");
        self.launch(&[], &[]);
    }

    /// Its address, as text for an account's `server` option.
    pub fn server(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The certificate authority (PEM) that signed its certificate.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }
}

/// The folder with ejabberd's compiled modules; its name has the version in it.
fn programs() -> PathBuf {
    let output = Command::new("dpkg").args(["-L", "ejabberd"]).output().unwrap();
    let files = String::from_utf8(output.stdout).unwrap();
    let module = files.lines().find(|line| line.ends_with("/ejabberd_c2s.beam")).expect("the package has modules");
    Path::new(module).parent().unwrap().to_owned()
}

/// With the limits of Debian's configuration, and as slow if wanted.
fn configuration(root: &Path, port: u16, options: &EjabberdOptions<'_>) -> String {
    let certificate = root.join("server.pem");
    let shaper = if options.limits { "normal" } else { "none" };
    let resumable = options.resumable.map_or_else(String::new, |seconds| {
        format!("  mod_stream_mgmt:\n    resend_on_timeout: if_offline\n    resume_timeout: {seconds}\n")
    });
    format!(
        r#"hosts: ["{DOMAIN}"]
loglevel: info
certfiles: ["{certificate}"]
listen:
  - port: {port}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    max_stanza_size: 262144
    shaper: c2s_shaper
    access: all
    starttls_required: true
  - port: {stun}
    ip: "127.0.0.1"
    transport: udp
    module: ejabberd_stun
    use_turn: false
shaper:
  normal:
    rate: 3000
    burst_size: 20000
shaper_rules:
  c2s_shaper: {shaper}
modules:
  mod_admin_extra: {{}}
  mod_blocking: {{}}
  mod_privacy: {{}}
  mod_caps: {{}}
  mod_disco: {{}}
  mod_offline: {{}}
  mod_ping: {{}}
  mod_pubsub:
    access_createnode: all
    plugins: [flat, pep]
  mod_roster:
    versioning: true
  mod_sic: {{}}
  mod_stun_disco:
    access: all
    offer_local_services: false
    services:
      - host: "127.0.0.1"
        port: {stun}
        type: stun
        transport: udp
        restricted: false
{resumable}"#,
        certificate = certificate.display(),
        stun = free_port()
    )
}

/// Writes the tables, so that they outlive a sudden end.
const SYNC: &str = "mnesia:sync_log(),[dets:sync(T)||T<-dets:all()],";

/// The Erlang expressions that start the server and make accounts and rosters.
fn beginning(users: &[(&str, &str)], contacts: &[(&str, &str)], ready: &Path) -> String {
    let both_ways = contacts.iter().flat_map(|(a, b)| [(a, b), (b, a)]);
    let account =
        |(user, password): &(&str, &str)| format!("ok=ejabberd_auth:try_register({},D,{}),", erl(user), erl(password));
    let contact = |(user, other): (&&str, &&str)| {
        let (user, other) = (erl(user), erl(other));
        format!("ok=mod_admin_extra:add_rosteritem({user},D,{other},D,{other},<<>>,<<\"both\">>),")
    };
    format!(
        "{{ok,_}}=application:ensure_all_started(ejabberd),D = {},{}{}{SYNC}ok=file:write_file({},<<>>).",
        erl(DOMAIN),
        users.iter().map(account).collect::<String>(),
        both_ways.map(contact).collect::<String>(),
        erl(text(ready))
    )
}

/// A text as an Erlang binary, byte by byte.
fn erl(text: &str) -> String {
    let bytes: Vec<String> = text.bytes().map(|byte| byte.to_string()).collect();
    format!("<<{}>>", bytes.join(","))
}
