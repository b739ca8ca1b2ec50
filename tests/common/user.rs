//! A person with an XMPP account: a home folder with a configuration, a `bitween daemon`, and the commands they type.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::bitween::command;
use super::namespace::there;
use super::network::Host;
use super::process::Program;
use super::server::Server;
use super::{START_LIMIT, text, wait_for};

/// Longest that a command may take which does not wait for a transfer.
pub const COMMAND_LIMIT: Duration = Duration::from_secs(30);

/// An orderly stop takes less than five seconds; a busy machine gets some more.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Outcome {
    /// Exit code; -1 if a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Somebody's folders and, while it runs, their daemon.
pub struct User {
    // Dropped before its folder.
    program: Option<Program>,
    name: String,
    home: TempDir,
    /// The network namespace in which everything runs, if not in that of the test.
    inside: Option<String>,
    starts: usize,
    commands: AtomicUsize,
    host: Option<Host>,
}

impl User {
    /// Folders and configuration of somebody with an account on `server`; nothing runs yet.
    pub fn with_account(server: &impl Server, user: &str, password: &str) -> Self {
        Self::on_server(&server.server(), &server.ca_file(), user, password)
    }

    /// Folders and configuration of somebody with an account on the server at this address; nothing runs yet.
    pub fn on_server(server: &str, ca_file: &Path, user: &str, password: &str) -> Self {
        let xmpp = format!(
            "jid = \"{user}@localhost\"\npassword_file = \"password\"\nserver = \"{server}\"\nca_file = \"{}\"\n",
            text(ca_file)
        );
        let daemon = Self::new(user, &xmpp);
        let file = daemon.home.path().join("password");
        fs::write(&file, format!("{password}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        daemon
    }

    /// Replaces a part of its configuration, which has to be there.
    pub fn edited(self, from: &str, to: &str) -> Self {
        let config = fs::read_to_string(self.config()).unwrap();
        assert!(config.contains(from), "{from}");
        fs::write(self.config(), config.replacen(from, to, 1)).unwrap();
        self
    }

    /// Puts it into a network namespace.
    pub fn inside(self, namespace: &str) -> Self {
        Self { inside: Some(namespace.to_owned()), ..self }
    }

    /// Adds lines to the section `[xmpp]` of its configuration.
    pub fn with_xmpp(self, lines: &str) -> Self {
        self.edited("[xmpp]\n", &format!("[xmpp]\n{lines}\n"))
    }

    /// Folders and configuration; `xmpp` is added to that section.
    pub fn new(name: &str, xmpp: &str) -> Self {
        let home = tempfile::Builder::new().prefix(&format!("bitween-{name}")).tempdir().unwrap();
        let config = format!(
            "download_dir = \"downloads\"\nlocal = \"off\"\n[log]\nlevel = \"info,bitween::component::xmpp=debug\"\n\n\
             [xmpp]\nallow_loopback_peers = true\n{xmpp}\n[bittorrent]\nbind = [\"127.0.0.1\"]\n\n[api]\nport = 0\n"
        );
        fs::create_dir(home.path().join("downloads")).unwrap();
        let (name, commands) = (name.to_owned(), AtomicUsize::new(0));
        let daemon = Self { program: None, name, home, inside: None, starts: 0, commands, host: None };
        fs::write(daemon.config(), config).unwrap();
        daemon
    }

    /// The same at this place of a network: peers reach it there, and nowhere else.
    pub fn on_host(self, host: Host) -> Self {
        let user = self.edited("bind = [\"127.0.0.1\"]", &format!("bind = [\"{}\"]", host.address));
        Self { inside: Some(host.namespace.clone()), host: Some(host), ..user }
    }

    /// Where it is, if that is a place of its own.
    pub const fn host(&self) -> Option<&Host> {
        self.host.as_ref()
    }

    /// Starts it and waits until its interface can be reached.
    pub fn started(mut self) -> Self {
        self.start();
        self
    }

    /// Starts it and waits until its interface can be reached.
    ///
    /// # Panics
    /// If it ends at once, or takes too long.
    pub fn start(&mut self) {
        self.launch();
        let note = self.data_dir().join("daemon.json");
        let program = self.program.as_mut().unwrap();
        wait_for(&format!("the daemon of {} is ready", self.name), START_LIMIT, || {
            assert!(program.ended().is_none(), "the daemon of {} ended at its start", self.name);
            // A daemon that was killed leaves its note behind.
            let note: Value = serde_json::from_slice(&fs::read(&note).ok()?).ok()?;
            (note["pid"] == program.id()).then_some(())
        });
    }

    /// Starts it and waits for nothing.
    pub fn launch(&mut self) -> &mut Program {
        assert!(self.program.is_none(), "it runs already");
        self.starts += 1;
        let program =
            Program::start(&format!("{}-{}", self.name, self.starts), self.command(&["daemon"]), self.home.path());
        self.program.insert(program)
    }

    /// SIGTERM.
    ///
    /// # Panics
    /// Unless it ends well and in time.
    pub fn stop(&mut self) {
        let mut program = self.program.take().expect("it runs");
        let status = program.stop(STOP_LIMIT).expect("it stops in time");
        assert!(status.success(), "the daemon of {} ended with {status}:\n{}", self.name, program.log());
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.program.take().expect("it runs").kill();
    }

    /// Its process.
    pub fn program(&mut self) -> &mut Program {
        self.program.as_mut().expect("it runs")
    }

    /// What it has logged since its last start.
    pub fn log(&self) -> String {
        self.program.as_ref().map_or_else(String::new, Program::log)
    }

    /// Runs `bitween` with these arguments and this daemon's folders, to its end.
    ///
    /// # Panics
    /// If that takes longer than `limit`.
    pub fn run_within(&self, limit: Duration, arguments: &[&str]) -> Outcome {
        let mut command = self.command(arguments);
        command.env("BITWEEN_LOG", "warn");
        let nth = self.commands.fetch_add(1, Ordering::Relaxed);
        let name = format!("command-{nth} (bitween {} for {})", arguments[0], self.name);
        let mut program = Program::start(&name, command, self.home.path());
        let status = program.wait(limit);
        Outcome { code: status.code().unwrap_or(-1), out: program.stdout(), err: program.stderr() }
    }

    /// Runs `bitween` with these arguments and this daemon's folders.
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        self.run_within(COMMAND_LIMIT, arguments)
    }

    /// Runs a command that must succeed; its output.
    pub fn ok_within(&self, limit: Duration, arguments: &[&str]) -> String {
        let outcome = self.run_within(limit, arguments);
        assert_eq!(outcome.code, 0, "bitween {arguments:?} for {}: {}{}", self.name, outcome.out, outcome.err);
        outcome.out
    }

    /// Runs a command that must succeed; its output.
    pub fn ok(&self, arguments: &[&str]) -> String {
        self.ok_within(COMMAND_LIMIT, arguments)
    }

    /// Runs a command with `--json` that must succeed.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let out = self.ok(&[arguments, &["--json"]].concat());
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("bitween {arguments:?}: {error}: {out}"))
    }

    /// Runs a command that must fail with this code and one line; that line.
    pub fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let outcome = self.run(arguments);
        assert_eq!(outcome.code, code, "bitween {arguments:?} for {}: {}{}", self.name, outcome.out, outcome.err);
        assert_eq!(outcome.err.lines().count(), 1, "bitween {arguments:?}: {}", outcome.err);
        outcome.err.trim_end().to_owned()
    }

    /// Shares a file or folder, which must be announced; its info hash.
    pub fn share(&self, path: &Path) -> String {
        let outcome = self.run_within(Duration::from_secs(120), &["share", text(path)]);
        let only_progress = outcome.err.lines().all(|line| line.starts_with("hashed "));
        assert!(outcome.code == 0 && only_progress, "{outcome:?}");
        let hash = outcome.out.trim().to_owned();
        assert!(hash.len() == 40 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
        hash
    }

    /// What it knows of a contact's share.
    pub fn sees(&self, hash: &str) -> Option<Value> {
        self.json(&["shares"]).as_array().unwrap().iter().find(|share| share["hash"] == hash).cloned()
    }

    /// Whether it knows a share and who has it can be reached.
    pub fn can_get(&self, hash: &str) -> bool {
        self.sees(hash).is_some_and(|share| share["available"] == true)
    }

    /// One of its torrents, as `bitween status --json` shows it.
    pub fn torrent(&self, hash: &str) -> Option<Value> {
        self.json(&["status"])["torrents"].as_array().unwrap().iter().find(|torrent| torrent["hash"] == hash).cloned()
    }

    /// The state of its account, and what is wrong with it.
    pub fn account(&self) -> (String, String) {
        let account = self.json(&["account", "show"]);
        let word = |key: &str| account[key].as_str().unwrap_or_default().to_owned();
        (word("state"), word("error"))
    }

    /// Waits until its account is online.
    pub fn wait_online(&self) {
        wait_for(&format!("{} is online", self.name), START_LIMIT, || (self.account().0 == "online").then_some(()));
    }

    /// Its data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.home.path().join("config.toml")
    }

    /// Folder for fetched torrents.
    pub fn downloads(&self) -> PathBuf {
        self.home.path().join("downloads")
    }

    /// A folder of its own for anything else.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Changes the configuration file.
    ///
    /// # Panics
    /// If `from` does not stand in it.
    pub fn edit_config(&self, from: &str, to: &str) {
        let config = fs::read_to_string(self.config()).unwrap();
        assert!(config.contains(from), "{from} is not in {config}");
        fs::write(self.config(), config.replace(from, to)).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(self.home.path());
        command.args(arguments).args(["--config", text(&self.config()), "--data-dir", text(&self.data_dir())]);
        match &self.inside {
            Some(namespace) => there(namespace, &command),
            None => command,
        }
    }
}
