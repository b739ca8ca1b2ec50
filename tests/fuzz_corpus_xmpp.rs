//! Replays the seeds and found crashes of the fuzz target `xmpp_framing` in every test run.
//!
//! The property is the fuzz target's: no panic, bounded work, and the same frames however the input is cut.

#![cfg(feature = "xmpp")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

#[path = "fuzz_entries/xmpp_framing.rs"]
mod xmpp_framing;

#[test]
fn the_corpus_reads_the_same_however_it_is_cut() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/xmpp_framing");
    let mut replayed = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // Should it panic, the name of the input stands above the panic.
        println!("{}", path.display());
        xmpp_framing::xmpp_framing(&std::fs::read(&path).unwrap());
        replayed += 1;
    }
    assert!(replayed >= 10, "the corpus is missing");
}
