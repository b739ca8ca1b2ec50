//! Values of the configuration that are more than a number or a text: sizes, host and port, addresses, JIDs.
//!
//! Each is checked while the file is read, so the error knows its line.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de};

/// A number of bytes, written as a number or as "64MiB", "1.5 GB", "512k".
///
/// `k`, `M`, `G`, `T` and `KiB`, `MiB`, ... are powers of 1024; `kB`, `MB`, ... are powers of 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a size; write it like \"64MiB\"");
        let text = text.trim();
        let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            "t" | "tib" => 1 << 40,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            _ => return Err(wrong()),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let whole: u64 = whole.parse().map_err(|_| wrong())?;
        // Three digits are plenty for a size somebody types; integers keep it exact.
        let thousandths: u64 = format!("{fraction:0<3}").get(..3).and_then(|f| f.parse().ok()).ok_or_else(wrong)?;
        let bytes = whole.checked_mul(factor).and_then(|b| b.checked_add(factor.checked_mul(thousandths)? / 1000));
        bytes.map(Self).ok_or_else(|| format!("{text:?} is too large"))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1_u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match units.into_iter().find(|(unit, _)| self.0 != 0 && self.0.is_multiple_of(*unit)) {
            Some((unit, name)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = ByteSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"64MiB\"")
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<ByteSize, E> {
                u64::try_from(value).map(ByteSize).map_err(|_| E::custom("a size cannot be negative"))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(value))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A server to connect to, "host:port"; IPv6 addresses stand in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// Name or address, without brackets.
    pub host: String,
    /// TCP port, never 0.
    pub port: u16,
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not \"host:port\"");
        let (host, port) = text.trim().rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let usable = match bare {
            Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                !host.is_empty() && !host.contains([':', '/', '[', ']', '@']) && !host.contains(char::is_whitespace)
            }
        };
        if usable { Ok(Self { host: bare.unwrap_or(host).to_owned(), port }) } else { Err(wrong()) }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// An own address to publish: an IP address, with or without a port of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtraAddress {
    /// The address.
    pub ip: IpAddr,
    /// The port; `None` = the one bitween listens on.
    pub port: Option<u16>,
}

impl FromStr for ExtraAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(ip) = text.parse() {
            return Ok(Self { ip, port: None });
        }
        match text.parse::<SocketAddr>() {
            Ok(address) if address.port() != 0 => Ok(Self { ip: address.ip(), port: Some(address.port()) }),
            _ => Err(format!("{text:?} is neither \"ip\" nor \"ip:port\"")),
        }
    }
}

/// A JID as a user types it, `name@domain` with an optional `/resource` (RFC 7622).
///
/// Only the shape is checked here; the XMPP side normalises it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JidText(String);

impl JidText {
    /// Longest accepted text in bytes: three parts of 1023 bytes (RFC 7622 section 3.1) and two separators.
    const MAX_LEN: usize = 3 * 1023 + 2;

    /// The text as it was typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `name@domain`, without the resource.
    #[must_use]
    pub fn bare(&self) -> &str {
        self.0.split_once('/').map_or(self.0.as_str(), |(bare, _)| bare)
    }

    /// What stands behind the slash.
    #[must_use]
    pub fn resource(&self) -> Option<&str> {
        self.0.split_once('/').map(|(_, resource)| resource)
    }
}

