//! What users and machines get wrong, as far as the commands without a daemon are concerned: one clear line each, a
//! non-zero exit code, and nothing lost.
#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    clippy::too_many_lines,
    reason = "a test that fails should say where"
)]

mod common;

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output};

use common::bitween::{Bitween, command, download_folder};
use common::data::{Sample, write_file};
use common::node::Node;
use common::process::Program;
use common::{START_LIMIT, TRANSFER_LIMIT, text};

/// Fails unless the program said one line that contains all of `parts`, and ended with 1. Progress may be said besides.
fn assert_one_line(code: Option<i32>, stderr: &str, parts: &[&str]) {
    let (errors, others): (Vec<&str>, Vec<&str>) = stderr.lines().partition(|line| line.starts_with("bitween: "));
    assert_eq!(errors.len(), 1, "not one line: {stderr}");
    assert!(others.iter().all(|line| line.contains('%')), "neither progress nor the error: {stderr}");
    for part in parts {
        assert!(errors[0].contains(part), "{part:?} is not in {:?}", errors[0]);
    }
    assert_eq!(code, Some(1), "{stderr}");
}

fn refused(output: &Output, parts: &[&str]) {
    assert_one_line(output.status.code(), &String::from_utf8_lossy(&output.stderr), parts);
}

/// A user with a home folder, and something to download.
struct Scene {
    home: tempfile::TempDir,
    sample: Sample,
}

impl Scene {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap(), sample: Sample::named("sample", 16 << 20).in_pieces_of(256 * 1024) }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        command(self.home.path()).args(arguments).output().unwrap()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.home.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        text(&path).to_owned()
    }

    fn torrent(&self) -> &str {
        text(&self.sample.torrent)
    }

    fn data(&self) -> &str {
        text(&self.sample.dir)
    }
}

#[test]
fn a_broken_torrent_file() {
    let scene = Scene::new();
    let whole = fs::read(&scene.sample.torrent).unwrap();
    let broken = [
        ("empty", Vec::new()),
        ("cut", whole[..whole.len() / 2].to_vec()),
        ("text", b"this is no torrent".to_vec()),
        ("other", b"d3:foo3:bare".to_vec()),
        ("lies", String::from_utf8_lossy(&whole).replace("6:lengthi16777216e", "6:lengthi-5e").into_bytes()),
    ];
    for (name, content) in broken {
        let file = scene.write(&format!("{name}.torrent"), content);
        refused(&scene.run(&["download", &file]), &[&file]);
        refused(&scene.run(&["seed", &file, "--dir", scene.data()]), &[&file]);
        refused(&scene.run(&["info", &file]), &[&file]);
        refused(&scene.run(&["verify", &file, "--dir", scene.data()]), &[&file]);
    }
}

#[test]
fn a_wrong_link() {
    let scene = Scene::new();
    for link in ["magnet:", "magnet:?dn=x", "magnet:?xt=urn:btih:123", "magnet:?xt=urn:sha1:ABC"] {
        refused(&scene.run(&["download", link]), &["magnet link"]);
        refused(&scene.run(&["info", link]), &["magnet link"]);
    }
    refused(&scene.run(&["seed", &scene.sample.magnet(), "--dir", scene.data()]), &["torrent file"]);
}

#[test]
fn something_that_is_missing() {
    let scene = Scene::new();
    refused(&scene.run(&["download", "nowhere.torrent"]), &["nowhere.torrent"]);
    refused(&scene.run(&["seed", "nowhere.torrent", "--dir", scene.data()]), &["nowhere.torrent"]);
    refused(&scene.run(&["info", "nowhere.torrent"]), &["nowhere.torrent"]);
    refused(&scene.run(&["verify", "nowhere.torrent", "--dir", scene.data()]), &["nowhere.torrent"]);
    refused(&scene.run(&["create", "nowhere"]), &["nowhere"]);
    refused(&scene.run(&["seed", scene.torrent(), "--dir", "nowhere"]), &["nowhere", "missing"]);
    refused(&scene.run(&["verify", scene.torrent(), "--dir", "nowhere"]), &["nowhere"]);
    fs::create_dir(scene.home.path().join("empty")).unwrap();
    refused(&scene.run(&["seed", scene.torrent(), "--dir", "empty"]), &["sample", "missing"]);
    refused(&scene.run(&["create", "empty"]), &["empty"]);
    assert_eq!(fs::read_dir(scene.home.path().join("empty")).unwrap().count(), 0, "seeding makes nothing");
}

