//! Canonical bencode (BEP 3) from a [`Node`], through `bendy`.

use bendy::encoding::{Encoder, Error, SingleItemEncoder, ToBencode};

use super::Node;
use crate::types::sort_by;

impl<'a> Node<'a> {
    /// A dictionary. The order does not matter: encoding sorts the keys.
    #[must_use]
    pub fn dict<const N: usize>(entries: [(&'a str, Self); N]) -> Self {
        Self::Dict(entries.into_iter().map(|(key, value)| (key.as_bytes(), value)).collect())
    }

    /// The canonical bytes: keys sorted; of equal keys the first one stays.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::new().with_max_depth(usize::MAX);
        let encoded = encoder.emit_with(|item| ToBencode::encode(self, item)).and_then(|()| encoder.get_output());
        debug_assert!(encoded.is_ok(), "{encoded:?}");
        // bendy fails on excessive depth, on unsorted or repeated keys and on an unbalanced structure. The depth is
        // unlimited, keys are sorted and made unique below, and the structure is a tree.
        encoded.unwrap_or_default()
    }
}

impl ToBencode for Node<'_> {
    const MAX_DEPTH: usize = super::raw::MAX_DEPTH;

    fn encode(&self, encoder: SingleItemEncoder<'_>) -> Result<(), Error> {
        match self {
            Node::Int(value) => encoder.emit_int(*value),
            Node::Bytes(bytes) => encoder.emit_bytes(bytes),
            Node::List(items) => encoder.emit_list(|list| items.iter().try_for_each(|item| list.emit(item))),
            Node::Dict(entries) => {
                let mut sorted: Vec<_> = entries.iter().collect();
                sort_by(&mut sorted, |(a, _), (b, _)| a.cmp(b));
                sorted.dedup_by_key(|(key, _)| *key);
                encoder.emit_dict(|mut dict| sorted.iter().try_for_each(|(key, value)| dict.emit_pair(key, value)))
            }
        }
    }
}

impl From<i64> for Node<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u32> for Node<'_> {
    fn from(value: u32) -> Self {
        Self::Int(value.into())
    }
}

impl<'a> From<&'a [u8]> for Node<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a> From<&'a str> for Node<'a> {
    fn from(text: &'a str) -> Self {
        Self::Bytes(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use bendy::decoding::Decoder;
    use proptest::prelude::*;

    use super::*;
    use crate::proto::bencode::{Limits, raw};

    #[test]
    fn dictionaries_come_out_sorted_and_without_repeats() {
        let node =
            Node::dict([("v", "bitween".into()), ("m", Node::dict([])), ("v", 1_u32.into()), ("p", 5_i64.into())]);
        assert_eq!(node.encode(), b"d1:mde1:pi5e1:v7:bitweene");
        assert_eq!(Node::List(vec![(-3_i64).into(), (&b"\xff"[..]).into()]).encode(), b"li-3e1:\xffe");
    }

    /// A tree that owns its strings, since proptest cannot make borrowed ones.
    #[derive(Clone, Debug)]
    enum Owned {
        Int(i64),
        Bytes(Vec<u8>),
        List(Vec<Owned>),
        Dict(std::collections::BTreeMap<Vec<u8>, Owned>),
    }

    impl Owned {
        fn node(&self) -> Node<'_> {
            match self {
                Self::Int(value) => Node::Int(*value),
                Self::Bytes(bytes) => Node::Bytes(bytes),
                Self::List(items) => Node::List(items.iter().map(Self::node).collect()),
                Self::Dict(map) => Node::Dict(map.iter().map(|(key, value)| (&key[..], value.node())).collect()),
            }
        }
    }

    fn tree() -> impl Strategy<Value = Owned> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..12);
        let leaf = prop_oneof![any::<i64>().prop_map(Owned::Int), bytes().prop_map(Owned::Bytes)];
        leaf.prop_recursive(5, 60, 6, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Owned::List),
                proptest::collection::btree_map(bytes(), inner, 0..6).prop_map(Owned::Dict),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded_again(tree in tree(), tail in proptest::collection::vec(any::<u8>(), 0..4)) {
            let node = tree.node();
            let mut bytes = node.encode();
            prop_assert_eq!(Node::parse(&bytes), Ok(node.clone()));
            let len = bytes.len();
            for cut in 0..len {
                prop_assert!(Node::parse(&bytes[..cut]).is_err());
            }
            bytes.extend(tail);
            prop_assert_eq!(raw::value_span(&bytes), Ok(len));
            prop_assert_eq!(Node::parse_prefix(&bytes), Ok((node, len)));
        }

        #[test]
        fn tree_and_spans_agree_on_any_input(input in proptest::collection::vec(
            prop_oneof![Just(b'd'), Just(b'l'), Just(b'e'), Just(b'i'), Just(b'1'), Just(b'0'), Just(b':'), Just(b'-')], 0..24
        )) {
            let spans = raw::value_span(&input);
            prop_assert_eq!(&Node::parse_prefix_with(&input, Limits::FILE).map(|(_, used)| used), &spans);
            // Whatever bendy accepts, we accept, and to the same end.
            let mut strict = Decoder::new(&input).with_max_depth(raw::MAX_DEPTH);
            if let Ok(Some(object)) = strict.next_object() {
                let raw = match object {
                    bendy::decoding::Object::Dict(dict) => dict.into_raw().map(<[u8]>::len),
                    bendy::decoding::Object::List(list) => list.into_raw().map(<[u8]>::len),
                    _ => return Ok(()),
                };
                if let Ok(len) = raw {
                    prop_assert_eq!(spans, Ok(len));
                }
            }
        }
    }
}
