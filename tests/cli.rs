//! The program as users run it: help, wrong use, exit codes, and the commands against a daemon's interface.
#![cfg(all(feature = "cli", feature = "local"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that fails should say where"
)]

#[path = "common/fake_control.rs"]
mod fake_control;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bitween::component::rpc::{RpcServer, ServerOptions};
use bitween::config::DaemonFile;
use fake_control::{BOOK, FILM, FakeControl, LISTED};
use serde_json::Value;

/// A user with an empty home folder.
struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, content: &str) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bitween"));
        command.args(args).env_clear().env("HOME", self.dir.path()).current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn code(&self, args: &[&str]) -> i32 {
        self.run(args).status.code().unwrap()
    }
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

const COMMANDS: [&str; 21] = [
    "download", "seed", "create", "info", "verify", "daemon", "account", "contacts", "share", "unshare", "shares",
    "search", "get", "status", "pause", "resume", "recheck", "remove", "stop", "doctor", "demo",
];

#[test]
fn the_version_is_one_line() {
    let output = Home::new().run(&["--version"]);
    assert_eq!(out(&output), format!("bitween {}\n", env!("CARGO_PKG_VERSION")));
    assert!(output.status.success());
}

#[test]
fn every_command_explains_itself() {
    let home = Home::new();
    let all = out(&home.run(&["--help"]));
    for name in COMMANDS {
        assert!(all.contains(&format!("  {name} ")), "{name} is missing in --help");
        let output = home.run(&[name, "--help"]);
        assert!(output.status.success() && out(&output).contains("Usage: bitween "), "{name}");
    }
    assert!(all.contains("Exit codes: 0 done, 1 failed, 2 wrong use, 3 no daemon reached."));
}

#[test]
fn wrong_use_is_exit_code_2_with_a_hint() {
    let home = Home::new();
    for args in [
        &[][..],
        &["frobnicate"],
        &["get"],
        &["status", "--nope"],
        &["seed", "x.torrent"],
        &["download", "x", "--peer", "nowhere"],
        &["download", "x", "--tracker", "nowhere"],
        &["seed", "x.torrent", "--dir", ".", "--tracker", "udp://no.port/"],
        &["create", "x", "--tracker", ""],
        &["daemon", "--bind", "nowhere"],
        &["account", "set", "nojid"],
        &["contacts", "add", "a b@c"],
        &["status", "--log-level", "loud"],
        &["status", "--api", "ftp://x"],
        &["shares", "--mine", "--contact", "a@b"],
    ] {
        let output = home.run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", err(&output));
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{args:?}");
    }
    assert!(err(&home.run(&["statsu"])).contains("status"));
}

#[test]
fn without_a_daemon_the_exit_code_is_3_and_the_text_says_what_to_do() {
    let home = Home::new();
    let config = home.write("c.toml", "[api]\nport = 0\n");
    for args in
        [&["status"][..], &["shares"], &["stop"], &["get", "abc"], &["share", "x"], &["contacts"], &["pause", "a"]]
    {
        for place in [&["--data-dir", "nobody"][..], &["--config", &config], &["--api", "http://127.0.0.1:1"]] {
            let output = home.run(&[args, place].concat());
            assert_eq!(output.status.code(), Some(3), "{args:?} {place:?}: {}", err(&output));
            assert!(err(&output).contains("bitween daemon") && err(&output).lines().count() == 1, "{}", err(&output));
        }
    }
}

#[test]
fn an_unknown_configuration_key_is_one_clear_line() {
    let home = Home::new();
    let config = home.write("c.toml", "[xmpp]\njdi = 'a@b'\n");
    for command in ["daemon", "status"] {
        let output = home.run(&[command, "--config", &config]);
        assert_eq!(
            err(&output),
            format!("bitween: {config}, line 2: unknown key `xmpp.jdi`, did you mean `xmpp.jid`?\n")
        );
        assert_eq!(output.status.code(), Some(2));
    }
    assert_eq!(home.code(&["daemon", "--config", "missing.toml"]), 2);
    home.write(".config/bitween/config.toml", "nonsense");
    assert!(err(&home.run(&["status"])).contains(".config/bitween/config.toml, line 1"));
}

