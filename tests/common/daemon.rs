//! A `bitween daemon` without XMPP, in a home folder of its own, and the command line that talks to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::bitween::command;
use super::process::Program;
use super::{START_LIMIT, text, wait_for};

/// An orderly stop takes less.
pub const STOP_LIMIT: Duration = Duration::from_secs(5);

/// A home folder that outlives its daemons.
pub struct Home {
    dir: tempfile::TempDir,
}

/// A running daemon.
pub struct Daemon {
    pub program: Program,
    /// Such as `http://127.0.0.1:5000`.
    pub api: String,
    /// For peers.
    pub port: u16,
}

impl Home {
    /// An empty one, but for a configuration that keeps to the loopback interface.
    pub fn new() -> Self {
        let home = Self { dir: tempfile::Builder::new().prefix("bitween-home").tempdir().unwrap() };
        home.configure("[bittorrent]\nbind = ['127.0.0.1']\n");
        home
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn data(&self, name: &str) -> PathBuf {
        self.path(".local/share/bitween").join(name)
    }

    pub fn configure(&self, content: &str) {
        let file = self.path(".config/bitween/config.toml");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        // Tests do not meet each other, nor anybody else in the network.
        let local = if content.contains("local =") { "" } else { "local = 'off'\n" };
        fs::write(file, format!("{local}{content}")).unwrap();
    }

    /// Starts a daemon and waits until it is ready.
    pub fn start(&self) -> Daemon {
        Self::ready(self.launch("0"))
    }

    fn ready(mut program: Program) -> Daemon {
        let line = program.wait_for_line("ready: API ", START_LIMIT);
        let (api, port) = line.split_once(", BitTorrent port ").unwrap();
        Daemon { api: api.to_owned(), port: port.parse().unwrap(), program }
    }

    /// Starts a daemon by means of another program, which gets the daemon's path as its last argument and has to run it
    /// with `daemon --port 0`. `None` if that program ends with 77, or says that it cannot do its part.
    pub fn start_in(&self, wrapper: &[&str]) -> Option<Daemon> {
        let bitween = command(self.dir.path());
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]).arg(bitween.get_program()).current_dir(self.dir.path());
        command.env_clear().envs(bitween.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("PATH", std::env::var_os("PATH")?);
        let mut program = Program::start("daemon", command, self.dir.path());
        wait_for("the wrapper", START_LIMIT, || {
            (program.ended().is_some() || program.stdout().contains('\n')).then_some(())
        });
        if program.ended().is_some_and(|status| status.code() == Some(77)) || program.stderr().contains("unshare:") {
            return None;
        }
        Some(Self::ready(program))
    }

    fn launch(&self, port: &str) -> Program {
        let mut command = command(self.dir.path());
        command.args(["daemon", "--port", port]);
        Program::start("daemon", command, self.dir.path())
    }

    /// A daemon that must not start: its exit code and what it says, log lines left out.
    pub fn refused_at(&self, port: &str) -> (i32, String) {
        let mut program = self.launch(port);
        let code = program.wait(START_LIMIT).code().unwrap();
        let said = program.stderr();
        let said: Vec<&str> = said.lines().filter(|line| line.starts_with("bitween: ")).collect();
        assert_eq!(program.stdout(), "", "it said that it is ready");
        (code, said.join("\n"))
    }

    /// Runs a command against the daemon of this home.
    pub fn run(&self, arguments: &[&str]) -> Output {
        command(self.dir.path()).args(arguments).output().unwrap()
    }

    /// Runs a command that succeeds; answers with what it printed.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Runs a command that fails with 1; answers with the one line it says.
    pub fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        error
    }

    /// A file of random bytes.
    pub fn file(&self, name: &str, len: usize) -> PathBuf {
        let path = self.path(name);
        super::data::write_file(&path, len, len as u64);
        path
    }

    /// Shares something; answers with its hash.
    pub fn share(&self, path: &Path) -> String {
        let hash = self.ok(&["share", text(path)]);
        assert!(hash.len() == 40 && hash.bytes().all(|b| b.is_ascii_hexdigit()), "{hash}");
        hash
    }

    /// `bitween status --json`, the torrents' part.
    pub fn torrents(&self) -> Vec<Value> {
        let status: Value = serde_json::from_str(&self.ok(&["status", "--json"])).unwrap();
        status["torrents"].as_array().unwrap().clone()
    }

    /// The state of a torrent; "gone" if there is none.
    pub fn state(&self, hash: &str) -> String {
        let torrents = self.torrents();
        let torrent = torrents.iter().find(|torrent| torrent["hash"] == hash);
        torrent.map_or("gone", |torrent| torrent["state"].as_str().unwrap()).to_owned()
    }

    pub fn wait_for_state(&self, hash: &str, state: &str) {
        wait_for(&format!("{hash} to be {state}"), START_LIMIT, || (self.state(hash) == state).then_some(()));
    }
}

impl Daemon {
    /// Calls a method; an error answer is an `Err`.
    pub fn call(&self, method: &str, params: &Value) -> Result<Value, Value> {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let agent: ureq::Agent = ureq::Agent::config_builder().proxy(None).build().into();
        let mut response = agent.post(format!("{}/api", self.api)).send(body).unwrap();
        let answer: Value = serde_json::from_str(&response.body_mut().read_to_string().unwrap()).unwrap();
        if answer["error"].is_null() { Ok(answer["result"].clone()) } else { Err(answer["error"].clone()) }
    }

    /// Waits for the end; how long that took.
    pub fn wait(&mut self) -> (ExitStatus, Duration) {
        let start = Instant::now();
        let status = self.program.wait(STOP_LIMIT * 3);
        (status, start.elapsed())
    }
}
