//! See `tests/fuzz_entries/peer_session.rs`.
#![no_main]

#[path = "../../tests/fuzz_entries/peer_session.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let _ = entry::peer_session(input);
});
