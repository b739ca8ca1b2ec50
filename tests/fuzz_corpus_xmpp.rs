//! Replays the seeds and found crashes of the fuzz target `xmpp_framing` in every test run.
//!
//! The property is the fuzz target's: no panic, bounded work, and the same frames however the input is cut.

#![cfg(feature = "xmpp")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::Path;

use bitween::proto::xmpp::framing::{Frame, Framer, FramingError, Limits};

fn frames(input: &[u8], step: usize) -> (Vec<Frame>, Option<FramingError>) {
    let mut framer = Framer::new(Limits::default());
    let mut found = Vec::new();
    for part in input.chunks(step) {
        framer.push(part);
        loop {
            match framer.next_frame() {
                Ok(Some(frame)) => found.push(frame),
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

#[test]
fn the_corpus_reads_the_same_however_it_is_cut() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/xmpp_framing");
    let mut replayed = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let input = std::fs::read(&path).unwrap();
        let whole = frames(&input, input.len().max(1));
        for step in [1, 2, 5, 64] {
            assert_eq!(frames(&input, step), whole, "{} in pieces of {step}", path.display());
        }
        replayed += 1;
    }
    assert!(replayed >= 10, "the corpus is missing");
}
