//! `bitween demo`: it works, with nothing but a loopback interface too, and leaves nothing behind.

#![cfg(all(feature = "cli", feature = "local"))]
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test runs on real time and fails by panicking"
)]

mod common;

use std::path::Path;
use std::process::{Command, Output};

use common::{installed, missing};

const BITWEEN: &str = env!("CARGO_BIN_EXE_bitween");

fn demo(command: &mut Command, temp: &Path) -> Output {
    command.env("TMPDIR", temp).env("HOME", temp).output().unwrap()
}

fn check(output: &Output) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    let parts =
        ["contacts accept bob@", "contacts accept alice@", "bitween share", "bitween search", "equal  sea.jpg", "Done"];
    assert!(parts.iter().all(|part| out.contains(part)), "{out}");
    // Each remembers what the other shows.
    for who in ["alice", "bob"] {
        let shown =
            out.lines().skip_while(|line| !line.starts_with(who)).find_map(|line| line.split_once("certificate "));
        let (_, shown) = shown.unwrap();
        assert!(out.contains(&format!("remembers {shown}")), "{out}");
    }
}

#[test]
fn the_demo_works_and_leaves_nothing_behind() {
    let temp = tempfile::tempdir().unwrap();
    check(&demo(Command::new(BITWEEN).arg("demo"), temp.path()));
    let left: Vec<_> = std::fs::read_dir(temp.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_demo_works_with_nothing_but_a_loopback_interface() {
    let temp = tempfile::tempdir().unwrap();
    let ready = "ip link set lo up";
    let possible = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    if !installed("unshare") || !installed("ip") || !possible(Command::new("unshare").args(["-rn", "sh", "-c", ready]))
    {
        missing("unshare, or the right to use it,");
        return;
    }
    let script = format!("{ready} && exec \"$0\" demo");
    check(&demo(Command::new("unshare").args(["-rn", "sh", "-c", &script, BITWEEN]), temp.path()));
}

#[test]
fn a_demo_that_is_interrupted_cleans_up() {
    use std::time::{Duration, Instant};
    let temp = tempfile::tempdir().unwrap();
    let mut command = Command::new(BITWEEN);
    command.arg("demo").env("TMPDIR", temp.path()).env("HOME", temp.path());
    let mut child = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    let is_there = || std::fs::read_dir(temp.path()).unwrap().next().is_some();
    while !is_there() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(100));
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    child.wait().unwrap();
    assert!(!is_there(), "its folder is gone, whether it was done already or not");
}
