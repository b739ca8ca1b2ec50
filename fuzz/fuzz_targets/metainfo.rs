//! See `tests/fuzz_entries/metainfo.rs`.
#![no_main]

#[path = "../../tests/fuzz_entries/metainfo.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let _ = entry::metainfo(input);
});
