//! Bytes to whole elements: cuts an XML stream into header, first-level elements and end (RFC 6120 sections 4 and 11).
//!
//! A small lexer finds where each first-level element ends while the bytes come in, and enforces every limit on the
//! way, so nothing grows without bound. A complete element then goes through one parser (`framing/element.rs`), which
//! must consume exactly the bytes the lexer cut out; a difference of opinion ends the stream. Comments, processing
//! instructions, DTDs and entities other than the five predefined ones are errors (section 11.1), and so is everything
//! XML forbids but common parsers let pass. Any error is final. Knows no sockets and keeps no clock; it belongs to the
//! thread that owns the connection.

mod element;
#[cfg(test)]
mod tests;

use minidom::Element;
use thiserror::Error;

use element::Bindings;

/// Capacity above which the buffer is given back once it is empty, in bytes. Most stanzas are far smaller.
const KEEP_CAPACITY: usize = 64 * 1024;

/// What a stream may contain at most. The defaults are generous to servers and safe for small machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one first-level element, tags included. Servers allow 256 KiB by default.
    pub stanza_bytes: usize,
    /// Nesting of elements in a stanza; the stanza itself is level 1.
    pub depth: usize,
    /// Attributes of one element, namespace declarations included.
    pub attributes: usize,
    /// Elements, attributes and runs of text of one stanza together; bounds the memory of the tree.
    pub nodes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { stanza_bytes: 1024 * 1024, depth: 32, attributes: 64, nodes: 65_536 }
    }
}

/// One part of a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// The opening tag of the stream, as an element without children.
    Header(Element),
    /// A first-level element: a stanza, stream features, an error, ...
    Element(Element),
    /// The closing tag of the stream. Nothing may follow it.
    End,
}

