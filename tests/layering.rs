//! The rule of the house: an arrow points down only.
//!
//! Reads `src/` and fails on a path that a module must not name. The heights come from the table in `src/lib.rs`, so
//! the map that people read is the one that is enforced. Neighbours of the same height do not name each other either,
//! but for what [`SIDEWAYS`] lists. `proto`, `engine` and `share` are pure: no socket, file, thread, lock or process.
//! The last part of this file feeds the checker samples that must be refused, so that it cannot rot unnoticed.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and clippy's exception for tests does not reach helper functions"
)]

#[path = "layering/paths.rs"]
mod paths;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use paths::{Named, lines_with_word, named_paths};

/// Arrows between modules of the same height: from, to, why there is no other way.
const SIDEWAYS: &[(&str, &str, &str)] = &[
    ("cli", "config", "commands that talk to a daemon find it through the configuration file"),
    ("cli", "daemon", "`bitween daemon` runs it"),
    ("cli", "folders", "`download` and `seed` keep resume data where the daemon does"),
    ("cli", "logging", "logging is set up before a command runs"),
    ("cli", "node", "`download` and `seed` run an engine in this process"),
    ("cli", "signals", "Ctrl-C ends a command in order"),
    ("config", "folders", "the configuration says what is elsewhere than usual"),
    ("config", "logging", "the level and the format of the log are configured"),
    ("daemon", "config", "the daemon is built from the configuration"),
    ("daemon", "logging", "the daemon's log goes where the configuration says"),
    ("daemon", "node", "the daemon contains an engine"),
    ("daemon", "signals", "signals stop `bitween daemon` in order"),
];

/// Files of `component/` that all components share; every other one is a thread of its own.
const COMMON_GROUND: &[&str] = &["ask", "crypto", "event", "running", "snapshot", "teller"];

/// Modules that decide and translate, and touch nothing outside themselves.
const PURE: &[&str] = &["types", "proto", "engine", "share"];

/// Crates that reach the world outside and have no place in pure modules.
const IMPURE_CRATES: &[&str] = &[
    "crossbeam_channel",
    "getrandom",
    "if_addrs",
    "libc",
    "mdns_sd",
    "memmap2",
    "mio",
    "rusqlite",
    "rustix",
    "rustls",
    "signal_hook",
    "socket2",
    "ureq",
];

/// Modules of the standard library that reach the world outside.
const IMPURE_STD: &[&str] = &["env", "fs", "os", "process", "thread"];

/// What pure modules may take from `std::net`: addresses are data, sockets are not.
const PURE_NET: &[&str] =
    &["AddrParseError", "IpAddr", "Ipv4Addr", "Ipv6Addr", "SocketAddr", "SocketAddrV4", "SocketAddrV6"];

/// What pure modules may take from `std::sync`: shared ownership and constants, no locks.
const PURE_SYNC: &[&str] = &["Arc", "LazyLock", "Weak"];

/// Where `unsafe` may stand.
const UNSAFE_HOMES: &[&str] = &["storage/mapping", "storage/sha1_pair"];

/// Module name to height, from the table in `src/lib.rs`.
type Heights = BTreeMap<String, u32>;

#[test]
fn no_module_names_what_is_above_or_beside_it() {
    let heights = heights(&fs::read_to_string(source_root().join("lib.rs")).unwrap());
    let mut violations = Vec::new();
    for file in source_files() {
        let source = fs::read_to_string(&file).unwrap();
        let relative = file.strip_prefix(source_root()).unwrap();
        violations.extend(check(relative, &source, &heights));
    }
    assert!(violations.is_empty(), "{} forbidden:\n{}", violations.len(), violations.join("\n"));
}

#[test]
fn the_table_in_lib_rs_lists_every_module_and_no_other() {
    let heights = heights(&fs::read_to_string(source_root().join("lib.rs")).unwrap());
    let mut modules: Vec<String> = fs::read_dir(source_root())
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|name| name != "lib" && name != "main")
        .collect();
    modules.sort();
    assert_eq!(modules, heights.keys().cloned().collect::<Vec<_>>());
}

#[test]
fn sideways_arrows_join_modules_of_one_height_and_make_no_circle() {
    let heights = heights(&fs::read_to_string(source_root().join("lib.rs")).unwrap());
    for (from, to, reason) in SIDEWAYS {
        assert_eq!(heights.get(*from), heights.get(*to), "{from} and {to}: {reason}");
        assert!(!SIDEWAYS.iter().any(|(a, b, _)| a == to && b == from), "{from} and {to} need each other");
    }
}

