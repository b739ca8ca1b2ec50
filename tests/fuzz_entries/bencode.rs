//! What holds for every input of the bencode parser.
#![allow(clippy::expect_used, reason = "a broken promise ends the run")]

use bitween::proto::bencode::{Limits, Node, raw};

/// Whether it is one whole value.
pub fn bencode(input: &[u8]) -> bool {
    let span = raw::value_span(input);
    if let Ok((node, used)) = Node::parse_prefix_with(input, Limits::FILE) {
        assert_eq!(span, Ok(used), "tree and span disagree");
        let canonical = node.encode();
        let again = Node::parse_with(&canonical, Limits::FILE).expect("what was encoded can be read");
        assert_eq!(again.encode(), canonical, "canonical bytes change");
    }
    Node::parse(input).is_ok()
}
