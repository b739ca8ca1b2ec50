//! Replays the inputs of the fuzz targets, so that plain `cargo test` finds what a fuzzer found before.
//!
//! A file under `fuzz/corpus/TARGET/` whose name begins with `valid_` has to be accepted, one with `broken_` has to be
//! refused, and none may panic. A new target is a new row in the table.

#![allow(clippy::expect_used, reason = "clippy's exception for tests does not reach helper functions")]

use std::fs;
use std::path::Path;

use bitween::proto::bencode::{Limits, Node, raw};
use bitween::proto::metainfo::Metainfo;

struct Target {
    /// Name of the folder with its inputs.
    name: &'static str,
    /// Whether it takes an input. Panics if something that has to hold does not.
    accepts: fn(&[u8]) -> bool,
}

const TARGETS: &[Target] =
    &[Target { name: "bencode", accepts: bencode }, Target { name: "metainfo", accepts: metainfo }];

fn bencode(input: &[u8]) -> bool {
    let span = raw::value_span(input);
    if let Ok((node, used)) = Node::parse_prefix_with(input, Limits::FILE) {
        assert_eq!(span, Ok(used), "tree and span disagree");
        let canonical = node.encode();
        let again = Node::parse_with(&canonical, Limits::FILE).expect("what was encoded can be read");
        assert_eq!(again.encode(), canonical, "canonical bytes change");
    }
    Node::parse(input).is_ok()
}

fn metainfo(input: &[u8]) -> bool {
    let Ok(metainfo) = Metainfo::parse(input) else { return false };
    let again = Metainfo::parse(&metainfo.to_bytes()).expect("what was written can be read");
    assert_eq!((again.info_hash, &again.info), (metainfo.info_hash, &metainfo.info));
    let from_peers = Metainfo::from_info(metainfo.raw_info().clone(), metainfo.info_hash, Vec::new());
    assert_eq!(from_peers.expect("peers send the same").info, metainfo.info);
    for path in metainfo.info.file_paths() {
        assert!(path.components().all(|part| matches!(part, std::path::Component::Normal(_))), "{path:?}");
    }
    true
}

#[test]
fn every_input_of_the_fuzz_corpus_is_handled() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut wrong = Vec::new();
    for Target { name: target, accepts } in TARGETS {
        let entries: Vec<_> = fs::read_dir(corpus.join(target)).expect(target).map(Result::unwrap).collect();
        assert!(!entries.is_empty(), "no inputs for {target}");
        for entry in entries {
            let name = format!("{target}/{}", entry.file_name().display());
            let input = fs::read(entry.path()).expect(&name);
            // Should it panic, the name of the input stands above the panic.
            println!("{name}");
            let expected = match entry.file_name().to_string_lossy().split_once('_') {
                Some(("valid", _)) => Some(true),
                Some(("broken", _)) => Some(false),
                _ => None,
            };
            let accepted = accepts(&input);
            if expected.is_some_and(|expected| expected != accepted) {
                wrong.push(name);
            }
        }
    }
    assert!(wrong.is_empty(), "wrong answers: {wrong:?}");
}
