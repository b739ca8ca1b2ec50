//! What packages bring beside the program: units, settings, man pages, completions, and the Debian package itself.
#![cfg(all(feature = "cli", feature = "web"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that fails should say where"
)]

mod common;
#[allow(dead_code, reason = "its main is for packagers")]
#[path = "../packaging/generate.rs"]
mod generate;

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bitween::config::{Config, Overrides};
use common::process::Program;
use common::{START_LIMIT, missing, text};

/// Worse than this, and the unit has lost a part of its walls (`systemd-analyze security`, in tenths).
const MOST_EXPOSED: &str = "20";
/// What the maintainer of the machine is told when namespaces cannot be had.
const CANNOT: i32 = 77;

fn packaging(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name)
}

fn has(program: &str) -> bool {
    let there = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).exists()));
    if !there {
        missing(program);
    }
    there
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let said = [&output.stdout[..], &output.stderr[..]].map(|said| String::from_utf8_lossy(said).into_owned()).concat();
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    output
}

/// The values of a key of a unit, all lines together.
fn setting(unit: &str, key: &str) -> Vec<String> {
    let values = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    values.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

#[test]
fn systemd_understands_the_units_and_finds_them_well_walled() {
    if !has("systemd-analyze") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for (name, manager) in [("bitween.service", "--system"), ("bitween-user.service", "--user")] {
        // The program that it names is not installed here, nor is its man page.
        let unit = fs::read_to_string(packaging(name)).unwrap();
        assert!(unit.contains("/usr/bin/bitween ") && unit.contains("man:bitween(1)"));
        let unit =
            unit.replace("/usr/bin/bitween", env!("CARGO_BIN_EXE_bitween")).replace("man:bitween(1)", "man:man(1)");
        let copy = dir.path().join(name);
        fs::write(&copy, unit).unwrap();
        let output = run(Command::new("systemd-analyze")
            .args(["verify", manager, "--man=no", text(&copy)])
            .env("XDG_RUNTIME_DIR", dir.path()));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{name}");
    }
    let unit = packaging("bitween.service");
    let threshold = format!("--threshold={MOST_EXPOSED}");
    run(Command::new("systemd-analyze").args(["security", "--offline=true", "--no-pager", &threshold, text(&unit)]));
}

#[test]
fn the_units_leave_the_daemon_what_it_needs() {
    for name in ["bitween.service", "bitween-user.service"] {
        let unit = fs::read_to_string(packaging(name)).unwrap();
        let families = setting(&unit, "RestrictAddressFamilies");
        for family in ["AF_INET", "AF_INET6", "AF_NETLINK", "AF_UNIX"] {
            assert!(families.iter().any(|allowed| allowed == family), "{name}: {family}");
        }
        assert_eq!(setting(&unit, "Type"), ["notify"], "{name}: systemd 252 knows no notify-reload");
        // Neighbours are met by multicast.
        assert!(setting(&unit, "PrivateNetwork").is_empty() && setting(&unit, "IPAddressDeny").is_empty(), "{name}");
    }
}

#[test]
fn the_settings_of_the_service_are_right_and_hold_no_secret() {
    let file = packaging("config.toml");
    let text = fs::read_to_string(&file).unwrap();
    let config = Config::from_text(&text, Some(&file), &Overrides::default()).unwrap();
    let written: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(!written.join("\n").contains("password"), "everybody may read it");
    // All that is written lies where the unit lets it be written, and where purging finds it.
    let unit = fs::read_to_string(packaging("bitween.service")).unwrap();
    let state = Path::new("/var/lib").join(&setting(&unit, "StateDirectory")[0]);
    assert_eq!(config.data_dir, state.join("data"));
    assert!(config.download_dir.starts_with(&state) && config.api.token_file.unwrap().starts_with(&config.data_dir));
    assert!(fs::read_to_string(packaging("bitween.sysusers")).unwrap().contains(text_of(&state)));
    assert!(fs::read_to_string(packaging("debian/postrm")).unwrap().contains(text_of(&config.data_dir)));
}

fn text_of(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn the_manager_is_told_of_start_life_and_stop() {
    let dir = tempfile::tempdir().unwrap();
    let manager = UnixDatagram::bind(dir.path().join("notify")).unwrap();
    manager.set_read_timeout(Some(START_LIMIT)).unwrap();
    let heard = || {
        let mut news = [0; 512];
        let length = manager.recv(&mut news).unwrap();
        String::from_utf8(news[..length].to_vec()).unwrap()
    };
    let config = dir.path().join("config.toml");
    fs::write(&config, "local = 'off'\n[bittorrent]\nbind = ['127.0.0.1']\n").unwrap();
    let data = dir.path().join("data");
    let mut command = common::bitween::command(dir.path());
    command.args(["daemon", "--port", "0", "--config", text(&config), "--data-dir", text(&data)]);
    command.env("NOTIFY_SOCKET", dir.path().join("notify")).env("WATCHDOG_USEC", "1000000");
    let mut daemon = Program::start("daemon", command, dir.path());
    let ready = heard();
    assert!(ready.starts_with("READY=1\nSTATUS=API http://127.0.0.1:"), "{ready}");
    for _ in 0..3 {
        assert_eq!(heard(), "WATCHDOG=1");
    }
    daemon.signal("TERM");
    let last = std::iter::repeat_with(heard).find(|news| news != "WATCHDOG=1").unwrap();
    assert_eq!(last, "STOPPING=1\nSTATUS=stopping");
    assert!(daemon.wait(START_LIMIT).success());
}

#[test]
fn man_pages_and_completions_come_from_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    generate::generate(dir.path()).unwrap();
    let pages: Vec<PathBuf> = fs::read_dir(dir.path().join("man")).unwrap().map(|page| page.unwrap().path()).collect();
    let names: Vec<&str> = pages.iter().map(|page| page.file_name().unwrap().to_str().unwrap()).collect();
    for command in bitween::cli::command().get_subcommands() {
        let name = format!("bitween-{}.1", command.get_name());
        assert!(names.contains(&name.as_str()), "{name}");
    }
    if has("man") {
        for page in &pages {
            let output = run(Command::new("man").args(["--warnings", "-l", text(page)]).env("MANWIDTH", "100"));
            assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{}", page.display());
        }
    }
    for (shell, file) in [("bash", "bitween.bash"), ("zsh", "_bitween"), ("fish", "bitween.fish")] {
        let file = dir.path().join("completions").join(file);
        assert!(fs::read_to_string(&file).unwrap().contains("download"), "{shell}");
        if has(shell) {
            run(Command::new(shell).args(["-n", text(&file)]));
        }
    }
}

#[test]
fn the_debian_package_can_be_installed_used_upgraded_removed_and_purged() {
    if !has("cargo-deb") || !has("dpkg") || !has("unshare") {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        return eprintln!("SKIPPED: only root can try a package");
    }
    let dir = tempfile::tempdir().unwrap();
    generate::generate(&packaging("generated")).unwrap();
    let bin = Path::new(env!("CARGO_BIN_EXE_bitween")).parent().unwrap();
    let profile = match bin.file_name().unwrap().to_str().unwrap() {
        "debug" => "dev",
        other => other,
    };
    let packages = ["1", "2"].map(|revision| {
        let package = dir.path().join(format!("{revision}.deb"));
        run(Command::new(env!("CARGO"))
            .args(["deb", "--locked", "--no-build", "--fast", "--quiet", "--profile", profile])
            .args(["--deb-revision", revision, "--output", text(&package)])
            .env("CARGO_TARGET_DIR", bin.parent().unwrap())
            .current_dir(env!("CARGO_MANIFEST_DIR")));
        package
    });
    let output = Command::new("bash").arg(packaging("try-deb")).args(&packages).output().unwrap();
    if output.status.code() == Some(CANNOT) {
        return eprintln!("SKIPPED: no namespaces or overlays here");
    }
    let said = [&output.stdout[..], &output.stderr[..]].map(|said| String::from_utf8_lossy(said).into_owned()).concat();
    assert!(output.status.success() && said.contains("upgraded, removed, purged"), "{said}");
}
