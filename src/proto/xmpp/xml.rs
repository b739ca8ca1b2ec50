//! Building and reading elements, and the XML namespaces this client speaks.
//!
//! Text that goes into an element is cleaned on the way in (RFC 6120 forbids what XML 1.0 section 2.2 forbids), so that
//! one odd file name can never break the stream. Elements become bytes through [`to_bytes`] only: minidom's own writer
//! panics on forbidden characters.

use std::borrow::Cow;

use minidom::Element;
use minidom::rxml::NcName;

/// Namespaces.
pub mod ns {
    /// Stanzas of a client's stream (RFC 6120).
    pub const CLIENT: &str = "jabber:client";
    /// Stanza error conditions (RFC 6120 section 8.3).
    pub const STANZA_ERROR: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";
    /// Roster (RFC 6121 section 2).
    pub const ROSTER: &str = "jabber:iq:roster";
    /// Service discovery (XEP-0030).
    pub const DISCO_INFO: &str = "http://jabber.org/protocol/disco#info";
    /// Service discovery (XEP-0030).
    pub const DISCO_ITEMS: &str = "http://jabber.org/protocol/disco#items";
    /// Entity capabilities (XEP-0115).
    pub const CAPS: &str = "http://jabber.org/protocol/caps";
    /// Ping (XEP-0199).
    pub const PING: &str = "urn:xmpp:ping";
    /// Publish-subscribe (XEP-0060).
    pub const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
    /// Publish-subscribe, for a node's owner.
    pub const PUBSUB_OWNER: &str = "http://jabber.org/protocol/pubsub#owner";
    /// Publish-subscribe, notifications.
    pub const PUBSUB_EVENT: &str = "http://jabber.org/protocol/pubsub#event";
    /// Publish-subscribe, error details.
    pub const PUBSUB_ERROR: &str = "http://jabber.org/protocol/pubsub#errors";
    /// Form type of publish-options.
    pub const PUBLISH_OPTIONS: &str = "http://jabber.org/protocol/pubsub#publish-options";
    /// Form type of a node's configuration.
    pub const NODE_CONFIG: &str = "http://jabber.org/protocol/pubsub#node_config";
    /// Blocking (XEP-0191).
    pub const BLOCKING: &str = "urn:xmpp:blocking";
    /// The address that the server sees (XEP-0279).
    pub const SIC: &str = "urn:xmpp:sic:1";
    /// Services outside XMPP (XEP-0215).
    pub const EXTERNAL_SERVICES: &str = "urn:xmpp:extdisco:2";
    /// Messages that wait for the account (XEP-0013).
    pub const OFFLINE_MESSAGES: &str = "http://jabber.org/protocol/offline";
    /// Data forms (XEP-0004).
    pub const DATA: &str = "jabber:x:data";
}

/// An element could not be written.
#[derive(Debug, thiserror::Error)]
#[error("this stanza cannot be written as XML: {0}")]
pub struct WriteError(#[from] xso::error::Error);

/// The bytes of an element for the stream.
///
/// # Errors
/// [`WriteError`] if a name or text in it is not XML; elements built here never fail.
pub fn to_bytes(element: &Element) -> Result<Vec<u8>, WriteError> {
    Ok(xso::to_vec(element)?)
}

/// Replaces what XML 1.0 cannot carry by U+FFFD, and line breaks and tabs by spaces, which attributes lose anyway.
#[must_use]
pub fn clean(text: &str) -> Cow<'_, str> {
    let fits = |c: char| !matches!(c, '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
    if text.chars().all(fits) {
        return Cow::Borrowed(text);
    }
    let mend = |c: char| match c {
        '\t' | '\n' | '\r' => ' ',
        c if fits(c) => c,
        _ => '\u{fffd}',
    };
    Cow::Owned(text.chars().map(mend).collect())
}

/// An empty element.
pub(super) fn element(name: &'static str, namespace: &'static str) -> Element {
    Element::bare(name, namespace)
}

/// Puts an element together in one expression.
pub(super) trait Build: Sized {
    /// Sets an attribute to the cleaned value.
    fn with(self, name: &'static str, value: impl AsRef<str>) -> Self;
    /// Appends a child.
    fn containing(self, child: Element) -> Self;
    /// Appends the cleaned text.
    fn saying(self, text: &str) -> Self;

    /// Appends children.
    fn containing_all(self, children: impl IntoIterator<Item = Element>) -> Self {
        children.into_iter().fold(self, Self::containing)
    }

    /// Sets an attribute if there is a value.
    fn with_some(self, name: &'static str, value: Option<impl AsRef<str>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }
}

impl Build for Element {
    fn with(mut self, name: &'static str, value: impl AsRef<str>) -> Self {
        match NcName::try_from(name) {
            Ok(name) => self.set_attr(minidom::rxml::Namespace::NONE, name, clean(value.as_ref()).into_owned()),
            Err(_) => debug_assert!(false, "attribute names are literals of this crate: {name}"),
        }
        self
    }

    fn containing(mut self, child: Element) -> Self {
        self.append_child(child);
        self
    }

    fn saying(mut self, text: &str) -> Self {
        self.append_text_node(clean(text));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_can_break_the_stream() {
        let nasty: String = (0..0x30).chain(0xfff0..0x1_0010).filter_map(char::from_u32).collect();
        let built = element("a", "urn:x").with("name", &nasty).saying(&nasty);
        let bytes = to_bytes(&built).unwrap();
        let back: Element = std::str::from_utf8(&bytes).unwrap().parse().unwrap();
        assert_eq!(back.attr("name"), Some(&*clean(&nasty)));
        assert_eq!(back.text(), clean(&nasty));
    }

    #[test]
    fn clean_text_is_left_alone() {
        assert!(matches!(clean("Füße <&> \u{10FFFF} 木"), Cow::Borrowed(_)));
        assert_eq!(clean("a\tb\r\nc\u{7}"), "a b  c\u{fffd}");
    }
}