#[test]
fn another_program_on_the_daemons_port_is_no_daemon() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let api = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nServer: other\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let output = Home::new().run(&["status", "--api", &api]);
    assert_eq!(output.status.code(), Some(3));
    assert!(err(&output).contains(&format!("another program listens at {api}")), "{}", err(&output));
}

#[test]
fn the_account_is_kept_without_a_daemon_and_its_password_never_shown() {
    let home = Home::new();
    let run = |args: &[&str]| {
        let mut command = home.command(&[args, &["--data-dir", "d"]].concat());
        command.env("BITWEEN_XMPP_PASSWORD", "hunter2").output().unwrap()
    };
    let set = run(&["account", "set", "alice@localhost", "--server", "127.0.0.1:5222", "--ca-file", "ca.pem"]);
    assert!(set.status.success(), "{}", err(&set));
    let stored = home.path("d/account.toml");
    let text = std::fs::read_to_string(&stored).unwrap();
    assert!(text.contains("hunter2") && text.contains(home.path("ca.pem").to_str().unwrap()), "{text}");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&stored).unwrap().permissions().mode() & 0o777, 0o600);
    for args in [&["account", "show"][..], &["account", "show", "--json"], &["account", "remove"]] {
        let output = run(args);
        assert!(output.status.success() && !out(&output).contains("hunter2") && !err(&output).contains("hunter2"));
    }
    assert!(out(&run(&["account", "show"])).starts_with("no account"));
    assert_eq!(home.code(&["account", "show", "--api", "http://127.0.0.1:1"]), 3);
}

#[test]
fn the_password_may_come_through_a_pipe() {
    let home = Home::new();
    let mut child = home
        .command(&["account", "set", "a@b", "--data-dir", "d"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"piped secret\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert!(std::fs::read_to_string(home.path("d/account.toml")).unwrap().contains("piped secret"));
    let nobody = home.run(&["account", "set", "a@b", "--data-dir", "e"]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(err(&nobody).contains("--password-file"), "{}", err(&nobody));
}

/// An interface with canned answers, and a user who finds it through a data folder.
struct Daemon {
    home: Home,
    control: Arc<FakeControl>,
    server: RpcServer,
}

impl Daemon {
    fn new(token: Option<&str>) -> Self {
        let home = Home::new();
        let control = Arc::new(FakeControl::default());
        let mut options = ServerOptions::new("127.0.0.1:0".parse().unwrap());
        options.token = token.map(str::to_owned);
        let server = RpcServer::start(options, control.clone()).unwrap();
        let token_file = token.map(|token| PathBuf::from(home.write("token", token)));
        let note = DaemonFile { pid: 1, api_url: format!("http://{}", server.address()), token_file };
        note.write(&home.path("d")).unwrap();
        Self { home, control, server }
    }

    fn run(&self, args: &[&str]) -> Output {
        self.home.run(&[args, &["--data-dir", "d"]].concat())
    }

    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", err(&output));
        out(&output)
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[args, &["--json"]].concat())).unwrap()
    }
}

#[test]
fn lists_are_tables_for_people_and_json_for_programs() {
    let daemon = Daemon::new(None);
    let shares = daemon.ok(&["shares"]);
    assert!(shares.contains(BOOK) && shares.contains("bob@localhost") && shares.contains("available"), "{shares}");
    assert!(shares.contains("2.3 MiB") && shares.starts_with("HASH"), "{shares}");
    assert_eq!(daemon.json(&["shares"])[0]["hash"], BOOK);
    assert_eq!(daemon.json(&["search", "book"]).as_array().unwrap().len(), 1);
    assert_eq!(daemon.json(&["search", "two", "words"]), Value::Array(vec![]));
    assert_eq!(daemon.json(&["contacts"])[0]["jid"], "bob@localhost");
    assert_eq!(daemon.json(&["status"])["torrents"][0]["name"], "Film");
    assert_eq!(daemon.json(&["account", "show"])["jid"], "alice@localhost");
    assert!(daemon.ok(&["status"]).contains("seeding  100.0 %"));
    daemon.ok(&["shares", "--contact", "bob@localhost/phone"]);
    assert!(daemon.control.log().contains(&"list Some(\"bob@localhost\")".to_owned()));
}

