//! Stream management (XEP-0198): what of the stanzas has arrived, and how a broken stream is taken up again. Pure.
//!
//! Both sides count the stanzas they have sent and taken, and tell each other; what the other side has not taken is kept
//! here, and sent once more on a new connection. So a connection that breaks loses nothing and doubles nothing, and
//! nobody notices but the two ends. What the two sides say about it are no stanzas and do not count.

use std::collections::VecDeque;
use std::time::Duration;

use minidom::Element;
use quick_xml::escape::escape;
use thiserror::Error;
use xmpp_parsers::ns;

/// The namespace.
pub const NS: &str = "urn:xmpp:sm:3";

/// How long a broken stream may wait for being taken up again; the server is asked to keep it as long, and contacts see
/// us online until then.
pub const RESUMABLE_FOR: Duration = Duration::from_secs(120);

/// Stanzas, and bytes of them, that are kept until they are acknowledged. With more on the way a stream that breaks
/// cannot be taken up again.
const MAX_UNACKED: usize = 512;
const MAX_UNACKED_BYTES: usize = 1024 * 1024;

/// Times that a stream is taken up again without any of what is sent again being taken: it is then what breaks it.
const MAX_FRUITLESS: u32 = 3;

/// Longest name of a stream (XEP-0198 section 3: at most 4000 bytes) and of a host to come back to.
const MAX_ID: usize = 4_000;
const MAX_LOCATION: usize = 300;

/// What the server says does not add up; the stream is useless.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SmError {
    /// More was acknowledged than was sent.
    #[error("it acknowledged {handled} stanzas, of {sent} that were sent")]
    TooHigh {
        /// What the server says it has taken.
        handled: u32,
        /// What was sent.
        sent: u32,
    },
    /// It is not of the protocol.
    #[error("it does not keep to stream management ({0})")]
    Malformed(&'static str),
}

impl SmError {
    /// What is said to the server about it, beside `undefined-condition`.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::TooHigh { handled, sent } => {
                format!("<handled-count-too-high xmlns='{NS}' h='{handled}' send-count='{sent}'/>")
            }
            Self::Malformed(_) => String::new(),
        }
    }
}

/// What was sent and taken in one direction each; the same at both ends. Counts wrap around.
#[derive(Clone, Debug, Default)]
struct Ledger {
    sent: u32,
    acked: u32,
    /// The newest of the stanzas sent that are not acknowledged; all of them, unless there were too many.
    unacked: VecDeque<Vec<u8>>,
    bytes: usize,
    handled: u32,
}

impl Ledger {
    fn sent(&mut self, stanza: &[u8]) {
        self.sent = self.sent.wrapping_add(1);
        self.bytes = self.bytes.saturating_add(stanza.len());
        self.unacked.push_back(stanza.to_vec());
        while self.unacked.len() > MAX_UNACKED || self.bytes > MAX_UNACKED_BYTES {
            self.forget_oldest();
        }
    }

    const fn on_the_way(&self) -> u32 {
        self.sent.wrapping_sub(self.acked)
    }

    /// Whether the other side can still be sent all that it has not taken.
    fn is_whole(&self) -> bool {
        u32::try_from(self.unacked.len()) == Ok(self.on_the_way())
    }

    fn acknowledged(&mut self, handled: u32) -> Result<(), SmError> {
        if handled.wrapping_sub(self.acked) > self.on_the_way() {
            return Err(SmError::TooHigh { handled, sent: self.sent });
        }
        self.acked = handled;
        while u32::try_from(self.unacked.len()).is_ok_and(|kept| kept > self.on_the_way()) {
            self.forget_oldest();
        }
        Ok(())
    }

    fn forget_oldest(&mut self) {
        self.bytes = self.bytes.saturating_sub(self.unacked.pop_front().map_or(0, |stanza| stanza.len()));
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// The server was asked to manage the stream.
    Asked,
    On {
        /// What to call the stream when it is taken up again. `None`: it cannot be.
        id: Option<String>,
        /// How long the server keeps it.
        max: Duration,
        /// Where it is best taken up again.
        location: Option<String>,
    },
    /// The server does not want to.
    Off,
}

/// The management of one stream, over all its connections.
#[derive(Clone, Debug)]
pub struct StreamManagement {
    state: State,
    ledger: Ledger,
    /// The server was asked what it has taken and has not answered.
    asked: bool,
    /// How often it was taken up again since the server has taken anything.
    fruitless: u32,
}

impl StreamManagement {
    /// Asks for it, right after a resource was bound. Stanzas count from here on.
    pub fn begin(out: &mut Vec<u8>) -> Self {
        let seconds = RESUMABLE_FOR.as_secs();
        out.extend_from_slice(format!("<enable xmlns='{NS}' resume='true' max='{seconds}'/>").as_bytes());
        Self { state: State::Asked, ledger: Ledger::default(), asked: false, fruitless: 0 }
    }

    /// Takes note of a whole stanza that is being sent.
    pub fn sent(&mut self, stanza: &[u8]) {
        if self.state != State::Off {
            self.ledger.sent(stanza);
        }
    }