/// Why a stream cannot be read on. Every one of these is final: close the stream with [`FramingError::condition`].
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum FramingError {
    /// The bytes are no XML, or XML with something this stream may not have at this place.
    #[error("the stream is not well-formed XML: {0}")]
    NotWellFormed(&'static str),
    /// Comment, processing instruction, DTD or entity.
    #[error("the stream contains a {0}, which XMPP forbids")]
    Restricted(&'static str),
    /// The bytes are not UTF-8.
    #[error("the stream is not UTF-8")]
    NotUtf8,
    /// A character XML 1.0 does not allow, literally or as a reference.
    #[error("the stream contains the character U+{0:04X}, which XML forbids")]
    IllegalChar(u32),
    /// An undeclared prefix, or a declaration that is not allowed.
    #[error("the stream uses XML namespaces wrongly: {0}")]
    Namespace(&'static str),
    /// Longer than [`Limits::stanza_bytes`].
    #[error("a stanza is longer than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// Deeper than [`Limits::depth`].
    #[error("a stanza is nested more than {limit} levels deep")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// An element with more attributes than [`Limits::attributes`].
    #[error("an element has more than {limit} attributes")]
    TooManyAttributes {
        /// The limit.
        limit: usize,
    },
    /// More than [`Limits::nodes`].
    #[error("a stanza has more than {limit} elements, attributes and texts")]
    TooManyNodes {
        /// The limit.
        limit: usize,
    },
}

impl FramingError {
    /// The defined condition to close the stream with (RFC 6120 section 4.9.3).
    pub const fn condition(&self) -> &'static str {
        match self {
            Self::NotWellFormed(_) | Self::IllegalChar(_) => "not-well-formed",
            Self::Restricted(_) => "restricted-xml",
            Self::NotUtf8 => "unsupported-encoding",
            Self::Namespace(_) => "bad-namespace-prefix",
            Self::TooLong { .. }
            | Self::TooDeep { .. }
            | Self::TooManyAttributes { .. }
            | Self::TooManyNodes { .. } => "policy-violation",
        }
    }
}

/// Cuts one stream into [`Frame`]s. A stream that restarts (after STARTTLS or SASL) needs a new one.
#[derive(Debug)]
pub struct Framer {
    limits: Limits,
    /// Bytes from the start of the unfinished frame on; what lies before `start` is done with.
    buffer: Vec<u8>,
    start: usize,
    scanned: usize,
    lexer: Lexer,
    /// Open elements, the stream's own included: 0 before the header, 1 between stanzas.
    depth: usize,
    declared: bool,
    ended: bool,
    bindings: Bindings,
}

impl Framer {
    /// A framer at the beginning of a stream.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
            lexer: Lexer::Content,
            depth: 0,
            declared: false,
            ended: false,
            bindings: Bindings::default(),
        }
    }

    /// Adds what arrived. Call [`Framer::next_frame`] until it has no more before the next push: then at most one stanza of
    /// the permitted length is held.
    pub fn push(&mut self, bytes: &[u8]) {
        self.forget_consumed();
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether bytes are there that no frame handed out so far contains. When a stream is restarted there must be none:
    /// what was injected before TLS must not be read as if it came after.
    pub fn has_unread(&self) -> bool {
        self.start < self.buffer.len()
    }

    /// The next complete part of the stream; `None` if more bytes are needed.
    ///
    /// # Errors
    /// [`FramingError`] if the stream breaks a rule or a limit; the framer must not be used afterwards.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FramingError> {
        while let Some(&byte) = self.buffer.get(self.scanned) {
            if self.depth <= 1 && self.lexer == Lexer::Content && byte != b'<' {
                self.between_frames(byte)?;
                continue;
            }
            self.scanned += 1;
            if self.scanned - self.start > self.limits.stanza_bytes {
                return Err(FramingError::TooLong { limit: self.limits.stanza_bytes });
            }
            let (lexer, mark) = self.lexer.feed(byte)?;
            self.lexer = lexer;
            if let Some(frame) = self.marked(mark)? {
                return Ok(Some(frame));
            }
        }
        self.forget_consumed();
        Ok(None)
    }

    /// Between stanzas only white space may be (it keeps idle connections alive); it costs no memory.
    fn between_frames(&mut self, byte: u8) -> Result<(), FramingError> {
        if !is_space(byte) {
            return Err(FramingError::NotWellFormed("text between stanzas"));
        }
        self.scanned += 1;
        self.start = self.scanned;
        Ok(())
    }

    fn marked(&mut self, mark: Mark) -> Result<Option<Frame>, FramingError> {
        if self.ended {
            return Err(FramingError::NotWellFormed("something follows the end of the stream"));
        }
        match (mark, self.depth) {
            (Mark::Inside, _) => Ok(None),
            (Mark::Declaration, 0) if !self.declared => {
                self.declared = true;
                element::check_declaration(self.take_text()?)?;
                Ok(None)
            }
            (Mark::Declaration, _) => Err(FramingError::Restricted("processing instruction")),
            (Mark::Opened, 0) => {
                self.depth = 1;
                let limits = self.limits;
                let (header, bindings) = element::parse_header(self.take_text()?, &limits)?;
                self.bindings = bindings;
                Ok(Some(Frame::Header(header)))
            }
            (Mark::Opened, depth) => {
                if depth > self.limits.depth {
                    return Err(FramingError::TooDeep { limit: self.limits.depth });
                }
                self.depth += 1;
                Ok(None)
            }
            (Mark::Empty, 1) | (Mark::Closed, 2) => {
                self.depth = 1;
                self.take_element().map(Some)
            }
            (Mark::Empty, depth) if depth > self.limits.depth => {
                Err(FramingError::TooDeep { limit: self.limits.depth })
            }
            (Mark::Empty | Mark::Closed | Mark::CData, 0) => Err(FramingError::NotWellFormed("no stream header")),
            (Mark::CData, 1) => Err(FramingError::NotWellFormed("text between stanzas")),
            (Mark::Empty | Mark::CData, _) => Ok(None),
            (Mark::Closed, 1) => {
                self.ended = true;
                let tag = take(&self.buffer, &mut self.start, self.scanned)?;
                self.bindings.check_end(tag)?;
                Ok(Some(Frame::End))
            }
            (Mark::Closed, _) => {
                self.depth -= 1;
                Ok(None)
            }
        }
    }

    fn take_element(&mut self) -> Result<Frame, FramingError> {
        let text = take(&self.buffer, &mut self.start, self.scanned)?;
        element::parse(text, &self.bindings, &self.limits).map(Frame::Element)
    }

    fn take_text(&mut self) -> Result<&str, FramingError> {
        take(&self.buffer, &mut self.start, self.scanned)
    }

    fn forget_consumed(&mut self) {
        if self.start == 0 {
            return;
        }
        self.buffer.drain(..self.start);
        self.scanned -= self.start;
        self.start = 0;
        if self.buffer.is_empty() && self.buffer.capacity() > KEEP_CAPACITY {
            self.buffer = Vec::new();
        }
    }
}

