//! What may come into the dependency tree: no async runtime, no second TLS library, accepted licences only.
//!
//! The lists are those of `deny.toml`, so that `cargo deny check` and this test cannot disagree; this test needs nothing
//! but cargo. It looks at what is compiled into a program (normal and build dependencies), for every feature alone.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and clippy's exception for tests does not reach helper functions"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

#[test]
fn no_banned_crate_comes_in_with_any_feature() {
    let banned = banned();
    for features in feature_sets() {
        let tree = crates_with(&features);
        let found: Vec<_> = tree.intersection(&banned).collect();
        assert!(found.is_empty(), "cargo tree {}: {found:?} (deny.toml says why not)", features.join(" "));
    }
}

#[test]
fn every_licence_in_the_tree_is_accepted() {
    let accepted = accepted_licences();
    let tree = crates_with(&["--all-features".to_owned()]);
    let mut looked_at = 0;
    for package in packages() {
        let name = package["name"].as_str().unwrap();
        let licence = package["license"].as_str().unwrap_or("none given");
        if tree.contains(name) {
            looked_at += 1;
            assert!(satisfied(licence, &accepted), "{name} is under {licence}, which deny.toml does not accept");
        }
    }
    assert!(looked_at > 50, "only {looked_at} crates found");
}

#[test]
fn the_notice_names_every_crate_under_the_mozilla_licence() {
    let notice = read("NOTICE");
    let tree = crates_with(&["--all-features".to_owned()]);
    for package in packages() {
        let name = package["name"].as_str().unwrap();
        if tree.contains(name) && package["license"].as_str() == Some("MPL-2.0") {
            assert!(notice.lines().any(|line| line.trim() == name), "NOTICE does not name {name}");
        }
    }
}

#[test]
fn a_library_without_features_brings_no_xmpp_and_no_command_line() {
    let tree = crates_with(&["--no-default-features".to_owned()]);
    for name in ["xmpp-parsers", "quick-xml", "clap", "toml"] {
        assert!(!tree.contains(name), "{name} belongs to a feature");
    }
    assert!(tree.contains("mio"), "{tree:?}");
}

#[test]
fn licence_expressions_are_understood() {
    let accepted: BTreeSet<String> = ["MIT", "ISC"].map(str::to_owned).into();
    for good in ["MIT", "MIT OR GPL-3.0", "Unlicense/MIT", "MIT AND ISC", "(GPL-2.0 OR MIT) AND ISC", "MIT AND (ISC)"] {
        assert!(satisfied(good, &accepted), "{good}");
    }
    for bad in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND GPL-2.0", "MIT WITH some-exception", "", "none given"] {
        assert!(!satisfied(bad, &accepted), "{bad}");
    }
}

/// The arguments that choose features: none, all, the default, and each one alone.
fn feature_sets() -> Vec<Vec<String>> {
    let alone = "--no-default-features".to_owned();
    let mut sets = vec![vec![], vec![alone.clone()], vec!["--all-features".to_owned()]];
    let packages = packages();
    let own = packages.iter().find(|package| package["name"] == env!("CARGO_PKG_NAME")).unwrap();
    let features = own["features"].as_object().unwrap().keys();
    sets.extend(features.map(|feature| vec![alone.clone(), "--features".to_owned(), feature.clone()]));
    assert!(sets.len() > 5, "{sets:?}");
    sets
}

/// Names of all crates that a program on any platform would contain or run while it is built.
fn crates_with(features: &[String]) -> BTreeSet<String> {
    let fixed = ["tree", "--edges", "normal,build", "--prefix", "none", "--target", "all", "--format", "{p}"];
    let output = cargo(fixed.into_iter().chain(features.iter().map(String::as_str)));
    let names: BTreeSet<String> =
        output.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    assert!(names.contains("thiserror"), "cargo tree was not understood:\n{output}");
    names
}

fn packages() -> Vec<Value> {
    let mut metadata: Value = serde_json::from_str(&cargo(["metadata", "--format-version", "1"])).unwrap();
    match metadata["packages"].take() {
        Value::Array(packages) => packages,
        other => panic!("cargo metadata has no packages but {other}"),
    }
}

fn cargo<'a>(arguments: impl IntoIterator<Item = &'a str>) -> String {
    let output = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(arguments)
        .arg("--locked")
        .output()
        .expect("cargo cannot be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// `deny = [{ crate = "name" }, ...]` of `deny.toml`.
fn banned() -> BTreeSet<String> {
    let text = read("deny.toml");
    let names = text.lines().filter_map(|line| line.trim().strip_prefix("{ crate = ")).filter_map(quoted);
    let names: BTreeSet<String> = names.collect();
    assert!(names.contains("tokio") && names.contains("async-std"), "{names:?}");
    names
}

/// `allow = ["licence", ...]` of `deny.toml`.
fn accepted_licences() -> BTreeSet<String> {
    let text = read("deny.toml");
    let lines = text.lines().skip_while(|line| !line.starts_with("allow = [")).skip(1);
    let licences: BTreeSet<String> = lines.take_while(|line| !line.starts_with(']')).filter_map(quoted).collect();
    assert!(licences.contains("MIT"), "{licences:?}");
    licences
}

/// The first text in double quotes.
fn quoted(line: &str) -> Option<String> {
    line.split('"').nth(1).map(str::to_owned)
}

/// Whether an SPDX expression (or the older `A/B`) can be satisfied with the accepted licences.
fn satisfied(expression: &str, accepted: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    any_of(&mut rest, accepted) && rest.is_empty()
}

fn any_of(rest: &mut &[&str], accepted: &BTreeSet<String>) -> bool {
    let mut satisfied = all_of(rest, accepted);
    while let ["OR", after @ ..] = rest {
        *rest = after;
        satisfied |= all_of(rest, accepted);
    }
    satisfied
}

fn all_of(rest: &mut &[&str], accepted: &BTreeSet<String>) -> bool {
    let mut satisfied = one(rest, accepted);
    while let ["AND", after @ ..] = rest {
        *rest = after;
        satisfied &= one(rest, accepted);
    }
    satisfied
}

fn one(rest: &mut &[&str], accepted: &BTreeSet<String>) -> bool {
    match *rest {
        ["(", after @ ..] => {
            *rest = after;
            let inner = any_of(rest, accepted);
            if let [")", after @ ..] = rest {
                *rest = after;
            }
            inner
        }
        [licence, "WITH", exception, after @ ..] => {
            *rest = after;
            accepted.contains(&format!("{licence} WITH {exception}"))
        }
        [licence, after @ ..] => {
            *rest = after;
            accepted.contains(*licence)
        }
        [] => false,
    }
}
