//! `bitween doctor` on sound and on broken homes, with and without a daemon, and with a real Prosody.
#![cfg(all(feature = "cli", feature = "xmpp"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that fails should say where"
)]

mod common;

use std::fs;
use std::net::TcpListener;

use serde_json::Value;

use common::daemon::{Home, STOP_LIMIT};
use common::prosody::{self, Prosody, ProsodyOptions};
use common::{START_LIMIT, free_port, text, wait_for};

const LOOPBACK: &str = "[bittorrent]\nbind = ['127.0.0.1']\n";

/// What it found: exit code, and outcome, text and remedy of every check of a name.
struct Found {
    code: i32,
    report: Value,
}

impl Found {
    fn on(home: &Home) -> Self {
        let output = home.run(&["doctor", "--json"]);
        let report = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        Self { code: output.status.code().unwrap(), report }
    }

    /// Everything about one thing, a line each.
    fn about(&self, name: &str) -> String {
        let checks = self.report["checks"].as_array().unwrap().iter().filter(|check| check["check"] == name);
        let line = |check: &Value| {
            let part = |key: &str| check[key].as_str().unwrap().to_owned();
            format!("{}: {} -> {}\n", part("outcome"), part("text"), part("remedy"))
        };
        checks.map(line).collect()
    }

    fn assert(&self, name: &str, outcome: &str, part: &str) {
        let found = self.about(name);
        let is = |line: &str| line.starts_with(&format!("{outcome}: ")) && line.contains(part);
        assert!(found.lines().any(is), "{name} is not {outcome} with {part:?}:\n{found}\n{}", self.report);
    }
}

/// A home whose daemon and doctor do not meet whoever has the usual port.
fn home() -> (Home, u16) {
    let (home, port) = (Home::new(), free_port());
    home.configure(&format!("{LOOPBACK}[api]\nport = {port}\n"));
    (home, port)
}

#[test]
fn a_home_without_a_daemon_is_looked_at_and_left_as_it_is() {
    let (home, port) = home();
    let output = home.run(&["doctor"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.lines().last().unwrap().starts_with("verdict: "), "{said}");
    assert!(output.stderr.is_empty());
    assert!(!home.data("").exists(), "no folder is made");
    let found = Found::on(&home);
    assert_eq!((found.code, &found.report["fine"]), (0, &Value::Bool(true)));
    found.assert("settings", "ok", "config.toml");
    found.assert("daemon", "ok", "none runs");
    found.assert("data", "ok", "will be made");
    found.assert("interface", "ok", &format!("port {port} (TCP) is free"));
    found.assert("peers", "ok", "any port");
    found.assert("account", "ok", "bitween account set");
    found.assert("clock", "unknown", "no server");
    assert!(!found.about("IPv4").is_empty() && !found.about("open files").is_empty());
}

#[test]
fn a_running_daemon_is_asked() {
    let home = Home::new();
    let mut daemon = home.start();
    let found = Found::on(&home);
    assert_eq!(found.code, 0, "{}", found.report);
    found.assert("daemon", "ok", &format!("process {}", daemon.program.id()));
    found.assert("data", "ok", "can be written");
    found.assert("peers", "ok", &format!("port {} (TCP) answers", daemon.port));
    found.assert("database", "ok", "the list of torrents is whole");
    assert_eq!(found.about("interface"), "", "it has just answered");
    daemon.program.stop(STOP_LIMIT).unwrap();
    let found = Found::on(&home);
    found.assert("daemon", "ok", "none runs");
    found.assert("peers", "ok", &format!("port {} (TCP) is free", daemon.port));
}

#[test]
fn what_is_broken_is_named_with_what_to_do() {
    let (home, _) = home();
    let taken = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [peers, interface] = [0, 1].map(|at: usize| taken[at].local_addr().unwrap().port());
    let file = home.path("a file");
    fs::write(&file, "").unwrap();
    home.configure(&format!(
        "download_dir = '{}'\n[bittorrent]\nbind = ['127.0.0.1']\nport = {peers}\nmax_connections = 10000000\n\
         [api]\nport = {interface}\n",
        text(&file)
    ));
    fs::create_dir_all(home.data("")).unwrap();
    fs::write(home.data("torrents.sqlite"), "scribbled over by somebody who should have known better").unwrap();
    let found = Found::on(&home);
    assert_eq!(found.code, 1);
    found.assert("downloads", "failed", "a file is in its place");
    found.assert("database", "failed", "move the file away");
    found.assert("interface", "failed", &format!("sport = :{interface}"));
    found.assert("peers", "failed", &format!("sport = :{peers}"));
    found.assert("open files", "warning", "max_connections");
    found.assert("data", "warning", "chmod 700");
    assert!(found.report["verdict"].as_str().unwrap().starts_with("4 things have to be mended"), "{}", found.report);
    let said = home.run(&["doctor"]);
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains("\nfailed   peers ") && said.contains("\n                      -> `ss "), "{said}");
}

#[test]
fn wrong_settings_are_the_first_thing_to_mend() {
    let home = Home::new();
    home.configure("prot = 5\n");
    let found = Found::on(&home);
    assert_eq!(found.code, 1);
    found.assert("settings", "failed", "prot");
}

fn configured(server: &str, ca_file: &str, password: &str) -> Home {
    let (home, port) = home();
    home.configure(&format!(
        "[xmpp]\njid = 'alice@localhost'\npassword = '{password}'\nserver = '{server}'\nca_file = '{ca_file}'\n\
         {LOOPBACK}[api]\nport = {port}\n"
    ));
    home
}

#[test]
fn logins_are_tried_and_the_step_that_fails_is_named() {
    if !prosody::installed() {
        return;
    }
    let server = Prosody::start(ProsodyOptions {
        users: &[("alice", "secret-a")],
        modules: &["time"],
        ..ProsodyOptions::default()
    });
    let (address, authority) = (server.server(), server.ca_file());
    let home = configured(&address, text(&authority), "secret-a");
    let found = Found::on(&home);
    assert_eq!(found.code, 0, "{}", found.report);
    found.assert("account", "ok", "alice@localhost: logged in (SCRAM-SHA-");
    found.assert("clock", "ok", "s apart");
    assert!(!home.data("").exists(), "nothing is remembered");

    let found = Found::on(&configured(&address, text(&authority), "pa55"));
    assert_eq!(found.code, 1);
    found.assert("account", "failed", "logging in failed");
    found.assert("clock", "unknown", "no server");
    assert!(!found.report.to_string().contains("pa55"));

    Found::on(&configured(&address, "/no/such.pem", "secret-a")).assert("account", "failed", "encryption failed");
    let nobody = format!("127.0.0.1:{}", free_port());
    Found::on(&configured(&nobody, text(&authority), "secret-a")).assert("account", "failed", "connecting failed");

    // The daemon's own login is not disturbed.
    let daemon = home.start();
    let state = || serde_json::from_str::<Value>(&home.ok(&["account", "show", "--json"])).unwrap()["state"].clone();
    wait_for("the account to be online", START_LIMIT, || (state() == "online").then_some(()));
    Found::on(&home).assert("account", "ok", "logged in");
    assert_eq!(state(), "online");
    let log = daemon.program.stderr();
    assert_eq!(log.matches("connected as alice@localhost").count(), 1, "{log}");
}