/// The text of the frame that ends at `end`; the next one starts there.
fn take<'b>(buffer: &'b [u8], start: &mut usize, end: usize) -> Result<&'b str, FramingError> {
    let bytes = buffer.get(*start..end).unwrap_or_default();
    *start = end;
    std::str::from_utf8(bytes).map_err(|_| FramingError::NotUtf8)
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// What a byte completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Inside,
    /// `<?xml ... ?>`
    Declaration,
    /// `<a>`
    Opened,
    /// `<a/>`
    Empty,
    /// `</a>`
    Closed,
    /// `<![CDATA[`
    CData,
}

/// Where in the markup the lexer is. Only what is needed to find tags and their ends; all else is the parser's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lexer {
    /// Character data, or nothing yet.
    Content,
    /// After `<`.
    Markup,
    /// After `<!`, with so many bytes of `[CDATA[` seen.
    Bang(usize),
    /// In character data marked by CDATA, with so many `]` just before (2 is the most that counts).
    CData(u8),
    /// In `<?`; whether the last byte was a question mark.
    Instruction(bool),
    /// In a start tag, outside of quotes; whether the last byte was a slash.
    Tag(bool),
    /// In an attribute value that ends with this quote.
    Quoted(u8),
    /// Just behind an attribute value.
    Unquoted,
    /// In an end tag.
    EndTag,
}

impl Lexer {
    fn feed(self, byte: u8) -> Result<(Self, Mark), FramingError> {
        const OPENING: &[u8] = b"[CDATA[";
        let next = match (self, byte) {
            (Self::Content, b'<') => Self::Markup,
            (Self::Content, _) => Self::Content,
            (Self::Markup, b'/') => Self::EndTag,
            (Self::Markup, b'!') => Self::Bang(0),
            (Self::Markup, b'?') => Self::Instruction(false),
            (Self::Markup, _) if is_space(byte) || byte == b'>' || byte == b'<' => {
                return Err(FramingError::NotWellFormed("a tag without a name"));
            }
            (Self::Markup, _) => Self::Tag(false),
            (Self::Bang(0), b'-') => return Err(FramingError::Restricted("comment")),
            (Self::Bang(0), b'D') => return Err(FramingError::Restricted("document type definition")),
            (Self::Bang(seen), _) if OPENING.get(seen) == Some(&byte) => {
                if seen + 1 == OPENING.len() {
                    return Ok((Self::CData(0), Mark::CData));
                }
                Self::Bang(seen + 1)
            }
            (Self::Bang(_), _) => return Err(FramingError::NotWellFormed("unknown markup")),
            (Self::CData(2), b'>') => Self::Content,
            (Self::CData(brackets), b']') => Self::CData(2.min(brackets + 1)),
            (Self::CData(_), _) => Self::CData(0),
            (Self::Instruction(true), b'>') => return Ok((Self::Content, Mark::Declaration)),
            (Self::Instruction(_), _) => Self::Instruction(byte == b'?'),
            (Self::Tag(_) | Self::Quoted(_) | Self::Unquoted | Self::EndTag, b'<') => {
                return Err(FramingError::NotWellFormed("'<' inside a tag"));
            }
            (Self::Tag(true), b'>') => return Ok((Self::Content, Mark::Empty)),
            (Self::Tag(true), _) => return Err(FramingError::NotWellFormed("'/' inside a tag")),
            (Self::Tag(false) | Self::Unquoted, b'>') => return Ok((Self::Content, Mark::Opened)),
            (Self::Tag(false), b'"' | b'\'') => Self::Quoted(byte),
            (Self::Tag(false) | Self::Unquoted, _) if byte == b'/' || is_space(byte) => Self::Tag(byte == b'/'),
            (Self::Tag(false), _) => Self::Tag(false),
            (Self::Unquoted, _) => return Err(FramingError::NotWellFormed("no space between attributes")),
            (Self::Quoted(quote), _) if byte == quote => Self::Unquoted,
            (Self::Quoted(quote), _) => Self::Quoted(quote),
            (Self::EndTag, b'>') => return Ok((Self::Content, Mark::Closed)),
            (Self::EndTag, _) => Self::EndTag,
        };
        Ok((next, Mark::Inside))
    }
}
