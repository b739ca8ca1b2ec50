//! Stanzas: who sent them, answers to requests, errors (RFC 6120 section 8).
//!
//! Stanzas stay [`Element`]s and are looked at field by field, because typed parsers refuse a whole stanza over one
//! unknown value. [`Iqs`] knows the open requests: an answer counts only with the id *and* the sender of its request, so
//! that nobody else can answer in a server's or contact's name. Pure; time is a parameter.

use std::time::{Duration, Instant};

use crate::types::SortedMap;

use jid::{BareJid, FullJid, Jid, ResourcePart};
use minidom::Element;
use sha1::{Digest, Sha1};

use super::xml::{Build, element, ns};

/// Time-out of ordinary requests.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Time-out of publishes: servers that throttle take tens of seconds for a large one.
pub const PUBLISH_TIMEOUT: Duration = Duration::from_secs(120);
/// Requests that may be open at once; more means that the server answers nothing.
const MAX_OPEN: usize = 1024;
/// Bytes kept of an error's text.
const MAX_ERROR_TEXT: usize = 256;

/// Who a stanza is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sender {
    /// No `from`: the own account, on whose behalf the server speaks (RFC 6120 section 8.1.2.1).
    Account,
    /// The server vouches for this one.
    Jid(Jid),
    /// `from` is no JID: believe nothing.
    Unreadable,
}

impl Sender {
    /// Reads the `from` of a stanza.
    #[must_use]
    pub fn of(stanza: &Element) -> Self {
        match stanza.attr("from").map(Jid::new) {
            None => Self::Account,
            Some(Ok(jid)) => Self::Jid(jid),
            Some(Err(_)) => Self::Unreadable,
        }
    }

    /// The own account or the server in its name: no `from`, or the own bare JID.
    #[must_use]
    pub fn is_account(&self, own: &BareJid) -> bool {
        match self {
            Self::Account => true,
            Self::Jid(jid) => jid.is_bare() && *own == *jid,
            Self::Unreadable => false,
        }
    }
}

/// The name of a resource as an announcement gives it. `None` if no resource can have it: it is empty, longer than 1023
/// bytes, or holds control characters (RFC 7622 section 3.4). Unlike a sender's, nobody has looked at it before.
#[must_use]
pub fn resource_name(text: &str) -> Option<&str> {
    ResourcePart::new(text).is_ok().then_some(text)
}

/// Kind of a stanza that is handled here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request that must be answered; `true` for `set`.
    Request(bool),
    /// An answer; `true` for `result`, `false` for `error`.
    Answer(bool),
    /// A message.
    Message,
    /// Presence.
    Presence,
    /// Anything else, stream management included.
    Other,
}

impl Kind {
    /// Looks at name and type only.
    #[must_use]
    pub fn of(stanza: &Element) -> Self {
        if !stanza.has_ns(ns::CLIENT) {
            return Self::Other;
        }
        match (stanza.name(), stanza.attr("type")) {
            ("message", _) => Self::Message,
            ("presence", _) => Self::Presence,
            ("iq", Some("get")) => Self::Request(false),
            ("iq", Some("set")) => Self::Request(true),
            ("iq", Some("result")) => Self::Answer(true),
            ("iq", Some("error")) => Self::Answer(false),
            _ => Self::Other,
        }
    }
}

/// Why a request got no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The other side refused.
    #[error("{condition}{}{}", .detail.as_ref().map(|d| format!(" ({d})")).unwrap_or_default(), .text.as_ref().map(|t| format!(": {t}")).unwrap_or_default())]
    Refused {
        /// Defined condition, for instance `item-not-found`.
        condition: String,
        /// Condition of the publish-subscribe protocol, for instance `payload-too-big`.
        detail: Option<String>,
        /// The server's words.
        text: Option<String>,
    },
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
}

impl Failure {
    /// Reads the `<error>` of an answer.
    #[must_use]
    pub fn of(stanza: &Element) -> Self {
        let error = stanza.children().find(|child| child.is("error", ns::CLIENT));
        let named = |namespace| {
            let mut children = error.into_iter().flat_map(Element::children);
            children
                .find(|child| child.has_ns(namespace) && child.name() != "text")
                .map(|child| child.name().to_owned())
        };
        let text = error.and_then(|error| error.get_child("text", ns::STANZA_ERROR)).map(Element::text);
        Self::Refused {
            condition: named(ns::STANZA_ERROR).unwrap_or_else(|| "undefined-condition".to_owned()),
            detail: named(ns::PUBSUB_ERROR),
            text: text.map(|text| crate::types::display_name(&text, MAX_ERROR_TEXT)),
        }
    }

    /// The condition or its detail has this name.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        match self {
            Self::Refused { condition, detail, .. } => condition == name || detail.as_deref() == Some(name),
            Self::TimedOut => false,
        }
    }
}

