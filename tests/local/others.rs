//! Other programs in the same network: Debian's avahi, and a script with a common mDNS library.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::LIMIT;
use super::common::network::Network;
use super::common::process::Program;
use super::common::{installed, missing, wait_for};

const BUS: &str = "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" \
    \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\"><busconfig><type>system</type>\
    <listen>unix:path=FOLDER/bus</listen><auth>EXTERNAL</auth><policy context=\"default\"><allow send_destination=\"*\"/>\
    <allow receive_sender=\"*\"/><allow own=\"*\"/><allow user=\"*\"/></policy></busconfig>";

const AVAHI: &str = "[server]\nhost-name=observer\ndisallow-other-stacks=no\n";

/// Its own folder of run-time files, so that it does not meet one that runs on this machine.
const OWN_RUN: &str = "mount -t tmpfs tmpfs /run && mkdir -p /run/avahi-daemon && exec avahi-daemon --no-drop-root \
    --no-chroot --no-rlimits --no-proc-title --file ";

#[test]
fn avahi_lists_it_with_everything_that_the_xep_wants() {
    if ["avahi-daemon", "avahi-browse", "dbus-daemon", "unshare"].iter().any(|program| !installed(program)) {
        return missing("avahi (avahi-daemon, avahi-utils)");
    }
    let Some(network) = Network::new() else { return };
    let mut alice = network.machine("alice");
    alice.start();
    let observer = network.host();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("dbus.conf"), BUS.replace("FOLDER", folder.path().to_str().unwrap())).unwrap();
    fs::write(path("avahi.conf"), AVAHI).unwrap();
    let bus = format!("unix:path={}", path("bus"));
    let with_bus = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).env("DBUS_SYSTEM_BUS_ADDRESS", &bus);
        observer.there(&command)
    };
    let _dbus = {
        let command = with_bus("dbus-daemon", &["--nofork", &format!("--config-file={}", path("dbus.conf"))]);
        Program::start("dbus", command, folder.path())
    };
    wait_for("the bus is there", LIMIT, || Path::new(&path("bus")).exists().then_some(()));
    let script = format!("{OWN_RUN}{}", path("avahi.conf"));
    let mut avahi = Program::start("avahi", with_bus("unshare", &["-m", "sh", "-c", &script]), folder.path());
    avahi.wait_for_line("Server startup complete", LIMIT);

    let port = alice.status()["local"]["port"].to_string();
    let listed = || {
        let output = with_bus("avahi-browse", &["-rptk", "_presence._tcp"]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find(|line| line.starts_with('=') && line.contains(";IPv4;")).map(str::to_owned);
        line.filter(|line| line.contains("alice"))
    };
    let line = wait_for("avahi lists it", LIMIT, listed);
    let fields: Vec<&str> = line.split(';').collect();
    assert_eq!((fields[3], fields[4], fields[5]), ("alice\\064net", "_presence._tcp", "local"), "{line}");
    assert!(fields[6].starts_with("bitween-") && fields[6].ends_with(".local"), "not the machine's own name: {line}");
    assert_eq!((fields[7], fields[8]), (alice.host.address.as_str(), port.as_str()), "{line}");
    let texts = ["txtvers=1", "status=avail", "node=urn:bitween", "hash=sha-1", "ver="];
    for text in texts.into_iter().map(str::to_owned).chain([format!("port.p2pj={port}")]) {
        assert!(fields[9].contains(&format!("\"{text}")), "{text}: {line}");
    }
}

/// An interpreter that has the library.
fn python() -> Option<&'static str> {
    let has_it = |python: &&str| {
        let tried = Command::new(python).args(["-c", "import zeroconf"]).output();
        tried.is_ok_and(|output| output.status.success())
    };
    ["python3", "/usr/bin/python3"].into_iter().find(has_it)
}

fn script(mode: &str, network: &Network, arguments: &[&str]) -> Option<String> {
    let Some(python) = python() else {
        missing("python3-zeroconf");
        return None;
    };
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/local/peer.py");
    let host = network.host();
    let mut command = Command::new(python);
    command.args([file, mode, &host.address]).args(arguments);
    let output = host.there(&command).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    Some(out.into_owned())
}

#[test]
fn a_script_finds_it_and_talks_a_plain_stream_with_it() {
    let Some(network) = Network::new() else { return };
    let mut alice = network.machine("alice");
    alice.start();
    let Some(said) = script("talk", &network, &["alice@net"]) else { return };
    for part in ["found alice@net", "features starttls", "pong", "disco urn:bitween:shares:0+notify", "closed in order"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    // Whoever only talks is nobody to be listed.
    assert_eq!(alice.ok(&["contacts"]), "");
}

#[test]
fn a_flood_of_strangers_does_not_keep_friends_away() {
    let Some(network) = Network::new() else { return };
    let (mut alice, mut bob) = (network.machine("alice"), network.machine("bob"));
    alice.start();
    bob.start();
    alice.meets(1);
    alice.ok(&["contacts", "accept", "bob@net"]);
    bob.ok(&["contacts", "accept", "alice@net"]);
    bob.stop();
    if script("flood", &network, &["1000"]).is_none() {
        return;
    }
    std::thread::sleep(Duration::from_secs(1));
    bob.start();
    let online = || alice.neighbor("bob").filter(|bob| bob["online"] == true);
    wait_for("the friend is there", LIMIT, online);
    let listed = alice.json(&["contacts"]).as_array().unwrap().len();
    assert!((2..=300).contains(&listed), "{listed} are listed");
}
