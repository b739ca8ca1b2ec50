//! Presence, service discovery and entity capabilities (RFC 6121 section 4, XEP-0030, XEP-0115).
//!
//! Servers decide by the capabilities hash whether notifications are delivered, and some verify it: the hash announced
//! here is computed over exactly what [`disco_info`] answers. The capabilities of others are not needed and not kept.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jid::BareJid;
use minidom::Element;
use sha1::{Digest, Sha1};

use super::shares::{ENDPOINT_NODE, SHARES_NODE};
use super::shares_original;
use super::xml::{Build, element, ns};
use crate::types::sort;

/// Of presence: what is sent to the bare JID goes to the resource with the highest one, and to none with a negative one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Negative, so that chats never land at this resource.
    NoChats,
    /// Not negative. For a moment only: some servers hand out waiting requests to nobody else.
    Requests,
}
/// Names this program in capabilities; together with the hash it is the node others may ask for.
pub const CAPS_NODE: &str = "urn:bitween";
/// category/type/lang/name of the one identity.
const IDENTITY: (&str, &str, &str, &str) = ("client", "bot", "", "bitween");

/// What this client can do, in octet order as the hash needs it.
fn features() -> Vec<String> {
    let notify = |node: &str| format!("{node}+notify");
    let mut features = vec![
        ns::CAPS.to_owned(),
        ns::DISCO_INFO.to_owned(),
        ns::DISCO_ITEMS.to_owned(),
        ns::PING.to_owned(),
        notify(shares_original::NODE),
        notify(ENDPOINT_NODE),
        notify(SHARES_NODE),
    ];
    sort(&mut features);
    features
}

/// The capabilities hash (XEP-0115 section 5.1).
#[must_use]
pub fn caps_hash() -> String {
    let (category, kind, lang, name) = IDENTITY;
    let mut text = format!("{category}/{kind}/{lang}/{name}<");
    for feature in features() {
        text.push_str(&feature);
        text.push('<');
    }
    STANDARD.encode(Sha1::digest(text))
}

/// The answer to a discovery request for `node`; `None` if there is no such node.
#[must_use]
pub fn disco_info(node: Option<&str>) -> Option<Element> {
    if node.is_some_and(|node| node != format!("{CAPS_NODE}#{}", caps_hash())) {
        return None;
    }
    let (category, kind, _, name) = IDENTITY;
    let identity = element("identity", ns::DISCO_INFO).with("category", category).with("type", kind).with("name", name);
    let features = features().into_iter().map(|var| element("feature", ns::DISCO_INFO).with("var", var));
    Some(element("query", ns::DISCO_INFO).with_some("node", node).containing(identity).containing_all(features))
}

/// The presence that makes this resource available.
#[must_use]
pub fn available(priority: Priority) -> Element {
    let caps = element("c", ns::CAPS).with("hash", "sha-1").with("node", CAPS_NODE).with("ver", caps_hash());
    let priority = element("priority", ns::CLIENT).saying(match priority {
        Priority::NoChats => "-1",
        Priority::Requests => "0",
    });
    element("presence", ns::CLIENT).containing(priority).containing(caps)
}

/// The presence that makes this resource available to somebody who may have missed it.
#[must_use]
pub fn available_to(jid: &BareJid) -> Element {
    available(Priority::NoChats).with("to", jid.as_str())
}

/// The presence that ends this resource's session.
#[must_use]
pub fn unavailable() -> Element {
    element("presence", ns::CLIENT).with("type", "unavailable")
}

/// The payload that asks what somebody can do.
#[must_use]
pub fn ask_info() -> Element {
    element("query", ns::DISCO_INFO)
}

/// The payload that asks how many messages wait for the own account (XEP-0013). A server that knows the question hands
/// them out to nobody on this stream unless they are asked for (section 2.3).
#[must_use]
pub fn ask_offline_messages() -> Element {
    ask_info().with("node", ns::OFFLINE_MESSAGES)
}

/// Does the answer to [`ask_info`] name this feature?
#[must_use]
pub fn has_feature(answer: &Element, feature: &str) -> bool {
    let queries = answer.children().filter(|child| child.is("query", ns::DISCO_INFO));
    queries
        .flat_map(Element::children)
        .any(|child| child.is("feature", ns::DISCO_INFO) && child.attr("var") == Some(feature))
}

/// A subscription stanza: `subscribe`, `subscribed`, `unsubscribe` or `unsubscribed`.
#[must_use]
pub fn subscription(kind: &'static str, to: &BareJid) -> Element {
    element("presence", ns::CLIENT).with("type", kind).with("to", to.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use xmpp_parsers::caps::{compute_disco, hash_caps};
    use xmpp_parsers::disco::DiscoInfoResult;
    use xmpp_parsers::hashes::Algo;

    #[test]
    fn the_announced_hash_is_the_hash_of_the_answer() {
        let presence = available(Priority::NoChats);
        let announced = presence.get_child("c", ns::CAPS).unwrap();
        let node = format!("{}#{}", announced.attr("node").unwrap(), announced.attr("ver").unwrap());
        for asked in [None, Some(node.as_str())] {
            let answer = disco_info(asked).unwrap();
            assert_eq!(answer.attr("node"), asked, "the node is echoed");
            let answer = DiscoInfoResult::try_from(answer).unwrap();
            let hash = hash_caps(&compute_disco(&answer), Algo::Sha_1).unwrap().hash;
            assert_eq!(announced.attr("ver"), Some(STANDARD.encode(hash).as_str()));
        }
        assert!(disco_info(Some("urn:bitween#other")).is_none());
    }

    #[test]
    fn all_three_nodes_are_asked_for() {
        let answer = DiscoInfoResult::try_from(disco_info(None).unwrap()).unwrap();
        for node in ["urn:bitween:shares:0", "urn:bitween:endpoint:0", "https://xmpp.kwoh.de/protocol/shares"] {
            assert!(answer.features.contains(&format!("{node}+notify")));
        }
    }

    #[test]
    fn chats_are_kept_away_by_a_negative_priority() {
        let priority = available(Priority::NoChats).get_child("priority", ns::CLIENT).unwrap().text();
        assert_eq!(priority.parse(), Ok(-1));
    }
}
