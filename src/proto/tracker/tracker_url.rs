//! The address of a tracker: what must be known before anything is sent, and a form of it that may be shown.
//!
//! Private trackers put a secret of the user into path or query, so logs and errors name a tracker by
//! [`TrackerUrl::origin`], which leaves them out. Full checking of HTTP URLs is left to the HTTP client.

use std::fmt;
use std::str::FromStr;

/// A tracker's URL, taken apart.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TrackerUrl {
    scheme: Scheme,
    host: String,
    port: u16,
    path_and_query: String,
}

/// How a tracker is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// BEP 3 over HTTP.
    Http,
    /// BEP 3 over HTTPS.
    Https,
    /// BEP 15.
    Udp,
}

/// A text that is no usable tracker URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// Neither `http://`, `https://` nor `udp://`.
    #[error("a tracker URL begins with http://, https:// or udp://")]
    Scheme,
    /// The host is missing or malformed.
    #[error("the tracker URL has no valid host name")]
    Host,
    /// The port is missing (UDP has no usual one) or no number from 1 to 65535.
    #[error("the tracker URL has no valid port")]
    Port,
    /// More than [`MAX_URL_LEN`] bytes.
    #[error("the tracker URL is longer than {MAX_URL_LEN} bytes")]
    TooLong,
}

/// Longest tracker URL, in bytes. Taste; browsers and servers stop at 2 to 8 KiB.
pub const MAX_URL_LEN: usize = 2_048;

impl TrackerUrl {
    /// How to speak to it.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Host name or IP address, the latter without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, also when the URL leaves it to the scheme.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Everything behind the port, without a fragment. May hold the user's secret.
    #[must_use]
    pub fn path_and_query(&self) -> &str {
        &self.path_and_query
    }

    /// Scheme, host and port: how this tracker is called in logs and messages.
    #[must_use]
    pub fn origin(&self) -> String {
        let (scheme, host, port) = (self.scheme, &self.host, self.port);
        if host.contains(':') { format!("{scheme}://[{host}]:{port}") } else { format!("{scheme}://{host}:{port}") }
    }
}

impl FromStr for TrackerUrl {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Self, UrlError> {
        if url.len() > MAX_URL_LEN {
            return Err(UrlError::TooLong);
        }
        let (scheme, rest) = url.trim().split_once("://").ok_or(UrlError::Scheme)?;
        let scheme = Scheme::from_name(scheme).ok_or(UrlError::Scheme)?;
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path_and_query) = rest.split_at(end);
        let authority = authority.rsplit_once('@').map_or(authority, |(_user, rest)| rest);
        let (host, port) = split_authority(authority)?;
        let port = match (port, scheme) {
            (Some(text), _) => text.parse().ok().filter(|port| *port != 0).ok_or(UrlError::Port)?,
            (None, Scheme::Http) => 80,
            (None, Scheme::Https) => 443,
            (None, Scheme::Udp) => return Err(UrlError::Port),
        };
        let valid = |c: char| !c.is_control() && !c.is_whitespace() && !matches!(c, '<' | '>' | '"' | '\\' | '%');
        if host.is_empty() || !host.chars().all(valid) {
            return Err(UrlError::Host);
        }
        Ok(Self { scheme, host: host.to_ascii_lowercase(), port, path_and_query: path_and_query.to_owned() })
    }
}

/// Host (brackets taken off) and the text of the port.
fn split_authority(authority: &str) -> Result<(&str, Option<&str>), UrlError> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(UrlError::Host)?;
        return match (rest, rest.strip_prefix(':')) {
            ("", _) => Ok((host, None)),
            (_, Some(port)) => Ok((host, Some(port))),
            _ => Err(UrlError::Host),
        };
    }
    match authority.split_once(':') {
        Some((_, port)) if port.contains(':') => Err(UrlError::Host),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((authority, None)),
    }
}

impl Scheme {
    fn from_name(name: &str) -> Option<Self> {
        [Self::Http, Self::Https, Self::Udp].into_iter().find(|scheme| name.eq_ignore_ascii_case(scheme.name()))
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Udp => "udp",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for TrackerUrl {
    /// Without what may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrackerUrl({})", self.origin())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<TrackerUrl, UrlError> {
        url.parse()
    }

    #[test]
    fn urls_are_taken_apart() {
        let url = parse("HTTPS://user:pw@Tracker.Example/secret/announce?a=b#part").unwrap();
        assert_eq!((url.scheme(), url.host(), url.port()), (Scheme::Https, "tracker.example", 443));
        assert_eq!(url.path_and_query(), "/secret/announce?a=b");
        let url = parse("udp://[2001:db8::1]:6969/announce").unwrap();
        assert_eq!((url.scheme(), url.host(), url.port()), (Scheme::Udp, "2001:db8::1", 6969));
        assert_eq!(parse("http://t?x=1").unwrap().path_and_query(), "?x=1");
        assert_eq!(parse("http://t").unwrap().port(), 80);
    }

    #[test]
    fn what_is_shown_holds_no_secret() {
        let url = parse("http://user:pw@t.example:8080/passkey123/announce?key=456").unwrap();
        assert_eq!(url.origin(), "http://t.example:8080");
        assert_eq!(format!("{url:?}"), "TrackerUrl(http://t.example:8080)");
        assert_eq!(parse("udp://[::1]:1").unwrap().origin(), "udp://[::1]:1");
    }

    #[test]
    fn unusable_urls_are_refused_with_the_reason() {
        for url in ["", "t.example/announce", "ws://t.example:80", "dht://x", "://x"] {
            assert_eq!(parse(url), Err(UrlError::Scheme), "{url}");
        }
        for url in ["http://", "http:///announce", "udp://[::1:80", "udp://a b:80", "udp://::1:80", "http://[::1]x"] {
            assert_eq!(parse(url), Err(UrlError::Host), "{url}");
        }
        for url in ["udp://t.example", "udp://t:0", "udp://t:65536", "udp://t:", "http://t:x/"] {
            assert_eq!(parse(url), Err(UrlError::Port), "{url}");
        }
        assert_eq!(parse(&format!("http://t/{}", "x".repeat(MAX_URL_LEN))), Err(UrlError::TooLong));
    }
}