#[test]
fn files_that_do_not_match() {
    let scene = Scene::new();
    let mut bytes = fs::read(&scene.sample.path).unwrap();
    bytes[5_000_000] ^= 1;
    scene.write("damaged/sample", &bytes);
    refused(&scene.run(&["seed", scene.torrent(), "--dir", "damaged"]), &["of 16777216 bytes", "verify"]);
    let output = scene.run(&["verify", scene.torrent(), "--dir", "damaged"]);
    refused(&output, &["do not match"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("damaged"));
    assert_eq!(fs::read(scene.home.path().join("damaged/sample")).unwrap(), bytes);
}

#[test]
fn something_in_the_way() {
    let scene = Scene::new();
    let file = scene.write("file", "mine");
    refused(&scene.run(&["download", scene.torrent(), "--dir", &file]), &["file"]);
    assert_eq!(fs::read(&file).unwrap(), b"mine");
    // A link at the place of a file could lead anywhere.
    fs::create_dir(scene.home.path().join("links")).unwrap();
    std::os::unix::fs::symlink(&file, scene.home.path().join("links/sample")).unwrap();
    refused(&scene.run(&["download", scene.torrent(), "--dir", "links"]), &["links/sample"]);
    assert_eq!(fs::read(&file).unwrap(), b"mine");
}

#[test]
fn somebody_elses_file_of_the_same_name() {
    let scene = Scene::new();
    let refusal = ["dir/sample", "exists already", "choose another folder"];
    for content in [b"precious".to_vec(), vec![b'x'; 16 << 20], vec![b'x'; 17 << 20]] {
        let file = scene.write("dir/sample", &content);
        for _ in 0..2 {
            refused(&scene.run(&["download", scene.torrent(), "--dir", "dir"]), &refusal);
            assert!(fs::read(&file).unwrap() == content);
        }
    }
    fs::remove_file(scene.home.path().join("dir/sample")).unwrap();
    fs::create_dir(scene.home.path().join("dir/sample")).unwrap();
    let folder = ["dir/sample is a folder", "move it away"];
    refused(&scene.run(&["download", scene.torrent(), "--dir", "dir"]), &folder);
    refused(&scene.run(&["seed", scene.torrent(), "--dir", "dir"]), &folder);
}

#[test]
fn a_port_that_is_taken() {
    let scene = Scene::new();
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    refused(&scene.run(&["download", scene.torrent(), "--port", &port]), &[&port, "another"]);
    refused(&scene.run(&["seed", scene.torrent(), "--dir", scene.data(), "--port", &port]), &[&port, "another"]);
}

#[test]
fn damaged_resume_data() {
    let scene = Scene::new();
    let state = scene.write(".local/share/bitween/resume.sqlite", "no database, but long enough to be taken for one");
    refused(&scene.run(&["download", scene.torrent()]), &["resume.sqlite", "move"]);
    refused(&scene.run(&["seed", scene.torrent(), "--dir", scene.data()]), &["resume.sqlite", "move"]);
    assert!(fs::read(&state).unwrap().starts_with(b"no database"), "it is left for whoever can mend it");
    scene.write(".local/share/bitween/resume.sqlite", "");
    refused(&scene.run(&["download", scene.torrent()]), &["the resume data in", "empty", "move"]);
}

/// Runs `bitween` as somebody who may not do everything. `None` where that is impossible.
fn as_nobody(home: &Path, arguments: &[&str]) -> Option<Output> {
    let bitween = command(home);
    let root = fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
    let mut lowered = if root {
        let mut lowered = Command::new("setpriv");
        lowered.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(bitween.get_program());
        lowered
    } else {
        Command::new(bitween.get_program())
    };
    lowered.env("HOME", home).current_dir(home);
    let works = Command::new(lowered.get_program()).args(lowered.get_args()).arg("--version").output();
    if !works.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: cannot run as another user");
        return None;
    }
    Some(lowered.args(arguments).output().unwrap())
}

