//! Replays the fuzz corpus of the peer session (`fuzz/corpus/peer_session`) in every plain `cargo test`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::path::PathBuf;

#[path = "fuzz_entries/peer_session.rs"]
mod peer_session;

use peer_session::peer_session;

/// The corpus, by file name.
fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/peer_session");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|path| (path.file_name().unwrap().display().to_string(), fs::read(path).unwrap())).collect()
}

#[test]
fn the_corpus_ends_as_its_file_names_say() {
    let corpus = corpus();
    assert!(corpus.len() >= 20, "{} files", corpus.len());
    for (name, data) in corpus {
        let (messages, end) = peer_session(&data);
        match name.split('-').next() {
            Some("good") => assert!(end.is_ok() && messages > 1, "{name}: {messages} messages, {end:?}"),
            Some("bad") => assert!(end.is_err(), "{name}: {messages} messages"),
            _ => {}
        }
    }
}

#[test]
fn the_corpus_ends_alike_in_parts_of_any_size() {
    for (name, data) in corpus() {
        let Some((first, rest)) = data.split_first() else { continue };
        let ends: Vec<_> = (0..8_u8).map(|part| peer_session(&[&[first & 0x1f | part << 5], rest].concat())).collect();
        assert!(ends.iter().all(|end| *end == ends[0]), "{name}: {ends:?}");
    }
}

#[test]
fn every_cut_and_every_flipped_bit_of_the_corpus_is_survived() {
    let mut understood = 0;
    for (_, data) in corpus().iter().filter(|(_, data)| data.len() <= 512) {
        for at in 0..data.len() {
            understood += peer_session(&data[..at]).0;
            for bit in 0..8 {
                let mut flipped = data.clone();
                flipped[at] ^= 1 << bit;
                understood += peer_session(&flipped).0;
            }
        }
    }
    assert!(understood > 0);
}
