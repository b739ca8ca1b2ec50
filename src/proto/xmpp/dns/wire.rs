//! The few bytes of DNS that an SRV query and its answer are made of (RFC 1035 section 4, RFC 2782). Pure.

const IN: u16 = 1;
const SRV: u16 = 33;
/// The bit of the flags that asks the name server to ask others.
const RECURSION_DESIRED: u16 = 0x0100;
const RESPONSE: u16 = 0x8000;
const TRUNCATED: u16 = 0x0200;
const RCODE: u16 = 0x000f;
const MAX_LABEL: usize = 63;
/// Bytes of a name as text.
const MAX_NAME: usize = 253;

/// What was read of a message.
pub(super) struct Message {
    pub(super) id: u16,
    flags: u16,
    /// The name that was asked for.
    pub(super) question: Option<String>,
    /// The SRV records of the answer.
    pub(super) services: Vec<Service>,
}

/// The data of an SRV record. The target is empty if it is the root.
pub(super) struct Service {
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) port: u16,
    pub(super) target: String,
}

impl Message {
    pub(super) const fn is_response(&self) -> bool {
        self.flags & RESPONSE != 0
    }

    pub(super) const fn is_truncated(&self) -> bool {
        self.flags & TRUNCATED != 0
    }

    pub(super) const fn rcode(&self) -> u16 {
        self.flags & RCODE
    }
}

/// A query for the SRV records of `name`; none if that is no name.
pub(super) fn query(id: u16, name: &str) -> Option<Vec<u8>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() || name.len() > MAX_NAME {
        return None;
    }
    let mut bytes: Vec<u8> = [id, RECURSION_DESIRED, 1, 0, 0, 0].into_iter().flat_map(u16::to_be_bytes).collect();
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|_| (1..=MAX_LABEL).contains(&label.len()))?;
        bytes.push(length);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend([SRV, IN].into_iter().flat_map(u16::to_be_bytes));
    Some(bytes)
}

/// Reads a message up to the end of its answers; none if it breaks the rules or ends early.
pub(super) fn parse(bytes: &[u8]) -> Option<Message> {
    let mut reader = Reader { bytes, at: 0 };
    let [id, flags, questions, answers, _, _] = [(); 6].map(|()| reader.number());
    let mut question = None;
    for _ in 0..questions? {
        let name = reader.name()?;
        reader.skip(4)?;
        question.get_or_insert(name);
    }
    let mut services = Vec::new();
    for _ in 0..answers? {
        services.extend(reader.record()?);
    }
    Some(Message { id: id?, flags: flags?, question, services })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn number(&mut self) -> Option<u16> {
        let number = self.bytes.get(self.at..)?.first_chunk()?;
        self.at += number.len();
        Some(u16::from_be_bytes(*number))
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.at += count;
        (self.at <= self.bytes.len()).then_some(())
    }

    /// The next record, if it is one that counts.
    fn record(&mut self) -> Option<Option<Service>> {
        self.name()?;
        let (kind, class) = (self.number()?, self.number()?);
        self.skip(4)?;
        let length = usize::from(self.number()?);
        let end = self.at + length;
        let service = if (kind, class) == (SRV, IN) { Some(self.service()?) } else { None };
        if self.at > end {
            return None;
        }
        self.at = end;
        self.skip(0)?;
        Some(service)
    }

    fn service(&mut self) -> Option<Service> {
        Some(Service { priority: self.number()?, weight: self.number()?, port: self.number()?, target: self.name()? })
    }

    /// A name, whose end may stand further in front. What belongs into no host name becomes U+FFFD.
    fn name(&mut self) -> Option<String> {
        let mut text = String::new();
        let (mut at, mut end) = (self.at, None);
        loop {
            let length = *self.bytes.get(at)?;
            let next = at + 1;
            match length {
                0 => {
                    self.at = end.unwrap_or(next);
                    return Some(text);
                }
                1..=63 => {
                    let label = self.bytes.get(next..next + usize::from(length))?;
                    if !text.is_empty() {
                        text.push('.');
                    }
                    let readable = |byte: &u8| {
                        if byte.is_ascii_graphic() && *byte != b'.' { char::from(*byte) } else { '\u{fffd}' }
                    };
                    text.extend(label.iter().map(readable));
                    if text.chars().count() > MAX_NAME {
                        return None;
                    }
                    at = next + label.len();
                }
                0xc0.. => {
                    let low = *self.bytes.get(next)?;
                    end.get_or_insert(next + 1);
                    let to = usize::from(u16::from_be_bytes([length & 0x3f, low]));
                    // Backwards only: a circle would have to pass labels, and the name gets too long.
                    if to >= at {
                        return None;
                    }
                    at = to;
                }
                _ => return None,
            }
        }
    }
}
