//! The sentences, and the codes for programs.

use std::net::SocketAddr;

/// Why something cannot be fetched. The later ones are nearer to success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The server says that it is not there.
    Offline,
    /// It has said goodbye.
    Left,
    /// It publishes no address.
    NoAddress,
    /// It has one version of IP, this node has the other.
    NoCommonFamily,
    /// Only addresses of its own machine.
    Loopback,
    /// Only such that are no machine's.
    Unusable,
    /// Somebody else lives there who is blocked.
    Blocked,
    /// A port that is not connected to.
    LowPort,
    /// Only private addresses of another network.
    PrivateElsewhere,
    /// No network leads there.
    NoRoute,
    /// No answer from a private address of a network that this machine is in.
    NoAnswerNearby,
    /// No answer.
    NoAnswer,
    /// Nobody listens there.
    Refused,
    /// Somebody else answers.
    NotBitTorrent,
    /// It answers, but not for this torrent.
    NotServed,
}

/// Why something cannot be fetched, for programs and for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// The reason.
    pub reason: Reason,
    /// One sentence with the contact, the address, the likely cause and what can be done.
    pub text: String,
}

impl Why {
    pub(super) fn new(reason: Reason, jid: &str, addr: Option<SocketAddr>) -> Self {
        let (_, sentence) = reason.entry();
        let (family, other) = match addr {
            Some(SocketAddr::V4(_)) => ("IPv4", "IPv6"),
            _ => ("IPv6", "IPv4"),
        };
        let addr = addr.map(|addr| addr.to_string()).unwrap_or_default();
        let mut text = String::with_capacity(sentence.len() + jid.len() + addr.len());
        for part in sentence.split(['{', '}']) {
            text.push_str(match part {
                "jid" => jid,
                "addr" => &addr,
                "family" => family,
                "other" => other,
                words => words,
            });
        }
        Self { reason, text }
    }
}

impl Reason {
    /// The reason for programs: stays the same from version to version.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.entry().0
    }

    /// The code, and the sentence with gaps. A JID has no braces that could be taken for one: it is put in after they
    /// were found.
    const fn entry(self) -> (&'static str, &'static str) {
        match self {
            Self::Offline => ("offline", "{jid} is not online"),
            Self::Left => ("left", "{jid} has stopped sharing until bitween is started there again"),
            Self::NoAddress => ("no_address", "{jid} publishes no address: `xmpp.extra_addresses` there can name one"),
            Self::NoCommonFamily => (
                "no_common_family",
                "{jid} publishes only {family} addresses, this machine has none: it takes {family} here, or {other} there",
            ),
            Self::Loopback => ("loopback", "{addr}, which {jid} publishes, leads no further than to the same machine"),
            Self::Unusable => ("unusable_address", "{addr}, which {jid} publishes, is no address of a machine"),
            Self::Blocked => {
                ("blocked", "{addr}, which {jid} publishes, is also where somebody is who is blocked here")
            }
            Self::LowPort => (
                "low_port",
                "{jid} listens at {addr}: ports below 1024 are connected to only with `xmpp.allow_privileged_ports`",
            ),
            Self::PrivateElsewhere => (
                "private_address",
                "of what {jid} publishes nothing can be used from here, {addr} is of another private network: the router \
                 there has to forward the port, `xmpp.extra_addresses` to name it",
            ),
            Self::NoRoute => {
                ("no_route", "no network leads to {addr} of {jid}: this machine's {family} connection does not work")
            }
            Self::NoAnswerNearby => (
                "no_answer_nearby",
                "nobody answers at {addr} of {jid}: a firewall there, or another network that only looks like this one",
            ),
            Self::NoAnswer => {
                ("no_answer", "nobody answers at {addr} of {jid}: the router there probably does not forward the port")
            }
            Self::Refused => (
                "refused",
                "{addr} of {jid} refuses: bitween does not listen there any more, or a firewall is in the way",
            ),
            Self::NotBitTorrent => (
                "not_bittorrent",
                "what answers at {addr} of {jid} does not speak BitTorrent: the wrong port may be forwarded there",
            ),
            Self::NotServed => (
                "not_served",
                "{jid} answers at {addr}, but does not serve this now: busy, paused, checking its files, or not shared any more",
            ),
        }
    }
}
