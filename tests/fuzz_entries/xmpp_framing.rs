//! What holds for every byte stream of an XMPP server: bounded work, and the same frames however the input is cut.

use bitween::proto::xmpp::framing::{Frame, Framer, FramingError, Limits};

/// The frames of an input that comes in parts of the same size. Panics if another size gives others.
pub fn xmpp_framing(input: &[u8]) -> Vec<Frame> {
    let whole = frames(input, input.len().max(1));
    for step in [1, 2, 5, 64] {
        assert_eq!(frames(input, step), whole, "in pieces of {step}");
    }
    whole.0
}

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
