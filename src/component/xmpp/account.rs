//! What a connection has to know of its account.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use jid::Jid;
use zeroize::Zeroizing;

use crate::proto::xmpp::dns::Endpoint;
use crate::proto::xmpp::sasl::Mechanism;
use crate::proto::xmpp::stream::Tls;

/// How long the steps may take. The defaults suit the Internet; tests shorten them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// All DNS look-ups of one kind together.
    pub look_up: Duration,
    /// One TCP connection.
    pub connect: Duration,
    /// TLS, login and bind together.
    pub login: Duration,
    /// Silence of the server before it is pinged.
    pub silence: Duration,
    /// Wait for the answer to a ping.
    pub answer: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            look_up: Duration::from_secs(15),
            connect: Duration::from_secs(10),
            login: Duration::from_secs(30),
            silence: Duration::from_secs(60),
            answer: Duration::from_secs(30),
        }
    }
}

/// The settings of an account.
#[derive(Clone)]
pub struct AccountOptions {
    /// The account. A resource in it is the one asked for.
    pub jid: Jid,
    /// Its password.
    pub password: Zeroizing<String>,
    /// `host:port` or `host` to connect to instead of looking the domain up.
    pub server: Option<String>,
    /// Where a server has sent us: connected to instead of everything else.
    pub first: Option<Endpoint>,
    /// Name servers to ask for SRV records instead of the system's.
    pub name_servers: Option<Vec<SocketAddr>>,
    /// How to encrypt. Without it: what the domain's SRV records say; with a fixed server direct TLS on the ports 5223
    /// and 443, STARTTLS on all others.
    pub tls: Option<Tls>,
    /// PEM file with the certificate authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Whether the password itself may be sent (inside TLS) to a server that offers nothing better.
    pub allow_plain: bool,
    /// The strongest mechanism that this account ever logged in with. A weaker one is refused, unless the server signs
    /// that it offers no better (XEP-0474).
    pub strongest_login: Option<Mechanism>,
    /// Types of channel binding that the server did not know at an earlier login, although it announced none. They are
    /// not tried again unless it announces some.
    pub unknown_bindings: Vec<&'static str>,
    /// The resource to ask for if the JID has none.
    pub resource: String,
    /// Time limits.
    pub timing: Timing,
}

impl AccountOptions {
    /// An account with default settings.
    pub fn new(jid: Jid, password: Zeroizing<String>, resource: String) -> Self {
        let timing = Timing::default();
        Self {
            jid,
            password,
            server: None,
            first: None,
            name_servers: None,
            tls: None,
            ca_file: None,
            allow_plain: false,
            strongest_login: None,
            unknown_bindings: Vec::new(),
            resource,
            timing,
        }
    }
}

impl fmt::Debug for AccountOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountOptions").field("jid", &self.jid).field("server", &self.server).finish_non_exhaustive()
    }
}