#[test]
fn no_permission() {
    let scene = Scene::new();
    let home = scene.home.path();
    let everybody = |path: &Path| fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
    everybody(home);
    everybody(scene.sample.dir.parent().unwrap());
    everybody(&scene.sample.dir);
    let closed = home.join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o555)).unwrap();
    fs::create_dir(home.join("mixed")).unwrap();
    write_file(&home.join("mixed/secret"), 1000, 1);
    fs::set_permissions(home.join("mixed/secret"), Permissions::from_mode(0o000)).unwrap();

    let Some(output) = as_nobody(home, &["download", scene.torrent(), "--dir", "closed"]) else { return };
    refused(&output, &["no permission", "closed"]);
    refused(&as_nobody(home, &["create", "mixed"]).unwrap(), &["secret"]);
    fs::set_permissions(&scene.sample.path, Permissions::from_mode(0o000)).unwrap();
    refused(&as_nobody(home, &["seed", scene.torrent(), "--dir", scene.data()]).unwrap(), &["no permission", "sample"]);
    fs::set_permissions(&scene.sample.torrent, Permissions::from_mode(0o000)).unwrap();
    refused(&as_nobody(home, &["info", scene.torrent()]).unwrap(), &["sample.torrent"]);
}

#[test]
fn a_full_disk_and_then_room_again() {
    let scene = Scene::new();
    let seeder = Node::start();
    seeder.seed(&scene.sample.metainfo, &scene.sample.dir);
    let disk = scene.home.path().join("disk");
    fs::create_dir(&disk).unwrap();
    // In a namespace of its own, so that everybody may mount and nobody has to unmount.
    const SCRIPT: &str = r#"
        mount -t tmpfs -o size=24m none disk || exit 77
        head -c 12M /dev/zero > disk/filler
        "$@"; echo "first ended with $?"
        ls disk
        rm disk/filler
        "$@"; echo "second ended with $?"
        cmp disk/sample "$DATA/sample" && echo same"#;
    let bitween = command(scene.home.path());
    let mut script = Command::new("unshare");
    script.args(["--user", "--map-root-user", "--mount", "sh", "-c", SCRIPT, "sh"]).arg(bitween.get_program());
    script.args(["download", scene.torrent(), "--dir", "disk", "--peer", &seeder.address().to_string()]);
    script.env("HOME", scene.home.path()).env("DATA", scene.data()).current_dir(scene.home.path());
    let output = script.output();
    let Ok(output) = output.inspect_err(|error| println!("SKIPPED: cannot run unshare: {error}")) else { return };
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.code() == Some(77) || err.starts_with("unshare:") {
        println!("SKIPPED: may not mount a tmpfs: {err}");
        return;
    }
    assert!(out.contains("first ended with 1\nfiller\n"), "nothing was made: {out}{err}");
    assert!(out.contains("second ended with 0\nsame"), "{out}{err}");
    assert_one_line(Some(1), &err, &["disk full", "disk/sample", "more bytes"]);
}

#[test]
fn a_file_cut_short_while_it_is_seeded() {
    let scene = Scene::new();
    let mut seeder = Bitween::seed(&scene.sample.torrent, &scene.sample.dir, &[]);
    let (_folder, into) = download_folder();
    let from = seeder.address().to_string();
    let peer = ["--peer", from.as_str()];
    Bitween::download(scene.torrent(), &into, &peer).succeed(TRANSFER_LIMIT);
    fs::File::options().write(true).open(&scene.sample.path).unwrap().set_len(50_000).unwrap();
    let (_folder, into) = download_folder();
    let _leecher = Bitween::download(scene.torrent(), &into, &peer);
    let status = seeder.wait(START_LIMIT);
    assert_one_line(status.code(), &seeder.program().stderr(), &["sample", "short"]);
}

#[test]
fn a_file_cut_short_while_it_is_downloaded() {
    let scene = Scene::new();
    let mut leecher = command(scene.home.path());
    leecher.args(["download", scene.torrent(), "--dir", "into"]);
    let mut leecher = Program::start("bitween", leecher, scene.home.path());
    let port: u16 = leecher.wait_for_line("listening on port ", START_LIMIT).parse().unwrap();
    let file = scene.home.path().join("into/sample");
    common::wait_for("space to be reserved", START_LIMIT, || fs::metadata(&file).ok().filter(|m| m.len() > 0));
    fs::File::options().write(true).open(&file).unwrap().set_len(0).unwrap();
    let seeder = Node::start();
    let info_hash = seeder.seed(&scene.sample.metainfo, &scene.sample.dir);
    seeder.engine.add_peers(info_hash, &[common::loopback(port)]);
    let status = leecher.wait(START_LIMIT);
    assert_one_line(status.code(), &leecher.stderr(), &["sample", "short"]);
}
