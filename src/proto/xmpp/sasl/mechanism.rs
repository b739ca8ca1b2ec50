//! The ways to log in, by strength, and what a login can be bound to.

use zeroize::Zeroizing;

/// The hash of a SCRAM mechanism, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HashKind {
    /// SHA-1 (RFC 5802).
    Sha1,
    /// SHA-256 (RFC 7677).
    Sha256,
    /// SHA-512 (draft-melnikov-scram-sha-512).
    Sha512,
}

/// A way to log in, weakest first: a login that is bound to its channel cannot be passed on by a machine in the middle
/// whatever its hash, and SHA-1 inside HMAC is not broken. So `-PLUS` comes before the hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mechanism {
    /// The password itself. Only inside verified TLS and only if the user allowed it.
    Plain,
    /// SCRAM.
    Scram(HashKind),
    /// SCRAM bound to the TLS channel below it.
    ScramPlus(HashKind),
}

impl Mechanism {
    /// All of them, weakest first.
    pub const ALL: [Self; 7] = [
        Self::Plain,
        Self::Scram(HashKind::Sha1),
        Self::Scram(HashKind::Sha256),
        Self::Scram(HashKind::Sha512),
        Self::ScramPlus(HashKind::Sha1),
        Self::ScramPlus(HashKind::Sha256),
        Self::ScramPlus(HashKind::Sha512),
    ];

    /// The registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Scram(HashKind::Sha1) => "SCRAM-SHA-1",
            Self::Scram(HashKind::Sha256) => "SCRAM-SHA-256",
            Self::Scram(HashKind::Sha512) => "SCRAM-SHA-512",
            Self::ScramPlus(HashKind::Sha1) => "SCRAM-SHA-1-PLUS",
            Self::ScramPlus(HashKind::Sha256) => "SCRAM-SHA-256-PLUS",
            Self::ScramPlus(HashKind::Sha512) => "SCRAM-SHA-512-PLUS",
        }
    }

    /// The mechanism with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name() == name)
    }

    /// Whether it is bound to the TLS channel.
    pub const fn is_bound(self) -> bool {
        matches!(self, Self::ScramPlus(_))
    }

    /// Its hash; PLAIN has none.
    pub const fn hash(self) -> Option<HashKind> {
        match self {
            Self::Plain => None,
            Self::Scram(hash) | Self::ScramPlus(hash) => Some(hash),
        }
    }
}

/// Whether, and by what, the exchange is bound to the TLS channel below it (RFC 5802 section 6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ChannelBinding {
    /// There is nothing to bind to, or nothing that both sides know (gs2 flag `n`).
    #[default]
    Unsupported,
    /// It could be done here, and the server seems not to do it: a server that does sees with this that its offer was
    /// changed on the way (gs2 flag `y`).
    NotOffered,
    /// `tls-exporter` (RFC 9266).
    Exporter([u8; 32]),
    /// `tls-server-end-point` (RFC 5929 section 4).
    EndPoint(Vec<u8>),
}

impl ChannelBinding {
    /// The names of all types that are known here. Not among them is `tls-unique`, which TLS 1.3 does not have (RFC 9266):
    /// ejabberd 23.01 offers mechanisms with binding and knows no other type, so it is used without.
    pub const KINDS: [&'static str; 2] = ["tls-exporter", "tls-server-end-point"];

    /// The name of its type, if it binds.
    pub const fn kind(&self) -> Option<&'static str> {
        match self {
            Self::Unsupported | Self::NotOffered => None,
            Self::Exporter(_) => Some("tls-exporter"),
            Self::EndPoint(_) => Some("tls-server-end-point"),
        }
    }

    /// The first part of the client's first message.
    pub(super) fn gs2_header(&self) -> String {
        match (self, self.kind()) {
            (_, Some(kind)) => format!("p={kind},,"),
            (Self::NotOffered, None) => "y,,".to_owned(),
            _ => "n,,".to_owned(),
        }
    }

    /// What the attribute `c` repeats: the header and the data of the channel.
    pub(super) fn repeated(&self) -> Zeroizing<Vec<u8>> {
        let data: &[u8] = match self {
            Self::Unsupported | Self::NotOffered => &[],
            Self::Exporter(data) => data,
            Self::EndPoint(data) => data,
        };
        Zeroizing::new([self.gs2_header().as_bytes(), data].concat())
    }
}