/// Makes ids nobody can guess, and jitter, out of one random seed.
#[derive(Clone, Debug)]
pub struct IdSource {
    seed: [u8; 32],
    counter: u64,
}

impl IdSource {
    /// `seed` must come from the system's random numbers; tests take a fixed one.
    #[must_use]
    pub const fn new(seed: [u8; 32]) -> Self {
        Self { seed, counter: 0 }
    }

    /// The next stanza id: 24 hex digits.
    pub fn next_id(&mut self) -> String {
        self.next_bytes().iter().take(12).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.next_bytes().iter().take(8).fold(0, |bits, byte| bits << 8 | u64::from(*byte))
    }

    fn next_bytes(&mut self) -> [u8; 20] {
        self.counter += 1;
        Sha1::new().chain_update(self.seed).chain_update(self.counter.to_be_bytes()).finalize().into()
    }
}

/// The open requests; `T` is what the caller wants to remember with each.
#[derive(Debug)]
pub struct Iqs<T> {
    own: FullJid,
    ids: IdSource,
    open: SortedMap<String, Open<T>>,
}

#[derive(Debug)]
struct Open<T> {
    to: Option<BareJid>,
    due: Instant,
    tag: T,
}

impl<T> Iqs<T> {
    /// No open requests.
    #[must_use]
    pub const fn new(own: FullJid, ids: IdSource) -> Self {
        Self { own, ids, open: SortedMap::new() }
    }

    /// A request to `to` (`None`: the own account) that fails after `timeout`. `None` if too many are open.
    pub fn request(
        &mut self,
        now: Instant,
        kind: &'static str,
        to: Option<BareJid>,
        payload: Element,
        timeout: Duration,
        tag: T,
    ) -> Option<Element> {
        if self.open.len() >= MAX_OPEN {
            return None;
        }
        let id = self.ids.next_id();
        let iq = element("iq", ns::CLIENT).with("type", kind).with("id", &id);
        let iq = iq.with_some("to", to.as_ref().map(|jid| jid.as_str())).containing(payload);
        self.open.insert(id, Open { to, due: now + timeout, tag });
        Some(iq)
    }

    /// The request this stanza answers, if its id and sender are right; it is closed then.
    pub fn answered(&mut self, stanza: &Element) -> Option<T> {
        let id = stanza.attr("id")?;
        let sender = Sender::of(stanza);
        let open = self.open.get(id)?;
        let own = self.own.to_bare();
        let fits = match &open.to {
            Some(to) if *to != own => sender == Sender::Jid(to.clone().into()),
            _ => sender.is_account(&own) || sender == Sender::Jid(self.own.clone().into()),
        };
        if fits { self.open.remove(id).map(|open| open.tag) } else { None }
    }

    /// Closes the requests whose time is over.
    pub fn expire(&mut self, now: Instant) -> Vec<T> {
        let over: Vec<String> =
            self.open.iter().filter(|(_, open)| open.due <= now).map(|(id, _)| id.clone()).collect();
        over.iter().filter_map(|id| self.open.remove(id)).map(|open| open.tag).collect()
    }

    /// All requests get so much more time.
    pub fn delay(&mut self, span: Duration) {
        self.open.values_mut().for_each(|open| open.due += span);
    }

    /// When [`Self::expire`] has something to do next.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.open.values().map(|open| open.due).min()
    }

    /// The own account is this one from now on.
    pub fn rename(&mut self, own: FullJid) {
        self.own = own;
    }

    /// Forgets all requests: their stream is gone.
    pub fn clear(&mut self) {
        self.open.clear();
    }

    /// Random bits of the same source as the ids.
    pub fn random(&mut self) -> u64 {
        self.ids.next_u64()
    }
}

/// The answer to a request: a result with an optional payload. `None` if the request cannot be answered.
#[must_use]
pub fn result(request: &Element, payload: Option<Element>) -> Option<Element> {
    Some(answer(request, "result")?.containing_all(payload))
}

/// The answer to a request: an error of this type (`cancel`, `modify`, ..) and defined condition.
#[must_use]
pub fn error(request: &Element, kind: &'static str, condition: &'static str) -> Option<Element> {
    let error = element("error", ns::CLIENT).with("type", kind).containing(element(condition, ns::STANZA_ERROR));
    Some(answer(request, "error")?.containing(error))
}

