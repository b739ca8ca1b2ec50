//! See `tests/fuzz_entries/bencode.rs`.
#![no_main]

#[path = "../../tests/fuzz_entries/bencode.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let _ = entry::bencode(input);
});
