//! Who may talk to the interface: checks of `Host`, `Origin` and token, in one place.
//!
//! A web page anywhere can make its visitor's browser send requests to loopback. Its own name then stands in `Host`
//! (DNS rebinding) or in `Origin` (plain cross-site request); both are refused with a text that names the setting. Whoever
//! is not on this machine needs the token.

use std::net::IpAddr;

use sha2::{Digest, Sha256};

use crate::proto::http::{Method, Request, Response};

use super::super::access::{Caller, How, Scope};

/// Decides for one server.
pub struct Guard {
    bind: IpAddr,
    allowed_hosts: Vec<String>,
    /// SHA-256 of the token, so that a comparison takes the same time for every guess of every length.
    token: Option<[u8; 32]>,
}

/// Why a request may not pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// `Host` names somebody else.
    #[error(
        "{0:?} is not a name of this daemon. If it should be, add it to `allowed_hosts` in section [api] of the configuration"
    )]
    Host(String),
    /// A page from elsewhere calls.
    #[error(
        "calls from pages of {0:?} are refused: only this daemon's own page may call. If that is its name, add it to `allowed_hosts` in section [api] of the configuration and open the page under it"
    )]
    Origin(String),
    /// No token, or a wrong one.
    #[error(
        "a token is needed: send \"Authorization: Bearer TOKEN\" with the content of the file that `token_file` in section [api] of the configuration names"
    )]
    Token,
}

impl Refusal {
    /// The answer that says it.
    #[must_use]
    pub fn response(&self) -> Response {
        match self {
            Self::Host(_) | Self::Origin(_) => Response::text(403, &self.to_string()),
            Self::Token => Response::text(401, &self.to_string()).with_header("WWW-Authenticate", "Bearer"),
        }
    }
}

impl Guard {
    /// A guard for a server that listens on `bind`.
    #[must_use]
    pub fn new(bind: IpAddr, allowed_hosts: &[String], token: Option<&str>) -> Self {
        Self {
            bind,
            allowed_hosts: allowed_hosts.iter().map(|name| name.to_ascii_lowercase()).collect(),
            token: token.map(|token| Sha256::digest(token).into()),
        }
    }

    /// Checks `Host` and `Origin`: was this daemon meant, and by itself? `local` is the address the client reached.
    ///
    /// # Errors
    /// The [`Refusal`] to answer with.
    pub fn check_source(&self, request: &Request, local: IpAddr) -> Result<(), Refusal> {
        // HTTP/1.0 may leave it out; no browser does, so nothing can be rebound.
        let host = request.header("host").unwrap_or("localhost");
        if !self.is_own_name(host_name(host), local) {
            return Err(Refusal::Host(shown(host)));
        }
        if let Some(origin) = request.header("origin") {
            let same = origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host));
            if !same {
                return Err(Refusal::Origin(shown(origin)));
            }
        }
        // Browsers say it themselves, also where they send no origin. Following a link to our page is fine.
        let foreign = matches!(request.header("sec-fetch-site"), Some("cross-site" | "same-site"));
        if foreign && request.method == Method::Post && request.header("origin").is_none() {
            return Err(Refusal::Origin("another site".into()));
        }
        Ok(())
    }

    /// Who calls from there: whoever shows the token, or anybody if none is needed.
    ///
    /// # Errors
    /// [`Refusal::Token`].
    pub fn caller(&self, request: &Request, from: Option<IpAddr>) -> Result<Caller, Refusal> {
        let known = |how| Caller { scope: Scope::Admin, how, from };
        let Some(expected) = &self.token else { return Ok(known(How::Open)) };
        let shown = request.header("authorization").and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        let found: [u8; 32] = Sha256::digest(shown.ok_or(Refusal::Token)?).into();
        let difference = expected.iter().zip(found).fold(0, |sum, (a, b)| sum | (a ^ b));
        if std::hint::black_box(difference) == 0 { Ok(known(How::TokenFile)) } else { Err(Refusal::Token) }
    }

    fn is_own_name(&self, name: &str, local: IpAddr) -> bool {
        let name = name.to_ascii_lowercase();
        if let Ok(ip) = name.parse::<IpAddr>() {
            let ip = ip.to_canonical();
            let own = ip.is_loopback() || ip == local.to_canonical() || ip == self.bind;
            return own && !ip.is_unspecified() || self.allowed_hosts.contains(&name);
        }
        let bare = name.strip_suffix('.').unwrap_or(&name);
        bare == "localhost" || self.allowed_hosts.iter().any(|allowed| allowed == bare)
    }
}