#[test]
fn long_lists_come_in_pages() {
    let daemon = Daemon::new(None);
    let many = ["shares", "--contact", "many@localhost"];
    assert_eq!(daemon.json(&many).as_array().unwrap().len(), LISTED, "two answers");
    let rest = daemon.json(&[&many[..], &["--offset", "9998"]].concat());
    assert_eq!(rest.as_array().unwrap().len(), LISTED - 9998);
    let output = daemon.run(&[&many[..], &["--limit", "2"]].concat());
    assert_eq!(out(&output).lines().count(), 3, "the heading and two rows");
    assert!(err(&output).contains("and 9999 more"), "{}", err(&output));
    daemon.ok(&["search", "book", "--offset", "7"]);
    assert!(daemon.control.log().contains(&"search book from 7 at most 1000".to_owned()));
}

#[test]
fn foreign_names_cannot_drive_the_terminal() {
    let text = Daemon::new(None).ok(&["shares"]);
    assert!(text.contains("Book \\u{1b}[31m\\u{202e}evil") && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn commands_do_what_they_say() {
    let daemon = Daemon::new(None);
    daemon.ok(&["pause", "aaaa00"]);
    daemon.ok(&["resume", "aaaa00"]);
    daemon.ok(&["unshare", "aaaa00"]);
    daemon.ok(&["remove", "aaaa00", "--with-data"]);
    daemon.ok(&["contacts", "add", "carol@localhost", "--name", "Carol"]);
    daemon.ok(&["contacts", "accept", "carol@localhost/phone"]);
    let expected = [
        format!("pause {FILM}"),
        format!("resume {FILM}"),
        format!("remove {FILM} false"),
        format!("remove {FILM} true"),
        "add carol@localhost Some(\"Carol\")".to_owned(),
        "accept carol@localhost".to_owned(),
    ];
    assert_eq!(daemon.control.log(), expected);
}

#[test]
fn the_daemons_errors_are_exit_code_1_and_one_line() {
    let daemon = Daemon::new(None);
    for (args, part) in [
        (&["pause", "aaaa"][..], "fits 2 hashes"),
        (&["pause", "ffff"], "no torrent with hash ffff"),
        (&["contacts", "remove", "x@y"], "x@y is not a contact"),
        (&["get", "no/such.torrent"], "no/such.torrent is neither a file"),
        (&["share", "/missing"], "/missing does not exist"),
    ] {
        let output = daemon.run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(err(&output).contains(part) && err(&output).lines().count() == 1, "{}", err(&output));
    }
}

#[test]
fn sharing_prints_the_hash_and_sends_an_absolute_path() {
    let daemon = Daemon::new(None);
    assert_eq!(daemon.ok(&["share", "film", "/data/song"]), format!("{FILM}\n{FILM}\n"));
    let film = format!("share {}", daemon.home.path("film").display());
    assert_eq!(daemon.control.log(), [film, "share /data/song".to_owned()]);
}

#[test]
fn getting_takes_hashes_files_and_links_and_waits() {
    let daemon = Daemon::new(None);
    let text = daemon.ok(&["get", "bbbb", "--dir", "here", "--wait"]);
    assert_eq!(text, format!("{BOOK}\n"));
    let here = daemon.home.path("here");
    assert!(daemon.control.log()[0].contains(BOOK) && daemon.control.log()[0].contains(here.to_str().unwrap()));
    daemon.ok(&["get", &daemon.home.write("x.torrent", "abc")]);
    daemon.ok(&["get", "magnet:?xt=urn:btih:x"]);
    let log = daemon.control.log();
    assert!(log[1].contains("File([97, 98, 99])") && log[2].contains("Magnet("), "{log:?}");
}

#[test]
fn a_token_is_found_through_the_daemons_note_and_needed() {
    let daemon = Daemon::new(Some("s3cret"));
    daemon.ok(&["status"]);
    let api = format!("http://{}", daemon.server.address());
    let without = daemon.home.run(&["status", "--api", &api]);
    assert_eq!(without.status.code(), Some(1));
    assert!(err(&without).contains("a token is needed"), "{}", err(&without));
    let token = daemon.home.path("token");
    assert_eq!(daemon.home.code(&["status", "--api", &api, "--token-file", token.to_str().unwrap()]), 0);
}

#[test]
fn stopping_waits_until_nobody_answers() {
    let mut daemon = Daemon::new(None);
    let child = daemon.home.command(&["stop", "--data-dir", "d"]).stdout(Stdio::piped()).spawn().unwrap();
    while daemon.control.log().is_empty() {
        std::thread::yield_now();
    }
    daemon.server.stop();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), out(&output).as_str()), (Some(0), "stopped\n"));
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_command_quietly() {
    let daemon = Daemon::new(None);
    let mut child = daemon
        .home
        .command(&["status", "--watch", "--data-dir", "d"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), err(&output).as_str()), (Some(0), ""));
}

