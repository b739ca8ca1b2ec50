//! The sections of the configuration file, key by key, with their defaults.
//!
//! A key here must stand in `bitween.example.toml` too; a test compares them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, de};

use super::secret::Secret;
use super::values::{ByteSize, ExtraAddress, HostPort, JidRule, JidText, parse_bind};
use crate::types::{MAX_ADDRESSES_PER_CONTACT, MAX_SHARES_PER_CONTACT, MIN_MEMORY_LIMIT};

/// Shares remembered per contact unless the file says something else: some 35 MiB of memory.
const DEFAULT_SHARES_PER_CONTACT: usize = 250_000;
const _: () = assert!(DEFAULT_SHARES_PER_CONTACT <= MAX_SHARES_PER_CONTACT);

/// `[log]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LogConfig {
    /// Filter such as "info" or "info,bitween::reactor=debug".
    pub level: crate::logging::Filter,
    /// JSON lines instead of text.
    pub json: bool,
}

/// What is done with neighbours in the local network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LocalMode {
    /// They are shown; contacts are those whom the user has accepted.
    #[default]
    Known,
    /// Everybody in the network is a contact.
    Open,
    /// Nobody is looked for and nobody can find this node.
    Off,
}

/// The local network: the keys at the top of the file that begin with `local`.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct LocalConfig {
    /// `local`.
    pub mode: LocalMode,
    /// `local_name`: what this node is called, `user` or `user@machine`; `None` = what the system says.
    pub name: Option<String>,
    /// `local_port`: TCP port for neighbours' streams; 0 = any, kept over restarts when free.
    pub port: u16,
    /// `local_neighbors`: neighbours that mDNS does not find.
    pub neighbors: Vec<HostPort>,
    /// Keep to this machine: no mDNS, and nobody else can call. Not in the file; for whoever embeds several nodes.
    pub loopback_only: bool,
}

/// How the XMPP stream gets its TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// Plain connection that is upgraded (RFC 6120 section 5).
    Starttls,
    /// TLS from the first byte (XEP-0368).
    Direct,
}

/// `[xmpp]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct XmppConfig {
    /// The account; `None` = no XMPP unless `account.toml` has one.
    pub jid: Option<JidText>,
    /// Its password in plain sight; a file or the environment is better.
    pub password: Option<Secret>,
    /// File whose first line is the password.
    pub password_file: Option<PathBuf>,
    /// Server instead of SRV look-ups.
    pub server: Option<HostPort>,
    /// `None` = direct TLS first, then STARTTLS, as the SRV records say.
    pub tls: Option<TlsMode>,
    /// PEM file with the roots to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// May the password go over verified TLS in plain when the server offers nothing better?
    pub allow_plain: bool,
    /// Also speak the original program's node.
    pub publish_original: bool,
    /// Whose requests to become a contact are answered with yes, without asking the user.
    pub accept_from: Vec<JidRule>,
    /// Ask the STUN servers that the account's server names for the own address.
    pub stun: bool,
    /// Use contacts' loopback addresses, publish own ones, and ask trackers on this machine that a torrent names.
    pub allow_loopback_peers: bool,
    /// Use contacts' addresses with ports below 1024.
    pub allow_privileged_ports: bool,
    /// Own addresses to publish in addition.
    pub extra_addresses: Vec<ExtraAddress>,
    /// Shares remembered per contact, at most [`MAX_SHARES_PER_CONTACT`].
    pub max_shares_per_contact: usize,
    /// Addresses used per contact, at most [`MAX_ADDRESSES_PER_CONTACT`].
    pub max_addresses_per_contact: usize,
}

impl Default for XmppConfig {
    fn default() -> Self {
        Self {
            jid: None,
            password: None,
            password_file: None,
            server: None,
            tls: None,
            ca_file: None,
            allow_plain: false,
            publish_original: true,
            accept_from: Vec::new(),
            stun: true,
            allow_loopback_peers: false,
            allow_privileged_ports: false,
            extra_addresses: Vec::new(),
            max_shares_per_contact: DEFAULT_SHARES_PER_CONTACT,
            max_addresses_per_contact: MAX_ADDRESSES_PER_CONTACT,
        }
    }
}

