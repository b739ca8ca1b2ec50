//! Requests out of a byte stream (RFC 9112), strict where leniency is how requests get smuggled.
//!
//! Refused: a body length that is said twice or in two ways, transfer codings other than `chunked`, a missing or
//! repeated `Host`, targets that are not a path, anything over the limits. httparse splits the head; what the headers
//! mean is decided here. After an error the connection cannot be used any more, the next request's start is not known.

use std::collections::VecDeque;

use super::chunked::{Chunked, ChunkedError};
use super::response::Response;

/// Most header lines of a request. Browsers send about 20.
const MAX_HEADERS: usize = 64;

/// How much a request may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of request line and headers.
    pub head: usize,
    /// Bytes of the body.
    pub body: usize,
}

impl Default for Limits {
    /// 16 KiB of head, 1 MiB of body.
    fn default() -> Self {
        Self { head: 16 << 10, body: 1 << 20 }
    }
}

/// The methods this server knows apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Read.
    Get,
    /// Read, answer without the body.
    Head,
    /// Call.
    Post,
    /// Anything else.
    Other,
}

/// One whole request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What to do.
    pub method: Method,
    /// Path, beginning with `/`, without the query. Not percent-decoded.
    pub path: String,
    /// What stands behind the `?`, if there is one.
    pub query: Option<String>,
    /// May the connection be used again?
    pub keep_alive: bool,
    /// The body, decoded.
    pub body: Vec<u8>,
    headers: Vec<(String, String)>,
}

impl Request {
    /// A header's value by its lower-case name; the first one if there are several.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name).next()
    }
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Not HTTP, or a header that cannot be right.
    #[error("bad request: {0}")]
    Malformed(&'static str),
    /// Request line and headers are too long, or there are too many.
    #[error("request line and headers are over {limit} bytes or {MAX_HEADERS} lines")]
    HeadTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The body is too long.
    #[error("the body is over {limit} bytes; the limit is `max_body` in section [api] of the configuration")]
    BodyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// A transfer coding nobody asked for.
    #[error("transfer codings other than \"chunked\" are not supported")]
    UnknownCoding,
    /// HTTP/2 or newer.
    #[error("only HTTP/1.0 and HTTP/1.1 are supported")]
    Version,
}

impl RequestError {
    /// The status code that says it (RFC 9110 section 15).
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::HeadTooLarge { .. } => 431,
            Self::BodyTooLarge { .. } => 413,
            Self::UnknownCoding => 501,
            Self::Version => 505,
        }
    }

    /// The answer to send before the connection is closed.
    #[must_use]
    pub fn response(&self) -> Response {
        Response::text(self.status(), &self.to_string())
    }
}

/// Cuts requests out of the bytes of one connection.
///
/// Push what the socket gave, then call [`RequestReader::next_request`] until it has none. Holds at most the limits plus
/// one push, if the caller stops reading while an answer is due.
#[derive(Debug)]
pub struct RequestReader {
    limits: Limits,
    input: VecDeque<u8>,
    pending: Option<Pending>,
    continue_due: bool,
}

/// A request whose head is complete.
#[derive(Debug)]
struct Pending {
    request: Request,
    framing: Framing,
}

#[derive(Debug)]
enum Framing {
    /// This many bytes are still missing.
    Length(usize),
    Chunked(Chunked),
}