fn source_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn source_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![source_root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    assert!(files.len() > 50, "only {} source files found", files.len());
    files.sort();
    files
}

/// Reads the rows `| height | modules | what |` of the crate's documentation.
fn heights(lib_rs: &str) -> Heights {
    let mut heights = Heights::new();
    for row in lib_rs.lines().filter_map(|line| line.strip_prefix("//! |")) {
        let mut cells = row.split('|').map(str::trim);
        let (Some(height), Some(modules)) = (cells.next().and_then(|cell| cell.parse().ok()), cells.next()) else {
            continue;
        };
        for module in modules.split(',') {
            heights.insert(module.trim().trim_matches(['[', ']', '`']).to_owned(), height);
        }
    }
    assert!(heights.len() > 5, "the layer table of src/lib.rs cannot be read: {heights:?}");
    heights
}

/// The module that a file is the body of: `proto/peer/mod.rs` is `[proto, peer]`.
fn module_of(file: &Path) -> Vec<String> {
    let mut module: Vec<String> = file.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    let last = module.pop().unwrap();
    match last.as_str() {
        "lib.rs" | "main.rs" | "mod.rs" => {}
        name => module.push(name.trim_end_matches(".rs").to_owned()),
    }
    module
}

/// All rules on one file. `file` is relative to `src/`.
fn check(file: &Path, source: &str, heights: &Heights) -> Vec<String> {
    let module = module_of(file);
    let shown = format!("src/{}", file.display());
    let mut found = Vec::new();
    if !UNSAFE_HOMES.iter().any(|home| file.starts_with(home)) {
        let lines = lines_with_word(source, "unsafe");
        found.extend(lines.iter().map(|line| {
            format!("{shown}:{line}: `unsafe` lives in src/storage/mapping/ and src/storage/sha1_pair/ only")
        }));
    }
    // The root names everything: it is the map.
    let Some(top) = module.first() else { return found };
    for named in named_paths(source, &module) {
        let complaint = match named.path.first().map(String::as_str) {
            Some("crate" | "bitween") => own_path(top, &module, &named, heights),
            _ if PURE.contains(&top.as_str()) => foreign_path(top, &named),
            _ => None,
        };
        found.extend(complaint.map(|text| format!("{shown}:{}: `{}`: {text}", named.line, named.text())));
    }
    found
}

/// A path into this crate.
fn own_path(top: &str, module: &[String], named: &Named, heights: &Heights) -> Option<String> {
    let target = named.path.get(1)?.as_str();
    if target == top {
        return neighbour_component(module, named);
    }
    if top == "bus" {
        return Some("the bus is generic and knows nothing of the crate".to_owned());
    }
    let Some(there) = heights.get(target) else {
        return Some("name the module it comes from, not the crate's root".to_owned());
    };
    let here = heights.get(top)?;
    let excused = SIDEWAYS.iter().any(|(from, to, _)| *from == top && *to == target);
    match here.cmp(there) {
        std::cmp::Ordering::Greater => None,
        std::cmp::Ordering::Equal if excused => None,
        std::cmp::Ordering::Equal => Some(format!("`{top}` and `{target}` are neighbours in layer {here}")),
        std::cmp::Ordering::Less => Some(format!("`{top}` is layer {here}, `{target}` is layer {there}")),
    }
}

/// One component naming another: they talk over the bus.
fn neighbour_component(module: &[String], named: &Named) -> Option<String> {
    let ["component", own, ..] = module.iter().map(String::as_str).collect::<Vec<_>>()[..] else { return None };
    let [_, "component", other, ..] = named.path.iter().map(String::as_str).collect::<Vec<_>>()[..] else {
        return None;
    };
    let allowed = own == other || COMMON_GROUND.contains(&other) || other.starts_with(char::is_uppercase);
    (!allowed).then(|| format!("components `{own}` and `{other}` talk over the bus only"))
}

/// A path out of this crate, named by a pure module.
fn foreign_path(top: &str, named: &Named) -> Option<String> {
    let path: Vec<&str> = named.path.iter().map(String::as_str).collect();
    let pure = match path[..] {
        ["std", "net", item, ..] => PURE_NET.contains(&item),
        ["std", "sync", item, ..] => PURE_SYNC.contains(&item),
        ["std", "net" | "sync"] => false,
        ["std", part, ..] => !IMPURE_STD.contains(&part),
        [name, ..] => !IMPURE_CRATES.contains(&name),
        [] => true,
    };
    (!pure).then(|| format!("`{top}` is pure: no sockets, files, threads, locks or processes"))
}

