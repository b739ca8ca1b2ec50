//! What a contact announces: shares, addresses, and the announcements that carry them.
//!
//! Plain data between the formats on the wire (`proto::xmpp`, later the local network) and the models that judge it
//! (`share`). Nothing here is believed yet: whoever fills a [`Share`] from outside text passes the name through
//! [`display_name`] and stays under the limits below; what may be connected to is decided in `share::trust`.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{InfoHash, is_unprintable};

/// Shares in one list that stands in XMPP items itself, or in one item of the original format.
pub const MAX_INLINE_SHARES: usize = 10_000;
/// Shares kept of one contact, all resources together, at most; users may want fewer.
pub const MAX_SHARES_PER_CONTACT: usize = 1_000_000;
/// Shares kept of all contacts together.
pub const MAX_SHARES: usize = 2_000_000;
/// Bytes of names kept of one contact, all resources together: far above what names that people give take.
pub const MAX_NAME_BYTES_PER_CONTACT: usize = 64 << 20;
/// Addresses of one contact, all resources together, that are used at a time, at most; users may want fewer.
pub const MAX_ADDRESSES_PER_CONTACT: usize = 32;
/// Resources kept of one contact.
pub const MAX_RESOURCES_PER_CONTACT: usize = 32;
/// Addresses kept of one resource.
pub const MAX_ADDRESSES_PER_RESOURCE: usize = 32;
/// Bytes (UTF-8) kept of a share's name.
pub const MAX_NAME_LEN: usize = 255;
/// Bytes kept of a short free text such as a software name.
pub const MAX_LABEL_LEN: usize = 64;

/// One announced torrent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share {
    /// The torrent.
    pub info_hash: InfoHash,
    /// Text to show; never a path.
    pub name: Arc<str>,
    /// Bytes of all files; unproven until the metadata is known.
    pub size: u64,
    /// Number of files; 0 when the announcement does not say.
    pub files: u32,
    /// The announcing side has every piece.
    pub complete: bool,
}

/// How an address came to be known to the side that announces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AddressKind {
    /// Named by the user in the configuration.
    Configured,
    /// A router forwards it.
    Mapped,
    /// Others saw it.
    Observed,
    /// It belongs to a network interface.
    Local,
    /// A relay forwards to the announcing side.
    Relay,
    /// The announcement does not say, or says something newer.
    Unknown,
}

/// An address somebody announces for BitTorrent connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// IP and port.
    pub socket: SocketAddr,
    /// Where it comes from.
    pub kind: AddressKind,
}

/// How one resource can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// Addresses, at most [`MAX_ADDRESSES_PER_RESOURCE`].
    pub addresses: Vec<Address>,
    /// IPv4 works on that side.
    pub ipv4: bool,
    /// IPv6 works on that side.
    pub ipv6: bool,
    /// Software and version, for people: `bitween 0.1.0`.
    pub software: String,
    /// Fingerprint of the certificate that side shows on encrypted links.
    pub certificate: Option<String>,
    /// The day on which that side was last there, as the Unix time of its beginning.
    pub seen: Option<u64>,
}

/// The entry of one resource in the account-wide list of the original format.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceEntry {
    /// XMPP resource.
    pub resource: String,
    /// Its shares.
    pub shares: Vec<Share>,
    /// Its addresses, without a kind.
    pub addresses: Vec<SocketAddr>,
}

/// A share list that is too long for XMPP, and is a torrent instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Catalog {
    /// The torrent with the list.
    pub info_hash: InfoHash,
    /// Its bytes.
    pub size: u64,
    /// Shares in it.
    pub count: u64,
}

/// One thing a contact (or another resource of the own account) announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Announcement {
    /// The account-wide list of the original format: replaces everything that format said of the account before.
    Account {
        /// One entry per resource.
        entries: Vec<ResourceEntry>,
        /// More was announced than the limits allow.
        truncated: bool,
    },
    /// The list of one resource in bitween's own format; an empty one means that nothing is shared any more.
    Shares {
        /// XMPP resource.
        resource: String,
        /// The list, whole.
        shares: Vec<Share>,
        /// More was announced than the limits allow, or parts of the list are still missing.
        truncated: bool,
    },
    /// The list of one resource, too long to stand here: it is to be fetched. What was known before counts until then.
    Catalog {
        /// XMPP resource.
        resource: String,
        /// The list.
        catalog: Catalog,
    },
    /// How one resource can be reached.
    Endpoint {
        /// XMPP resource.
        resource: String,
        /// Its addresses and software.
        endpoint: Endpoint,
    },
    /// The resource said goodbye: what it shared stands, but it is not there.
    Parted {
        /// XMPP resource.
        resource: String,
    },
    /// The resource took its own-format list away without replacement.
    Withdrawn {
        /// XMPP resource.
        resource: String,
    },
}

/// Makes foreign text fit to show: [unprintable](is_unprintable) characters go, white space becomes plain spaces, and what
/// is longer than `max_len` bytes is cut at a character.
#[must_use]
pub fn display_name(text: &str, max_len: usize) -> String {
    let mut name = String::with_capacity(text.len().min(max_len));
    for c in text.chars() {
        let c = if c.is_whitespace() { ' ' } else { c };
        if is_unprintable(c) {
            continue;
        }
        if name.len() + c.len_utf8() > max_len {
            break;
        }
        name.push(c);
    }
    name.truncate(name.trim_end().len());
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_what_could_deceive_a_reader() {
        assert_eq!(display_name("a\u{202E}gpj.exe", 255), "agpj.exe");
        assert_eq!(display_name("two\r\nlines\u{0}\u{1b}[31m", 255), "two  lines[31m");
        assert_eq!(display_name("zero\u{200b}width\u{2060} \u{ffff}\u{feff}", 255), "zerowidth");
        assert_eq!(display_name("Füße & 木 👩\u{200d}👧", 255), "Füße & 木 👩\u{200d}👧", "joiners make emoji");
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        assert_eq!(display_name("ééé", 5), "éé");
        assert_eq!(display_name(&"x".repeat(1000), MAX_NAME_LEN).len(), MAX_NAME_LEN);
    }
}
