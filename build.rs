//! Two measures for a smaller program, each where it is known to work: what is built here runs here, on a system as new.
//! Everywhere else the program is some 3 % larger, and the same.

use std::path::Path;
use std::process::Command;

/// The first glibc whose loader reads packed relocations.
const GLIBC: (u32, u32) = (2, 36);
/// lld and gold know it; lld is what Rust 1.90 and later bring along.
const FOLD: &str = "-Wl,--icf=all";
/// Where flags for C come from, besides `CFLAGS`: they may take back what that says.
const MORE_FLAGS: [&str; 3] = ["HOST_CFLAGS", "CFLAGS_x86_64_unknown_linux_gnu", "CFLAGS_x86_64-unknown-linux-gnu"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for name in MORE_FLAGS.iter().chain(&["CFLAGS", "RUSTFLAGS"]) {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let native = var("HOST") == var("TARGET") && var("TARGET").ends_with("-linux-gnu");
    if !native || var("PROFILE") != "release" {
        return;
    }
    // `DT_RELR` in place of three words for each address in the program's data.
    if glibc().is_some_and(|version| version >= GLIBC) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    // One copy of functions that are the same to the byte. Nothing in Rust may tell functions apart by their address; C
    // may, and SQLite does: `.cargo/config.toml` has it compiled into one section, which is no function to fold.
    let c_is_whole = var("TARGET") == "x86_64-unknown-linux-gnu"
        && var("CFLAGS").contains("-fno-function-sections")
        && MORE_FLAGS.iter().all(|name| var(name).is_empty());
    if c_is_whole && links_with(FOLD) {
        println!("cargo::rustc-link-arg-bins={FOLD}");
    }
}

fn var(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// Whether an empty program can be linked with this argument, by the linker and with the flags of this build.
fn links_with(argument: &str) -> bool {
    let folder = var("OUT_DIR");
    let source = Path::new(&folder).join("empty.rs");
    if std::fs::write(&source, "fn main() {}\n").is_err() {
        return false;
    }
    let mut rustc = Command::new(var("RUSTC"));
    if !var("RUSTC_LINKER").is_empty() {
        rustc.arg(format!("-Clinker={}", var("RUSTC_LINKER")));
    }
    rustc.args(var("CARGO_ENCODED_RUSTFLAGS").split('\u{1f}').filter(|flag| !flag.is_empty()));
    rustc.arg(format!("-Clink-arg={argument}")).arg("--out-dir").arg(&folder).arg(&source);
    rustc.output().is_ok_and(|output| output.status.success())
}

/// Major and minor version of this system's glibc.
fn glibc() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, rest) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, rest.split('.').next()?.parse().ok()?))
}