/// How files are read and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StorageChoice {
    /// Mapped where the file system can, positional elsewhere.
    #[default]
    Auto,
    /// Memory-mapped windows.
    Mapped,
    /// `pread` and `pwrite`.
    Positional,
}

/// `[bittorrent]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct BittorrentConfig {
    /// TCP and UDP port; 0 = any, kept over restarts when free.
    pub port: u16,
    /// Addresses to listen on.
    #[serde(deserialize_with = "bind_list")]
    pub bind: Vec<IpAddr>,
    /// Connect to and publish IPv4 addresses.
    pub ipv4: bool,
    /// Connect to and publish IPv6 addresses.
    pub ipv6: bool,
    /// Bytes that all buffers take together at most, at least [`MIN_MEMORY_LIMIT`]; `None` = a quarter of the machine's
    /// memory, at most 256 MiB.
    #[serde(deserialize_with = "memory_limit")]
    pub memory_limit: Option<ByteSize>,
    /// Bytes of pieces held in memory at most; `None` = half of `memory_limit`, at most 64 MiB.
    pub piece_buffer: Option<ByteSize>,
    /// Storage back end.
    pub storage: StorageChoice,
    /// Threads for hashing and disks; 0 = one per core, at most four.
    pub disk_threads: usize,
    /// Connected peers per torrent at most.
    pub max_peers: usize,
    /// Connected peers per torrent from one IPv4 address or one IPv6 /64 at most; loopback and contacts excepted.
    pub max_peers_per_host: usize,
    /// Connected peers of all torrents together at most.
    pub max_connections: usize,
    /// Peers served at the same time, per torrent.
    pub upload_slots: usize,
    /// Block requests in flight to one peer at most.
    pub max_requests: u32,
}

impl Default for BittorrentConfig {
    fn default() -> Self {
        Self {
            port: 0,
            bind: vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED)],
            ipv4: true,
            ipv6: true,
            memory_limit: None,
            piece_buffer: None,
            storage: StorageChoice::Auto,
            disk_threads: 0,
            max_peers: 60,
            max_peers_per_host: 8,
            max_connections: 400,
            upload_slots: 8,
            max_requests: 512,
        }
    }
}

/// `[api]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ApiConfig {
    /// Address to listen on.
    #[serde(deserialize_with = "bind_address")]
    pub bind: IpAddr,
    /// TCP port; 0 = any (the daemon notes it in its data folder).
    pub port: u16,
    /// File with the token that callers must show; needed when `bind` is not a loopback address. Made when missing.
    pub token_file: Option<PathBuf>,
    /// Further names this interface is called by.
    pub allowed_hosts: Vec<String>,
    /// Connections at the same time.
    pub max_connections: usize,
    /// Threads that answer calls.
    pub workers: usize,
    /// Longest request body.
    pub max_body: ByteSize,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 5000,
            token_file: None,
            allowed_hosts: Vec::new(),
            max_connections: 64,
            workers: 4,
            // A torrent file of 100,000 files, in base64.
            max_body: ByteSize(16 << 20),
        }
    }
}

impl ApiConfig {
    /// Address and port to listen on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.bind, self.port)
    }
}

fn memory_limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ByteSize>, D::Error> {
    let limit = ByteSize::deserialize(deserializer)?;
    if limit.0 < MIN_MEMORY_LIMIT {
        let least = ByteSize(MIN_MEMORY_LIMIT);
        return Err(de::Error::custom(format_args!("{limit} is too small to work with; the least is \"{least}\"")));
    }
    Ok(Some(limit))
}

fn bind_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IpAddr, D::Error> {
    parse_bind(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

fn bind_list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpAddr>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| parse_bind(text).map_err(de::Error::custom)).collect()
}
