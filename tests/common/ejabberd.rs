//! A real ejabberd of one's own for a test: temporary folder, own certificate authority, a free loopback port.
//!
//! It runs as one Erlang program that is no node of a cluster, so nothing but its XMPP port is opened. Accounts and
//! rosters are made by the program itself before the server counts as started. Stopped by its process id when the value
//! is dropped; when the test fails, its log is printed. Needs the package `ejabberd` (23.01).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::process::Program;
use super::prosody::{DOMAIN, write_certificates};
use super::{START_LIMIT, free_port, text, wait_for};

/// A running server.
pub struct Ejabberd {
    // Dropped before its folder.
    _program: Program,
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
        let folder = tempfile::Builder::new().prefix("bitween-ejabberd").tempdir().unwrap();
        let (root, port) = (folder.path(), free_port());
        write_certificates(root, DOMAIN);
        let read = |name: &str| fs::read_to_string(root.join(name)).unwrap();
        fs::write(root.join("server.pem"), read("key.pem") + &read("certificate.pem")).unwrap();
        fs::write(root.join("ejabberd.yml"), configuration(root, port)).unwrap();
        let ready = root.join("ready");
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
        Self { _program: program, folder, port }
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

/// As slow, and with the limits, of Debian's configuration.
fn configuration(root: &Path, port: u16) -> String {
    let certificate = root.join("server.pem");
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
  c2s_shaper: normal
modules:
  mod_admin_extra: {{}}
  mod_blocking: {{}}
  mod_privacy: {{}}
  mod_caps: {{}}
  mod_disco: {{}}
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
"#,
        certificate = certificate.display(),
        stun = free_port()
    )
}

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
        "{{ok,_}}=application:ensure_all_started(ejabberd),D = {},{}{}ok=file:write_file({},<<>>).",
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