#[test]
fn a_transfer_needs_nobody_who_reads_its_progress() {
    let home = Home::new();
    home.write("film", "hello");
    assert_eq!(home.code(&["create", "film", "-o", "film.torrent"]), 0);
    let mut child = home.command(&["download", "film.torrent"]).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn what_stops_a_transfer_is_said_once() {
    let home = Home::new();
    home.write("film", "hello");
    assert_eq!(home.code(&["create", "film", "-o", "film.torrent"]), 0);
    let output = home.run(&["seed", "film.torrent", "--dir", "elsewhere"]);
    let said = err(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.ends_with("is missing\n") && !said.contains("ERROR"), "{said}");
    let output = home.run(&["download", "no.torrent"]);
    assert_eq!(
        err(&output),
        "bitween: no.torrent is neither a file that is there, nor a magnet link, nor an info hash\n"
    );
}

#[test]
fn torrents_are_made_shown_and_checked_without_a_daemon() {
    let home = Home::new();
    home.write("films/a.mkv", "some film");
    assert_eq!(home.code(&["create", "films", "-o", "films.torrent"]), 0);
    let info: Value = serde_json::from_str(&out(&home.run(&["info", "films.torrent", "--json"]))).unwrap();
    assert_eq!((info["name"].as_str(), info["total_size"].as_u64()), (Some("films"), Some(9)));
    assert_eq!(home.code(&["verify", "films.torrent", "--dir", "."]), 0);
    home.write("films/a.mkv", "some filn");
    assert_eq!(home.code(&["verify", "films.torrent", "--dir", "."]), 1);
    assert!(!Path::new(&home.path(".config")).exists(), "nothing is written that nobody asked for");
}

/// `bitween seed` of a small file, ready, with `prepare` run by the shell that becomes it.
fn seeder(home: &Home, prepare: &str) -> Child {
    home.write("film", "hello");
    assert_eq!(home.code(&["create", "film", "-o", "film.torrent", "--force"]), 0);
    let script = format!("{prepare} exec \"$0\" seed film.torrent --dir .");
    let mut child = Command::new("sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_bitween")])
        .env_clear()
        .env("HOME", home.dir.path())
        .env("PATH", "/usr/bin:/bin")
        .current_dir(home.dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.starts_with("complete")));
    child
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn a_closed_terminal_and_signals_in_one_breath_end_a_transfer_in_order() {
    let home = Home::new();
    for signals in [&["-HUP"][..], &["-TERM", "-TERM", "-TERM"], &["-INT", "-INT", "-HUP"]] {
        let mut child = seeder(&home, "");
        signals.iter().for_each(|name| signal(&child, name));
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signals:?}");
    }
}

#[test]
fn nohup_means_that_the_transfer_goes_on() {
    let home = Home::new();
    let mut child = seeder(&home, "trap '' HUP;");
    signal(&child, "-HUP");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(child.try_wait().unwrap(), None);
    signal(&child, "-TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
