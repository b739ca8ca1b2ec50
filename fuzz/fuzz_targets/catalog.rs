//! See `tests/fuzz_entries/catalog.rs`.
#![no_main]

#[path = "../../tests/fuzz_entries/catalog.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let _ = entry::catalog(input);
});
