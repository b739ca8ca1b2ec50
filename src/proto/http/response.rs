//! Answers (RFC 9112), always with a length, always with the headers that keep a browser from guessing.

use std::borrow::Cow;

use super::body::Body;

/// What every answer says of who gave it (RFC 9110 section 10.2.4).
pub const SERVER: &str = "bitween";

/// One answer.
pub struct Response {
    status: u16,
    content_type: &'static str,
    headers: Vec<(&'static str, Cow<'static, str>)>,
    body: Body,
}

impl Response {
    /// An answer with a body.
    pub fn new(status: u16, content_type: &'static str, body: impl Into<Body>) -> Self {
        Self { status, content_type, headers: Vec::new(), body: body.into() }
    }

    /// Plain text, a line end added.
    #[must_use]
    pub fn text(status: u16, text: &str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", format!("{text}\n").into_bytes())
    }

    /// JSON, a line end added: it may well be shown on a terminal.
    #[must_use]
    pub fn json(mut body: Body) -> Self {
        body.push(&b"\n"[..]);
        Self::new(200, "application/json", body)
    }

    /// Nothing to say (204).
    #[must_use]
    pub fn empty() -> Self {
        Self::new(204, "", Body::default())
    }

    /// Adds a header. Line ends in the value are dropped, so no header can be smuggled in.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        let mut value = value.into();
        if value.contains(|c: char| c.is_control()) {
            value = value.replace(|c: char| c.is_control(), "").into();
        }
        self.headers.push((name, value));
        self
    }

    /// The status code.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The bytes to send: the head, and what comes after it. `head_only` answers HEAD: the length is told, the body is
    /// not sent.
    #[must_use]
    pub fn encode(self, keep_alive: bool, head_only: bool) -> (Vec<u8>, Body) {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        let mut header = |name: &str, value: &str| {
            for part in [name, ": ", value, "\r\n"] {
                head.push_str(part);
            }
        };
        // A 204 has neither length nor type (RFC 9110 section 8.6).
        if self.status != 204 {
            header("Content-Type", self.content_type);
            header("Content-Length", &self.body.len().to_string());
        }
        // Without a version: it tells our own command line that it has found a daemon, and strangers nothing more.
        header("Server", SERVER);
        header("Cache-Control", "no-store");
        header("X-Content-Type-Options", "nosniff");
        header("Connection", if keep_alive { "keep-alive" } else { "close" });
        for (name, value) in &self.headers {
            header(name, value);
        }
        head.push_str("\r\n");
        (head.into_bytes(), if head_only { Body::default() } else { self.body })
    }
}

/// The phrase to a status code that this server uses (RFC 9110 section 15, RFC 6585).
const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(response: Response, keep_alive: bool, head_only: bool) -> String {
        let (head, body) = response.encode(keep_alive, head_only);
        String::from_utf8([head, body.into_bytes()].concat()).unwrap()
    }

    #[test]
    fn an_answer_tells_its_length_and_head_leaves_the_body_out() {
        let response = Response::text(404, "nothing here");
        let text = text(response, true, false);
        assert!(text.starts_with("HTTP/1.1 404 Not Found\r\n") && text.ends_with("\r\n\r\nnothing here\n"));
        assert!(text.contains("\r\nContent-Length: 13\r\n") && text.contains("\r\nConnection: keep-alive\r\n"));
        assert!(super::tests::text(Response::text(404, "nothing here"), false, true).ends_with("\r\n\r\n"));
    }

    #[test]
    fn an_empty_answer_has_no_length() {
        assert!(!text(Response::empty(), true, false).contains("Content-Length"));
    }

    #[test]
    fn header_values_cannot_start_a_new_header() {
        let response = Response::empty().with_header("Allow", "POST\r\nEvil: yes".to_owned());
        assert!(text(response, true, false).contains("Allow: POSTEvil: yes\r\n"));
    }
}
