//! The parts of an XML stream that are not stanzas: header, features, errors (RFC 6120 section 4).
//!
//! Features and errors are looked up in plain elements: one feature of a future server must not make the others
//! unreadable. Which step follows which is `negotiation.rs`; bytes are `framing.rs`.

use minidom::Element;
use quick_xml::escape::escape;
use xmpp_parsers::ns;

use super::backoff::Retry;

/// The namespace of XEP-0440.
const NS_CHANNEL_BINDING: &str = "urn:xmpp:sasl-cb:0";

/// How a connection gets encrypted. There is no way to do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tls {
    /// XMPP first, then upgrade (RFC 6120 section 5); usual port 5222.
    StartTls,
    /// TLS first (XEP-0368); usual port 5223.
    Direct,
}

/// Appends the opening tag of a stream to the server of `domain`. `from`, the own bare JID, only once the connection
/// is encrypted.
pub fn write_header(domain: &str, from: Option<&str>, out: &mut Vec<u8>) {
    let from = from.map_or_else(String::new, |jid| format!(" from='{}'", escape(jid)));
    let header = format!(
        "<?xml version='1.0'?><stream:stream xmlns='{}' xmlns:stream='{}' version='1.0' xml:lang='en' to='{}'{from}>",
        ns::JABBER_CLIENT,
        ns::STREAM,
        escape(domain),
    );
    out.extend_from_slice(header.as_bytes());
}

/// Ends a stream.
pub const CLOSE: &[u8] = b"</stream:stream>";

/// Appends a stream error with one of the defined conditions and an element of XML or nothing that says more, and the
/// end of the stream.
pub fn write_error(condition: &str, detail: &str, out: &mut Vec<u8>) {
    let error = format!("<stream:error><{condition} xmlns='{}'/>{detail}</stream:error>", ns::XMPP_STREAMS);
    out.extend_from_slice(error.as_bytes());
    out.extend_from_slice(CLOSE);
}

/// Whether `header` opens a stream that this client can talk on; if not, why.
///
/// # Errors
/// A phrase that says what is wrong.
pub fn check_header(header: &Element) -> Result<(), &'static str> {
    if !header.is("stream", ns::STREAM) {
        return Err("the server does not speak XMPP");
    }
    match header.attr("version").and_then(|version| version.split_once('.')) {
        Some((major, _)) if major.parse::<u32>().is_ok_and(|major| major >= 1) => Ok(()),
        _ => Err("the server speaks a version of XMPP older than 1.0"),
    }
}

/// What the server offers at this point of the stream (RFC 6120 section 4.3.2).
#[derive(Clone, Debug, PartialEq)]
pub struct Features(Element);

impl Features {
    /// Takes an element if it is a list of features.
    ///
    /// # Errors
    /// Gives the element back if it is something else.
    pub fn from_element(element: Element) -> Result<Self, Element> {
        if element.is("features", ns::STREAM) { Ok(Self(element)) } else { Err(element) }
    }

    /// Whether a feature is there, e.g. `("sm", "urn:xmpp:sm:3")`.
    pub fn has(&self, name: &str, namespace: &str) -> bool {
        self.0.has_child(name, namespace)
    }

    /// Whether the connection can be upgraded to TLS.
    pub fn starttls(&self) -> bool {
        self.has("starttls", ns::TLS)
    }

    /// Whether a resource can be bound.
    pub fn bind(&self) -> bool {
        self.has("bind", ns::BIND)
    }

    /// The names of the SASL mechanisms offered.
    pub fn mechanisms(&self) -> Vec<String> {
        let list = self.0.get_child("mechanisms", ns::SASL);
        let names = list.into_iter().flat_map(Element::children);
        names.filter(|child| child.is("mechanism", ns::SASL)).map(|child| child.text().trim().to_owned()).collect()
    }

    /// The types of channel binding that the server announces (XEP-0440); `None` if it announces none.
    pub fn channel_bindings(&self) -> Option<Vec<String>> {
        let list = self.0.get_child("sasl-channel-binding", NS_CHANNEL_BINDING)?;
        let kinds = list.children().filter(|child| child.is("channel-binding", NS_CHANNEL_BINDING));
        Some(kinds.filter_map(|child| child.attr("type")).map(str::to_owned).collect())
    }

    /// The element itself, for features not listed here.
    pub const fn element(&self) -> &Element {
        &self.0
    }
}

/// An error that ended the stream (RFC 6120 section 4.9), as the server worded it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamError {
    /// The defined condition, e.g. `system-shutdown`; `undefined-condition` if there is none.
    pub condition: String,
    /// The server's words, shortened, without control characters.
    pub text: Option<String>,
    /// With `see-other-host`: where to, as the server wrote it.
    pub other_host: Option<String>,
}

impl StreamError {
    /// Reads an element if it is a stream error.
    pub fn from_element(element: &Element) -> Option<Self> {
        element.is("error", ns::STREAM).then(|| {
            let (condition, text) = condition_and_text(element, ns::XMPP_STREAMS);
            let other_host = element.get_child("see-other-host", ns::XMPP_STREAMS);
            let other_host = other_host.map(|host| printable(&host.text())).filter(|host| !host.is_empty());
            Self { condition: condition.unwrap_or_else(|| "undefined-condition".to_owned()), text, other_host }
        })
    }

