//! Two measures for a smaller program, each where it is known to work: what is built here runs here, on a system as new.
//! Everywhere else the program is some 3 % larger, and the same.

use std::process::Command;

/// The first glibc whose loader reads packed relocations.
const GLIBC: (u32, u32) = (2, 36);
/// The first Rust that links with lld here, unless told otherwise.
const RUST_WITH_LLD: u32 = 90;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for name in ["CFLAGS", "RUSTFLAGS"] {
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
    if links_with_lld() && var("CFLAGS").contains("-fno-function-sections") {
        println!("cargo::rustc-link-arg-bins=-Wl,--icf=all");
    }
}

fn var(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// Whether nobody chose another linker than the one that Rust brings.
fn links_with_lld() -> bool {
    let chosen =
        ["linker", "link-self-contained", "fuse-ld"].iter().any(|word| var("CARGO_ENCODED_RUSTFLAGS").contains(word))
            || !var("RUSTC_LINKER").is_empty();
    !chosen && var("TARGET") == "x86_64-unknown-linux-gnu" && rust().is_some_and(|minor| minor >= RUST_WITH_LLD)
}

/// The minor version of this Rust: 90 of 1.90.0.
fn rust() -> Option<u32> {
    let output = Command::new(var("RUSTC")).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace().nth(1)?.split('.').nth(1)?.parse().ok()
}

/// Major and minor version of this system's glibc.
fn glibc() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, rest) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, rest.split('.').next()?.parse().ok()?))
}
