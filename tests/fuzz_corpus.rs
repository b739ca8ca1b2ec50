//! Replays the inputs of the fuzz targets, so that plain `cargo test` finds what a fuzzer found before.
//!
//! A file under `fuzz/corpus/TARGET/` whose name begins with `valid_` has to be accepted, one with `broken_` has to be
//! refused, and none may panic. A new target is a new row in the table, a file in `tests/fuzz_entries` with what has to
//! hold, and one in `fuzz/fuzz_targets` that calls it.

#![allow(clippy::expect_used, reason = "clippy's exception for tests does not reach helper functions")]

use std::fs;
use std::path::Path;

#[path = "fuzz_entries/bencode.rs"]
mod bencode;
#[path = "fuzz_entries/catalog.rs"]
mod catalog;
#[cfg(feature = "web")]
#[path = "fuzz_entries/http_request.rs"]
mod http_request;
#[path = "fuzz_entries/metainfo.rs"]
mod metainfo;
#[path = "fuzz_entries/tracker_reply.rs"]
mod tracker_reply;

struct Target {
    /// Name of the folder with its inputs.
    name: &'static str,
    /// Whether it takes an input. Panics if something that has to hold does not.
    accepts: fn(&[u8]) -> bool,
}

const TARGETS: &[Target] = &[
    Target { name: "bencode", accepts: bencode::bencode },
    Target { name: "catalog", accepts: catalog::catalog },
    #[cfg(feature = "web")]
    Target { name: "http_request", accepts: http_request::http_request },
    Target { name: "metainfo", accepts: metainfo::metainfo },
    Target { name: "tracker_reply", accepts: tracker_reply::tracker_reply },
];

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