    /// Takes note of an element that came in, if it is a stanza, and is about to be dealt with.
    pub fn received(&mut self, element: &Element) {
        let counts = matches!(element.name(), "message" | "presence" | "iq") && element.has_ns(ns::JABBER_CLIENT);
        if counts && matches!(self.state, State::On { .. }) {
            self.ledger.handled = self.ledger.handled.wrapping_add(1);
        }
    }

    /// Takes an element of stream management (of namespace [`NS`]) and appends the answer to `out`.
    ///
    /// # Errors
    /// [`SmError`]: the stream is to be ended.
    pub fn nonza(&mut self, element: &Element, out: &mut Vec<u8>) -> Result<(), SmError> {
        match (element.name(), &self.state) {
            ("enabled", State::Asked) => {
                self.state = State::On {
                    id: id_of(element),
                    max: max_of(element).map_or(RESUMABLE_FOR, |max| max.min(RESUMABLE_FOR)),
                    location: short(element.attr("location"), MAX_LOCATION),
                };
            }
            ("failed", State::Asked) => {
                self.state = State::Off;
                self.ledger = Ledger::default();
            }
            ("r", State::On { .. }) => self.acknowledge(out),
            ("a", State::On { .. }) => {
                let before = self.ledger.acked;
                self.ledger.acknowledged(handled(element)?)?;
                self.asked = false;
                if self.ledger.acked != before {
                    self.fruitless = 0;
                }
            }
            _ => return Err(SmError::Malformed("an element that has no place now")),
        }
        Ok(())
    }

    /// Whether the server manages the stream.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        matches!(self.state, State::On { .. })
    }

    /// Asks the server what it has taken, and so whether it is there. False if it cannot be asked like that.
    pub fn ask(&mut self, out: &mut Vec<u8>) -> bool {
        if self.is_on() {
            out.extend_from_slice(format!("<r xmlns='{NS}'/>").as_bytes());
            self.asked = true;
        }
        self.is_on()
    }

    /// Asks if there is something to ask for; to be called when all that was to be sent is on its way.
    pub fn ask_if_due(&mut self, out: &mut Vec<u8>) {
        if !self.asked && self.ledger.on_the_way() > 0 {
            self.ask(out);
        }
    }

    /// Says what was taken; also the last word before a goodbye, so that nothing counts as lost.
    pub fn acknowledge(&self, out: &mut Vec<u8>) {
        if self.is_on() {
            out.extend_from_slice(format!("<a xmlns='{NS}' h='{}'/>", self.ledger.handled).as_bytes());
        }
    }

    /// How long the stream can be taken up again after its connection broke. `None`: it cannot.
    #[must_use]
    pub fn resumable_for(&self) -> Option<Duration> {
        match &self.state {
            State::On { id: Some(_), max, .. } if self.ledger.is_whole() && self.fruitless < MAX_FRUITLESS => {
                Some(*max)
            }
            _ => None,
        }
    }

    /// Where the server wants the stream to be taken up again, as `host`, `host:port` or `[address]:port`.
    #[must_use]
    pub fn location(&self) -> Option<&str> {
        match &self.state {
            State::On { location, .. } => location.as_deref(),
            _ => None,
        }
    }

    /// What is said on a new connection, instead of asking for a resource. `None` if the stream cannot be taken up.
    #[must_use]
    pub fn resume_element(&self) -> Option<Vec<u8>> {
        match &self.state {
            State::On { id: Some(id), .. } if self.resumable_for().is_some() => {
                let handled = self.ledger.handled;
                Some(format!("<resume xmlns='{NS}' previd='{}' h='{handled}'/>", escape(id.as_str())).into_bytes())
            }
            _ => None,
        }
    }

    /// The server has taken the stream up again, and says what it has taken of it: the stanzas to send once more, in
    /// this order. They count as sent already.
    ///
    /// # Errors
    /// [`SmError`]: the stream is to be ended.
    pub fn resumed(&mut self, handled: u32) -> Result<impl Iterator<Item = &Vec<u8>>, SmError> {
        let before = self.ledger.acked;
        self.ledger.acknowledged(handled)?;
        self.asked = false;
        let fruitless = self.ledger.acked == before && self.ledger.on_the_way() > 0;
        self.fruitless = if fruitless { self.fruitless.saturating_add(1) } else { 0 };
        Ok(self.ledger.unacked.iter())
    }
}

/// The count in an `<a/>` or `<resumed/>`.
///
/// # Errors
/// [`SmError::Malformed`] if there is none.
pub fn handled(element: &Element) -> Result<u32, SmError> {
    let text = element.attr("h").ok_or(SmError::Malformed("a count is missing"))?;
    text.trim().parse().map_err(|_| SmError::Malformed("a count is no number"))
}

fn id_of(enabled: &Element) -> Option<String> {
    let resumable = matches!(enabled.attr("resume"), Some("true" | "1"));
    short(enabled.attr("id"), MAX_ID).filter(|_| resumable)
}

fn max_of(enabled: &Element) -> Option<Duration> {
    enabled.attr("max")?.trim().parse().ok().map(Duration::from_secs)
}

fn short(text: Option<&str>, most: usize) -> Option<String> {
    text.filter(|text| !text.is_empty() && text.len() <= most).map(str::to_owned)
}

#[cfg(test)]
mod tests;