    /// Whether and when a new connection makes sense.
    ///
    /// `conflict` means that another program uses the same resource: to come back at once would throw that one out, and
    /// so on for ever. `policy-violation` would repeat as soon as the same things are sent again. `see-other-host` is a
    /// failure only if it leads nowhere.
    pub fn retry(&self) -> Retry {
        match self.condition.as_str() {
            "system-shutdown"
            | "reset"
            | "connection-timeout"
            | "internal-server-error"
            | "remote-connection-failed"
            | "resource-constraint"
            | "undefined-condition" => Retry::Soon,
            "conflict" | "policy-violation" | "see-other-host" => Retry::Rarely,
            _ => Retry::Later,
        }
    }
}

impl std::fmt::Display for StreamError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.condition)?;
        self.other_host.as_ref().or(self.text.as_ref()).map_or(Ok(()), |text| write!(f, " ({text})"))
    }
}

/// The defined condition and the text of an error element (of a stream, a stanza or SASL).
pub fn condition_and_text(error: &Element, namespace: &str) -> (Option<String>, Option<String>) {
    let mut children = error.children().filter(|child| child.has_ns(namespace) && child.name() != "text");
    let condition = children.next().map(|child| printable(child.name()));
    let text = error.get_child("text", namespace).map(|text| printable(&text.text())).filter(|text| !text.is_empty());
    (condition, text)
}

/// The server's words fit for a log line.
fn printable(text: &str) -> String {
    text.trim().chars().filter(|character| !character.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::xmpp::framing::{Frame, Framer, Limits};

    fn element(body: &str) -> Element {
        let mut framer = Framer::new(Limits::default());
        let mut header = Vec::new();
        write_header("localhost", None, &mut header);
        framer.push(&header);
        framer.push(body.as_bytes());
        framer.next_frame().unwrap();
        match framer.next_frame().unwrap() {
            Some(Frame::Element(element)) => element,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn our_own_header_is_a_good_header_and_escapes_its_values() {
        let mut bytes = Vec::new();
        write_header("ex'ample", Some("a&b@x"), &mut bytes);
        let mut framer = Framer::new(Limits::default());
        framer.push(&bytes);
        let Some(Frame::Header(header)) = framer.next_frame().unwrap() else { panic!() };
        assert_eq!(check_header(&header), Ok(()));
        assert_eq!(header.attr("to"), Some("ex'ample"));
        assert_eq!(header.attr("from"), Some("a&b@x"));
    }

    #[test]
    fn headers_of_others_are_refused() {
        for header in ["<stream xmlns='urn:x' version='1.0'/>", "<stream:stream/>", "<stream:stream version='0.9'/>"] {
            assert!(check_header(&element(header)).is_err(), "{header}");
        }
        assert_eq!(check_header(&element("<stream:stream version='1.1'/>")), Ok(()));
    }

    #[test]
    fn features_are_found_among_unknown_ones() {
        let features = Features::from_element(element(
            "<stream:features><x xmlns='urn:new'/><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>\
             <mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism><hm/>\
             <mechanism> SCRAM-SHA-1 </mechanism></mechanisms><bind/></stream:features>",
        ))
        .unwrap();
        assert!(features.starttls());
        assert!(!features.bind(), "bind of another namespace is another feature");
        assert_eq!(features.mechanisms(), ["PLAIN", "SCRAM-SHA-1"]);
        assert!(features.has("x", "urn:new"));
        assert_eq!(features.channel_bindings(), None);
        assert!(Features::from_element(element("<features/>")).is_err());
    }

    #[test]
    fn announced_channel_bindings_are_read() {
        let features = Features::from_element(element(
            "<stream:features><sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-exporter'/>\
             <channel-binding/><other type='x'/><channel-binding type='tls-unique'/></sasl-channel-binding>\
             </stream:features>",
        ));
        assert_eq!(features.unwrap().channel_bindings().unwrap(), ["tls-exporter", "tls-unique"]);
    }

    #[test]
    fn stream_errors_say_what_and_whether_to_come_back() {
        let read = |condition: &str| {
            let namespace = ns::XMPP_STREAMS;
            StreamError::from_element(&element(&format!(
                "<stream:error><app xmlns='urn:a'/><{condition} xmlns='{namespace}'/>\
                 <text xmlns='{namespace}'>Be\u{7f}cause\n</text></stream:error>"
            )))
            .unwrap()
        };
        assert_eq!(read("system-shutdown").to_string(), "system-shutdown (Because)");
        assert_eq!(read("system-shutdown").retry(), Retry::Soon);
        assert_eq!(read("conflict").retry(), Retry::Rarely);
        assert_eq!(read("policy-violation").retry(), Retry::Rarely);
        assert_eq!(read("host-gone").retry(), Retry::Later);
        let bare = StreamError::from_element(&element("<stream:error/>")).unwrap();
        assert_eq!(bare.condition, "undefined-condition");
        assert_eq!(StreamError::from_element(&element("<error/>")), None);
        let namespace = ns::XMPP_STREAMS;
        let other =
            format!("<stream:error><see-other-host xmlns='{namespace}'> b.example:9 </see-other-host></stream:error>");
        assert_eq!(StreamError::from_element(&element(&other)).unwrap().other_host.as_deref(), Some("b.example:9"));
    }
}
