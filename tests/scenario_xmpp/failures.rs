//! What goes wrong with accounts and configurations: the daemon runs on where it can, and says in one line why not.

use std::fs;

use crate::common::prosody::{ProsodyOptions, installed};
use crate::common::text;
use crate::common::user::{COMMAND_LIMIT, User};
use crate::{ALICE, PASSWORD, PATIENCE, SOON, daemon, file, online, server, server_with, until};

/// Waits for the account's state and answers with what is said about it.
fn problem(daemon: &User, state: &str) -> String {
    until(&format!("the account is {state}"), PATIENCE, || daemon.account().0 == state);
    let (_, error) = daemon.account();
    assert!(daemon.ok(&["status"]).lines().any(|line| line == format!("! {error}")), "{error}");
    assert!(daemon.ok(&["account", "show"]).contains(&error));
    assert_eq!(error.lines().count(), 1);
    error
}

#[test]
fn a_wrong_password_is_told_and_can_be_mended_without_a_restart() {
    if !installed() {
        return;
    }
    let server = server();
    let [bob] = online(&server, ["bob"]);
    let alice = User::with_account(&server, "alice", "not it").started();
    let error = problem(&alice, "failed");
    assert!(error.contains("wrong user name or password"), "{error}");
    assert!(!alice.log().contains("not it") && !error.contains("not it"));
    // It is a BitTorrent daemon meanwhile.
    let outcome = alice.run(&["share", text(&file(&alice, "film.mkv", 1000))]);
    assert!(outcome.code == 0 && outcome.err.contains("contacts are told later"), "{outcome:?}");
    let error = alice.fails(1, &["contacts", "add", "bob@localhost"]);
    assert!(error.contains("wrong user name or password"), "{error}");

    fs::write(alice.home().join("wrong"), "also wrong\n").unwrap();
    let error = alice.fails(1, &["account", "set", ALICE, "--password-file", "wrong"]);
    assert!(error.contains("wrong user name or password"), "{error}");
    fs::write(alice.home().join("right"), format!("{PASSWORD}\n")).unwrap();
    let out = alice.ok(&["account", "set", ALICE, "--password-file", "right"]);
    assert!(out.contains("online"), "{out}");
    until("bob sees it now", SOON, || bob.can_get(outcome.out.trim()));
}

#[test]
fn a_certificate_of_another_name_is_refused() {
    if !installed() {
        return;
    }
    let server = server_with(ProsodyOptions { certificate_name: "other.example", ..ProsodyOptions::default() });
    let alice = daemon(&server, "alice").started();
    let error = problem(&alice, "offline");
    assert!(error.contains("other.example") && error.contains("localhost"), "{error}");
    assert!(!server.log().contains("SCRAM") && !server.log().contains("PLAIN"), "no word of the login was sent");
    let error = alice.fails(1, &["account", "set", ALICE, "--password-file", "password"]);
    assert!(error.contains("other.example"), "{error}");
}

#[test]
fn a_server_that_is_not_there_is_waited_for() {
    if !installed() {
        return;
    }
    let mut server = server();
    server.kill();
    let alice = daemon(&server, "alice").started();
    let error = problem(&alice, "offline");
    assert!(error.contains(&server.server()), "{error}");
    server.resume();
    alice.wait_online();
    assert_eq!(alice.account().1, "");
}

#[test]
fn a_daemon_that_cannot_start_says_why_in_one_line() {
    let mut running = User::new("alice", "").started();
    let (config, data) = (running.config(), running.data_dir());
    let outcome = second(&running, &config, &data);
    assert_eq!((outcome.0, outcome.1.lines().count()), (1, 1), "{outcome:?}");
    assert!(outcome.1.contains(text(&data)) && outcome.1.contains(&running.program().id().to_string()), "{outcome:?}");

    // An unknown key is named with its line, and what was probably meant.
    running.edit_config("allow_loopback_peers", "allow_loopback_pers");
    let outcome = second(&running, &config, &running.home().join("other"));
    assert_eq!((outcome.0, outcome.1.lines().count()), (2, 1), "{outcome:?}");
    let parts = ["config.toml, line 7", "xmpp.allow_loopback_pers", "xmpp.allow_loopback_peers"];
    assert!(parts.iter().all(|part| outcome.1.contains(part)), "{outcome:?}");
    assert!(!running.home().join("other").exists(), "nothing was touched");

    // Nobody was harmed.
    running.edit_config("allow_loopback_pers", "allow_loopback_peers");
    assert!(running.ok(&["status"]).contains("no XMPP account"));
    running.stop();
    assert!(running.fails(3, &["status"]).contains("bitween daemon"));
}

/// Tries to start another daemon: its exit code and standard error.
fn second(owner: &User, config: &std::path::Path, data: &std::path::Path) -> (i32, String) {
    let mut command = crate::common::bitween::command(owner.home());
    command.args(["daemon", "--config", text(config), "--data-dir", text(data)]).env("BITWEEN_LOG", "warn");
    let mut program = crate::common::process::Program::start("second", command, owner.home());
    let status = program.wait(COMMAND_LIMIT);
    assert_eq!(program.stdout(), "");
    (status.code().unwrap_or(-1), program.stderr())
}
