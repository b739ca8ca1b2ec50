//! See `tests/fuzz_entries/http_request.rs`.
#![no_main]

#[path = "../../tests/fuzz_entries/http_request.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let _ = entry::http_request(input);
});