/// `Host` without its port and without the brackets of IPv6; nothing, which is nobody's name, if it is malformed.
fn host_name(host: &str) -> &str {
    let v6 = host.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (name, port) = match v6 {
        Some((name, "")) => return name,
        Some((name, rest)) => (name, rest.strip_prefix(':').unwrap_or("?")),
        None => host.split_once(':').unwrap_or((host, "")),
    };
    if port.bytes().all(|byte| byte.is_ascii_digit()) { name } else { "" }
}

/// A foreign text, short enough for an answer.
fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::http::{Limits, RequestReader};

    fn request(headers: &str) -> Request {
        let mut reader = RequestReader::new(Limits::default());
        reader.push(format!("POST /api HTTP/1.1\r\n{headers}\r\n\r\n").as_bytes());
        reader.next_request().unwrap().unwrap()
    }

    fn source(headers: &str) -> Result<(), Refusal> {
        let guard = Guard::new("0.0.0.0".parse().unwrap(), &["Box.lan".to_owned()], None);
        guard.check_source(&request(headers), "192.168.1.5".parse().unwrap())
    }

    #[test]
    fn own_names_pass_with_any_port() {
        for host in
            ["127.0.0.1:5000", "localhost", "LOCALHOST:1", "[::1]:5000", "127.9.9.9", "192.168.1.5:80", "box.lan:5000"]
        {
            assert_eq!(source(&format!("Host: {host}")), Ok(()), "{host}");
        }
    }

    #[test]
    fn foreign_names_are_refused_with_the_settings_name() {
        for host in [
            "[::1]evil.example",
            "localhost:evil.example",
            "localhost:1:evil.example",
            "evil.example",
            "127.0.0.1.evil.example",
            "192.168.1.6",
            "localhost.evil",
            "0.0.0.0",
            "[::]:1",
            "",
        ] {
            let refusal = source(&format!("Host: {host}")).unwrap_err();
            assert!(refusal.to_string().contains("allowed_hosts"), "{host}");
        }
    }

    #[test]
    fn pages_from_elsewhere_are_refused() {
        assert_eq!(source("Host: localhost:5000\r\nOrigin: http://localhost:5000"), Ok(()));
        for origin in
            ["http://evil.example", "null", "http://localhost:3000", "http://localhost", "http://127.0.0.1:5000"]
        {
            assert!(
                matches!(source(&format!("Host: localhost:5000\r\nOrigin: {origin}")), Err(Refusal::Origin(_))),
                "{origin}"
            );
        }
        assert!(source("Host: localhost\r\nSec-Fetch-Site: cross-site").is_err());
        assert!(source("Host: localhost\r\nSec-Fetch-Site: none").is_ok());
    }

    #[test]
    fn the_token_must_be_shown_exactly() {
        let guard = Guard::new("0.0.0.0".parse().unwrap(), &[], Some("s3cret"));
        let from = Some("192.0.2.1".parse().unwrap());
        let check = |header: &str| guard.caller(&request(&format!("Host: a\r\n{header}")), from);
        assert_eq!(
            check("Authorization: bearer  s3cret"),
            Ok(Caller { scope: Scope::Admin, how: How::TokenFile, from })
        );
        for wrong in [
            "X: y",
            "Authorization: Bearer s3cre",
            "Authorization: Bearer s3cret1",
            "Authorization: Basic s3cret",
            "Authorization: s3cret",
        ] {
            assert_eq!(check(wrong), Err(Refusal::Token), "{wrong}");
        }
        let open = Guard::new("127.0.0.1".parse().unwrap(), &[], None);
        assert_eq!(open.caller(&request("Host: a"), None).map(|caller| caller.how), Ok(How::Open));
    }
}