impl FromStr for JidText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (bare, resource) = text.split_once('/').map_or((text, None), |(bare, resource)| (bare, Some(resource)));
        let usable = bare.split_once('@').is_some_and(|(name, domain)| {
            !name.is_empty() && !domain.is_empty() && !domain.contains('@') && !bare.contains(char::is_whitespace)
        });
        if !usable || resource == Some("") || text.len() > Self::MAX_LEN || text.contains(char::is_control) {
            return Err(format!("{text:?} is not a JID; it looks like name@example.org"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for JidText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whose requests to become a contact are answered with yes: `name@domain`, or `*@domain` for everybody there. There is no
/// rule for everybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JidRule(String);

impl JidRule {
    /// The text as it was typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for JidRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is neither \"name@example.org\" nor \"*@example.org\"");
        let jid: JidText = text.parse().map_err(|_| wrong())?;
        let (name, domain) = jid.as_str().split_once('@').ok_or_else(wrong)?;
        let usable = jid.resource().is_none() && (name == "*" || !name.contains('*')) && !domain.contains('*');
        if usable { Ok(Self(jid.0)) } else { Err(wrong()) }
    }
}

macro_rules! deserialize_from_text {
    ($($name:ident),*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    )*};
}
deserialize_from_text!(HostPort, ExtraAddress, JidText, JidRule);

/// Reads an IP address to listen on; "localhost" is 127.0.0.1.
///
/// # Errors
/// The text is neither.
pub fn parse_bind(text: &str) -> Result<IpAddr, String> {
    if text.eq_ignore_ascii_case("localhost") {
        return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    bare.parse().map_err(|_| format!("{text:?} is not an IP address to listen on, such as 127.0.0.1, 0.0.0.0 or ::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_binary_and_decimal_units() {
        let size = |text: &str| text.parse::<ByteSize>().map(|s| s.0);
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("64 mb"), Ok(64_000_000));
        assert_eq!(size("512k"), Ok(512 << 10));
        assert_eq!(size("1.5GiB"), Ok(3 << 29));
        assert_eq!(size("17"), Ok(17));
        for wrong in ["", "MiB", "12 apples", "-1", "1.2.3M", "99999999999999999999", "20000000TiB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_shown_as_they_would_be_typed() {
        assert_eq!(ByteSize(64 << 20).to_string(), "64MiB");
        assert_eq!(ByteSize(1000).to_string(), "1000");
        assert_eq!(ByteSize(0).to_string(), "0");
    }

    #[test]
    fn servers_need_a_port_and_ipv6_brackets() {
        assert_eq!("[::1]:5222".parse(), Ok(HostPort { host: "::1".into(), port: 5222 }));
        assert_eq!("[::1]:5222".parse::<HostPort>().unwrap().to_string(), "[::1]:5222");
        assert_eq!("xmpp.example.org:5223".parse::<HostPort>().unwrap().host, "xmpp.example.org");
        for wrong in ["example.org", "::1:5222", "example.org:0", ":5222", "http://x:80", "a b:1"] {
            assert!(wrong.parse::<HostPort>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn jids_are_split_and_nonsense_is_refused() {
        let jid: JidText = "alice@example.org/box".parse().unwrap();
        assert_eq!((jid.bare(), jid.resource()), ("alice@example.org", Some("box")));
        for wrong in ["alice", "@example.org", "alice@", "a@b@c", "a b@c", "a@b/", "a@b/\u{7}"] {
            assert!(wrong.parse::<JidText>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_rule_is_a_person_or_a_domain_and_never_everybody() {
        assert_eq!("*@example.org".parse::<JidRule>().unwrap().as_str(), "*@example.org");
        assert!("bob@example.org".parse::<JidRule>().is_ok());
        for wrong in ["*", "*@*", "b*@example.org", "bob@*.org", "bob@example.org/phone", "example.org", ""] {
            assert!(wrong.parse::<JidRule>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn extra_addresses_may_bring_their_own_port() {
        assert_eq!("192.0.2.1".parse(), Ok(ExtraAddress { ip: "192.0.2.1".parse().unwrap(), port: None }));
        assert_eq!("[2001:db8::1]:7".parse::<ExtraAddress>().unwrap().port, Some(7));
        assert!("example.org:7".parse::<ExtraAddress>().is_err());
    }

    #[test]
    fn localhost_is_an_address_to_bind() {
        assert_eq!(parse_bind("localhost"), Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        assert_eq!(parse_bind("[::1]").map(|ip| ip.is_loopback()), Ok(true));
        assert!(parse_bind("example.org").is_err());
    }
}