/// Complaints about a sample, with the real table of layers.
fn complaints(file: &str, source: &str) -> Vec<String> {
    let heights = heights(&fs::read_to_string(source_root().join("lib.rs")).unwrap());
    check(Path::new(file), source, &heights)
}

#[test]
fn an_arrow_up_is_found_however_it_is_written() {
    for source in [
        "use crate::engine::Torrent;",
        "use crate::{types::Block, engine::{self}, proto::peer};",
        "pub(crate) use crate::engine as decisions;",
        "fn f() { let x = crate::engine::Torrent::new(); }",
        "mod inner { use super::super::super::engine::Torrent; }",
        "use ::bitween::engine::Torrent;",
    ] {
        let found = complaints("proto/peer.rs", source);
        assert_eq!(found.len(), 1, "{source}: {found:?}");
        assert!(found[0].starts_with("src/proto/peer.rs:1: `") && found[0].contains("layer 2"), "{found:?}");
    }
}

#[test]
fn arrows_down_and_within_a_module_are_fine() {
    assert_eq!(
        complaints("engine/torrent/mod.rs", "use crate::proto::peer::Event;\nuse super::swarm::Swarm;"),
        [""; 0]
    );
    assert_eq!(complaints("component/bt/mod.rs", "use crate::reactor::Net;\nuse super::event::{Bus, Event};"), [""; 0]);
    assert_eq!(complaints("storage/mapping/window.rs", "unsafe { work() }"), [""; 0]);
    assert_eq!(complaints("proto/dht.rs", "use std::net::{IpAddr, SocketAddr};\nuse std::sync::Arc;"), [""; 0]);
}

#[test]
fn neighbours_of_one_layer_do_not_name_each_other() {
    assert_eq!(complaints("engine/torrent/mod.rs", "use crate::storage::Window;").len(), 1);
    assert_eq!(complaints("proto/peer/mod.rs", "use crate::bus::Bus;").len(), 1);
    assert_eq!(complaints("bus/bus.rs", "use crate::types::PeerKey;").len(), 1);
    assert_eq!(complaints("component/bt/mod.rs", "use crate::component::xmpp::Session;").len(), 1);
    assert_eq!(complaints("component/rpc/pages.rs", "use super::super::bt::BtThread;").len(), 1);
}

#[test]
fn pure_modules_name_no_sockets_files_threads_or_locks() {
    for path in [
        "mio::Poll",
        "std::net::TcpStream",
        "std::net::{IpAddr, UdpSocket}",
        "std::net::*",
        "std::fs",
        "std::{fmt, thread}",
        "std::sync::Mutex",
        "std::sync::{Arc, RwLock}",
        "std::sync::mpsc::channel",
        "std::process::Command",
        "crossbeam_channel::Sender",
    ] {
        for file in ["proto/tracker/udp.rs", "engine/picker/mod.rs", "share/search.rs"] {
            assert_eq!(complaints(file, &format!("use {path};")).len(), 1, "{file}: {path}");
        }
        assert_eq!(complaints("reactor/mod.rs", &format!("use {path};")), [""; 0]);
    }
    assert_eq!(complaints("engine/swarm.rs", "fn f() { std::thread::sleep(d) }").len(), 1);
}

#[test]
fn unsafe_has_its_homes() {
    let found = complaints("reactor/net.rs", "// unsafe\nlet text = \"unsafe\";\nunsafe { work() }");
    assert_eq!(found, ["src/reactor/net.rs:3: `unsafe` lives in src/storage/mapping/ and src/storage/sha1_pair/ only"]);
}

#[test]
fn comments_and_literals_name_nothing() {
    let source = r####"
        /* use crate::engine::A; /* nested */ use crate::engine::B; */
        //! [`crate::engine::C`]
        const TEXT: &str = "use crate::engine::D;\" use crate::engine::E;";
        const RAW: &str = r#"" use crate::engine::F; "#;
        const QUOTE: char = '"'; fn f<'a>(x: &'a str) -> char { '\'' }
        use crate::engine::G;
    "####;
    let found = complaints("proto/peer/mod.rs", source);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains(":7: `crate::engine::G`"), "{found:?}");
}
