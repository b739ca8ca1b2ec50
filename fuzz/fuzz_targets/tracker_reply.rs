//! See `tests/fuzz_entries/tracker_reply.rs`.
#![no_main]

#[path = "../../tests/fuzz_entries/tracker_reply.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let _ = entry::tracker_reply(input);
});
