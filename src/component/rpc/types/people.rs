//! What the methods answer of people: contacts, own accounts, and this node as its neighbours see it.

use serde::{Deserialize, Serialize};

use super::Why;

/// `xmpp.contacts`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Contacts {
    /// Sorted by JID.
    pub contacts: Vec<Contact>,
}

/// One contact, or somebody who wants to become one.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Contact {
    /// Bare JID.
    pub jid: String,
    /// Name in the roster.
    pub name: Option<String>,
    /// "both", "to", "from", "none" (RFC 6121 section 2.1.2.5).
    pub subscription: String,
    /// Did we ask and get no answer yet?
    pub asked: bool,
    /// Do they ask for our consent (`xmpp.accept_contact`)?
    pub asks: bool,
    /// Is a resource online?
    pub online: bool,
    /// Resources that are online.
    pub resources: Vec<String>,
    /// Number of shares known of them.
    pub shares: u64,
    /// Own accounts that know them: bare JIDs.
    pub accounts: Vec<String>,
    /// Groups of the roster.
    pub groups: Vec<String>,
    /// What their resources that are online run, each once: software and version.
    pub software: Vec<String>,
    /// Where those say they can be reached: "ip:port", each once.
    pub addresses: Vec<String>,
    /// IPv4 works there.
    pub ipv4: bool,
    /// IPv6 works there.
    pub ipv6: bool,
    /// Are they blocked? Then nothing else of them is known.
    pub blocked: bool,
    /// Known from the local network: the JID is `user@machine.local`, and nobody vouches for it but its certificate.
    pub neighbor: bool,
    /// SHA-256 of a neighbour's certificate.
    pub fingerprint: Option<String>,
    /// Where a neighbour is, while there is a stream with it: "ip:port".
    pub address: Option<String>,
    /// What is wrong with a neighbour, in one sentence.
    pub problem: Option<String>,
    /// Why nothing can be fetched from them although they are online, as far as is known.
    pub why: Option<Why>,
}

/// State of the XMPP connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AccountState {
    /// There is no account.
    #[default]
    None,
    /// On the way.
    Connecting,
    /// Logged in.
    Online,
    /// Lost; it is tried again by itself.
    Offline,
    /// Refused (wrong password, bad certificate, ...); `error` says what to mend.
    Failed,
    /// There is an account but no password.
    #[serde(rename = "no-password")]
    NoPassword,
}

/// `xmpp.account`. Never holds the password.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Account {
    /// The JID as configured; absent without an account.
    pub jid: Option<String>,
    /// The resource in use.
    pub resource: Option<String>,
    /// "config" or "stored" (`bitween account set`).
    pub source: Option<String>,
    /// Is a password known?
    pub has_password: bool,
    /// Server instead of SRV look-ups.
    pub server: Option<String>,
    /// State of the connection.
    pub state: AccountState,
    /// What is wrong, in one sentence.
    pub error: Option<String>,
    /// What accounts used before have announced and still stands on their servers, one sentence each.
    pub remains: Vec<String>,
}

/// `xmpp.accounts`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Accounts {
    /// In the order of the configuration; stored ones that it does not name come last.
    pub accounts: Vec<Account>,
}

/// This node in the local network.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Local {
    /// What neighbours see it as: `user@machine.local`.
    pub name: String,
    /// TCP port for their streams.
    pub port: u16,
    /// SHA-256 of its certificate.
    pub fingerprint: String,
}
