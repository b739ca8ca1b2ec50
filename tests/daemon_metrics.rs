//! The daemon in numbers, as Prometheus reads them: the real program, looked at by Debian's `promtool`.
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

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use common::daemon::Home;

/// What `GET /metrics` answers there.
fn metrics(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/plain; version=0.0.4"), "{head}");
    body.to_owned()
}

/// The value of a series.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().unwrap()
}

#[test]
fn the_numbers_are_those_of_the_daemon_and_as_prometheus_wants_them() {
    let home = Home::new();
    let _daemon = home.start();
    let hash = home.share(&home.file("film.mkv", 300_000));
    home.share(&home.file("song.ogg", 100_000));
    home.ok(&["pause", &hash]);
    let note: serde_json::Value = serde_json::from_slice(&std::fs::read(home.data("daemon.json")).unwrap()).unwrap();
    let url = note["api_url"].as_str().unwrap();
    let text = metrics(url.strip_prefix("http://").unwrap().trim_end_matches('/'));
    assert_eq!(value(&text, "bitween_torrents{state=\"paused\"}"), 1.0);
    assert_eq!(value(&text, "bitween_torrents{state=\"seeding\"}"), 1.0);
    assert_eq!(value(&text, "bitween_torrents{state=\"error\"}"), 0.0);
    assert!(value(&text, "process_resident_memory_bytes") > 1e6);
    assert!(value(&text, "bitween_reactor_turns_total") > 0.0);

    let tool = Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut tool) = tool else {
        assert!(std::env::var_os("CI").is_none(), "promtool is missing; see .ci/setup");
        eprintln!("skipped: promtool is not installed");
        return;
    };
    tool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let checked = tool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && said.trim().is_empty(), "promtool: {said}\n{text}");
}