/// No id or an unreadable sender: there is nobody to answer.
fn answer(request: &Element, kind: &'static str) -> Option<Element> {
    let id = request.attr("id")?;
    if Sender::of(request) == Sender::Unreadable {
        return None;
    }
    let answer = element("iq", ns::CLIENT).with("type", kind).with("id", id);
    Some(answer.with_some("to", request.attr("from")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]
    use super::*;

    fn parse(text: &str) -> Element {
        text.replace("<iq ", "<iq xmlns='jabber:client' ").parse().unwrap()
    }

    fn iqs() -> Iqs<u8> {
        Iqs::new(FullJid::new("alice@example.org/pc").unwrap(), IdSource::new([7; 32]))
    }

    fn ask(iqs: &mut Iqs<u8>, now: Instant, to: Option<&str>, tag: u8) -> String {
        let to = to.map(|to| BareJid::new(to).unwrap());
        let iq = iqs.request(now, "get", to, element("ping", ns::PING), REQUEST_TIMEOUT, tag).unwrap();
        iq.attr("id").unwrap().to_owned()
    }

    #[test]
    fn an_answer_needs_the_right_id_and_sender() {
        let now = Instant::now();
        let mut iqs = iqs();
        let id = ask(&mut iqs, now, Some("bob@example.org"), 1);
        for from in ["", "from='bob@example.org/pc'", "from='carol@example.org'", "from='example.org'", "from='@'"] {
            assert_eq!(iqs.answered(&parse(&format!("<iq type='result' id='{id}' {from}/>"))), None, "{from}");
        }
        assert_eq!(iqs.answered(&parse("<iq type='result' id='other' from='bob@example.org'/>")), None);
        assert_eq!(iqs.answered(&parse(&format!("<iq type='result' id='{id}' from='bob@example.org'/>"))), Some(1));
        assert_eq!(iqs.answered(&parse(&format!("<iq type='result' id='{id}' from='bob@example.org'/>"))), None);
    }

    #[test]
    fn the_own_account_answers_with_or_without_its_name() {
        let now = Instant::now();
        let mut iqs = iqs();
        for from in ["", "from='alice@example.org'", "from='alice@example.org/pc'"] {
            let id = ask(&mut iqs, now, None, 2);
            assert_eq!(iqs.answered(&parse(&format!("<iq type='result' id='{id}' from='eve@x'/>"))), None);
            assert_eq!(iqs.answered(&parse(&format!("<iq type='result' id='{id}' {from}/>"))), Some(2), "{from}");
        }
    }

    #[test]
    fn requests_time_out_and_are_bounded() {
        let now = Instant::now();
        let mut iqs = iqs();
        ask(&mut iqs, now, None, 3);
        assert_eq!(iqs.next_due(), Some(now + REQUEST_TIMEOUT));
        assert!(iqs.expire(now + REQUEST_TIMEOUT - Duration::from_millis(1)).is_empty());
        assert_eq!(iqs.expire(now + REQUEST_TIMEOUT), [3]);
        for _ in 0..MAX_OPEN {
            ask(&mut iqs, now, None, 4);
        }
        assert!(iqs.request(now, "get", None, element("ping", ns::PING), REQUEST_TIMEOUT, 5).is_none());
    }

    #[test]
    fn ids_do_not_repeat() {
        let mut ids = IdSource::new([1; 32]);
        let all: std::collections::BTreeSet<String> = (0..1000).map(|_| ids.next_id()).collect();
        assert_eq!((all.len(), all.first().map(String::len)), (1000, Some(24)));
    }

    #[test]
    fn errors_are_read_and_written() {
        let refused = parse(
            "<iq type='error' id='1'><error type='cancel'><not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
             <payload-too-big xmlns='http://jabber.org/protocol/pubsub#errors'/>\
             <text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>too much</text></error></iq>",
        );
        let failure = Failure::of(&refused);
        assert!(failure.is("payload-too-big") && failure.is("not-acceptable") && !failure.is("conflict"));
        assert_eq!(failure.to_string(), "not-acceptable (payload-too-big): too much");
        assert!(Failure::of(&parse("<iq type='error' id='1'/>")).is("undefined-condition"));

        let request = parse("<iq type='get' id='9' from='bob@example.org/x'/>");
        let answer = error(&request, "modify", "bad-request").unwrap();
        assert_eq!(
            (answer.attr("to"), answer.attr("id"), answer.attr("type")),
            (Some("bob@example.org/x"), Some("9"), Some("error"))
        );
        assert!(Failure::of(&answer).is("bad-request"));
        assert!(result(&parse("<iq type='get' from='bob@example.org/x'/>"), None).is_none(), "no id, no answer");
    }

    #[test]
    fn stanzas_are_sorted_by_kind() {
        assert_eq!(Kind::of(&parse("<iq type='set' id='1'/>")), Kind::Request(true));
        assert_eq!(Kind::of(&parse("<iq type='strange' id='1'/>")), Kind::Other);
        assert_eq!(Kind::of(&"<r xmlns='urn:xmpp:sm:3'/>".parse().unwrap()), Kind::Other);
        assert_eq!(Kind::of(&"<message xmlns='jabber:client' type='foo'/>".parse().unwrap()), Kind::Message);
    }
}