impl RequestReader {
    /// A reader for a fresh connection.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, input: VecDeque::new(), pending: None, continue_due: false }
    }

    /// Takes bytes from the connection.
    ///
    /// Empty lines before a request are to be ignored (RFC 9112 section 2.2), so no request begins with them.
    pub fn push(&mut self, bytes: &[u8]) {
        let blank = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let from = if self.is_mid_request() { 0 } else { blank };
        self.input.extend(bytes.get(from..).unwrap_or_default());
    }

    /// Has a request begun that is not complete?
    #[must_use]
    pub fn is_mid_request(&self) -> bool {
        self.pending.is_some() || !self.input.is_empty()
    }

    /// Bytes held of requests that are not complete.
    #[must_use]
    pub fn held(&self) -> usize {
        self.input.len().saturating_add(self.pending.as_ref().map_or(0, |pending| pending.request.body.len()))
    }

    /// Does the client wait for "100 Continue" before it sends the body? Answers `true` once per request.
    pub fn take_continue(&mut self) -> bool {
        std::mem::take(&mut self.continue_due)
    }

    /// The head of the next request, once, as soon as it is complete: the time to refuse it before its body is taken.
    /// Nothing if it was read by [`Self::next_request`] already.
    ///
    /// # Errors
    /// [`RequestError`]; answer it and close the connection.
    pub fn next_head(&mut self) -> Result<Option<&Request>, RequestError> {
        if self.pending.is_some() {
            return Ok(None);
        }
        self.pending = self.read_head()?;
        Ok(self.pending.as_ref().map(|pending| &pending.request))
    }

    /// The next whole request, if the bytes so far hold one.
    ///
    /// # Errors
    /// [`RequestError`]; answer it and close the connection.
    pub fn next_request(&mut self) -> Result<Option<Request>, RequestError> {
        if self.pending.is_none() {
            self.pending = self.read_head()?;
        }
        let Some(pending) = &mut self.pending else { return Ok(None) };
        let done = match &mut pending.framing {
            Framing::Length(missing) => {
                let take = (*missing).min(self.input.len());
                pending.request.body.extend(self.input.drain(..take));
                *missing -= take;
                *missing == 0
            }
            Framing::Chunked(chunked) => {
                let limit = self.limits.body;
                let body = &mut pending.request.body;
                chunked.read(&mut self.input, body, limit).map_err(|e| match e {
                    ChunkedError::Malformed => {
                        RequestError::Malformed("a chunk is not as RFC 9112 section 7.1 wants it")
                    }
                    ChunkedError::TooLarge => RequestError::BodyTooLarge { limit },
                })?
            }
        };
        if done {
            self.continue_due = false;
        }
        Ok(if done { self.pending.take().map(|pending| pending.request) } else { None })
    }

    fn read_head(&mut self) -> Result<Option<Pending>, RequestError> {
        // As `push` does, where a request was in front of them.
        while matches!(self.input.front(), Some(b'\r' | b'\n')) {
            self.input.pop_front();
        }
        if self.input.is_empty() {
            return Ok(None);
        }
        let limit = self.limits.head;
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Request::new(&mut headers);
        let head_len = match parsed.parse(self.input.make_contiguous()) {
            Ok(httparse::Status::Complete(len)) if len <= limit => len,
            Ok(httparse::Status::Partial) if self.input.len() <= limit => return Ok(None),
            Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(RequestError::HeadTooLarge { limit }),
            Err(httparse::Error::Version) => return Err(RequestError::Version),
            Err(_) => return Err(RequestError::Malformed("this is not HTTP/1.1")),
        };
        let pending = Self::understand(&parsed, self.limits)?;
        self.continue_due = pending.request.header("expect").is_some_and(|v| v.eq_ignore_ascii_case("100-continue"));
        self.input.drain(..head_len);
        Ok(Some(pending))
    }

    fn understand(parsed: &httparse::Request<'_, '_>, limits: Limits) -> Result<Pending, RequestError> {
        let headers: Vec<_> = parsed
            .headers
            .iter()
            // Blanks only (RFC 9110 section 5.5): what another reader would keep must not turn a value into another.
            .map(|h| (h.name.to_ascii_lowercase(), String::from_utf8_lossy(h.value.trim_ascii()).into_owned()))
            .collect();
        let version_1_1 = parsed.version == Some(1);
        let hosts = find(&headers, "host").count();
        if hosts > 1 || hosts == 0 && version_1_1 {
            return Err(RequestError::Malformed("there must be exactly one Host header"));
        }
        let target = parsed.path.filter(|target| target.starts_with('/'));
        let target = target.ok_or(RequestError::Malformed("the request target must be a path"))?;
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query.to_owned())));
        let framing = framing(&headers, version_1_1, limits)?;
        let says = |word: &str| {
            find(&headers, "connection").any(|v| v.split(',').any(|token| token.trim().eq_ignore_ascii_case(word)))
        };
        let request = Request {
            method: match parsed.method {
                Some("GET") => Method::Get,
                Some("HEAD") => Method::Head,
                Some("POST") => Method::Post,
                _ => Method::Other,
            },
            path: path.to_owned(),
            query,
            keep_alive: if version_1_1 { !says("close") } else { says("keep-alive") },
            body: Vec::new(),
            headers,
        };
        Ok(Pending { request, framing })
    }
}

/// How the body ends (RFC 9112 section 6.3); whatever two readers could understand differently is refused.
fn framing(headers: &[(String, String)], version_1_1: bool, limits: Limits) -> Result<Framing, RequestError> {
    let mut lengths = find(headers, "content-length");
    let mut codings = find(headers, "transfer-encoding");
    match (lengths.next(), codings.next()) {
        (None, None) => Ok(Framing::Length(0)),
        (Some(_), Some(_)) => Err(RequestError::Malformed("Content-Length and Transfer-Encoding exclude each other")),
        (None, Some(coding)) => {
            if !version_1_1 {
                return Err(RequestError::Malformed("HTTP/1.0 has no transfer codings"));
            }
            if codings.next().is_some() || !coding.eq_ignore_ascii_case("chunked") {
                return Err(RequestError::UnknownCoding);
            }
            Ok(Framing::Chunked(Chunked::default()))
        }
        (Some(length), None) => {
            // parse() alone would also accept a leading "+".
            if lengths.next().is_some() || length.is_empty() || !length.bytes().all(|b| b.is_ascii_digit()) {
                return Err(RequestError::Malformed("Content-Length must be one number"));
            }
            // A number too long for usize is certainly over the limit.
            let length = length.parse().unwrap_or(usize::MAX);
            if length > limits.body {
                return Err(RequestError::BodyTooLarge { limit: limits.body });
            }
            Ok(Framing::Length(length))
        }
    }
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> impl Iterator<Item = &'a str> {
    headers.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests;
