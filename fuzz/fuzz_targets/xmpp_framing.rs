//! See `tests/fuzz_entries/xmpp_framing.rs`.
#![no_main]

#[path = "../../tests/fuzz_entries/xmpp_framing.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let _ = entry::xmpp_framing(input);
});
