//! From the configuration to each component's own small options. Nobody below sees the whole of it.

use std::sync::Arc;

use crate::component::bt::{BtOptions, Families};
use crate::component::event;
use crate::component::rpc::ServerOptions;
use crate::config::{self, Config, ConfigError, Secret, StorageChoice, TlsMode};
use crate::proto::http::Limits;
use crate::storage::{BackendChoice, default_file_windows, default_piece_buffer};

use super::remembered;

/// SQLite file with what is known of the torrents' pieces.
const RESUME_FILE: &str = "resume.sqlite";
/// SQLite file with those neighbours whom the user has accepted.
#[cfg(feature = "local")]
const NEIGHBORS_FILE: &str = "neighbors.sqlite";
/// SQLite file with the list of torrents.
pub(super) const LIST_FILE: &str = "torrents.sqlite";

/// The SQLite files of a data folder.
#[cfg(feature = "cli")]
pub(crate) fn databases(data_dir: &std::path::Path) -> Vec<(crate::storage::Database, std::path::PathBuf)> {
    use crate::storage::Database;
    let files = [
        (Database::Torrents, LIST_FILE),
        (Database::Resume, RESUME_FILE),
        #[cfg(feature = "xmpp")]
        (Database::Accounts, FACTS_FILE),
        #[cfg(feature = "local")]
        (Database::Neighbors, NEIGHBORS_FILE),
    ];
    files.into_iter().map(|(database, file)| (database, data_dir.join(file))).collect()
}

/// For the network thread.
pub(super) fn bittorrent(config: &Config) -> BtOptions {
    let section = &config.bittorrent;
    let wanted = |ip: &std::net::IpAddr| if ip.is_ipv4() { section.ipv4 } else { section.ipv6 };
    let defaults = BtOptions::default();
    let memory_limit = section.memory_limit.map_or(defaults.memory_limit, |limit| limit.0);
    BtOptions {
        bind: section.bind.iter().copied().filter(wanted).collect(),
        families: Families { v4: section.ipv4, v6: section.ipv6 },
        port: section.port,
        last_port: remembered::last_port(&config.data_dir),
        memory_limit,
        memory_patience: defaults.memory_patience,
        piece_buffer: section.piece_buffer.map_or_else(|| default_piece_buffer(memory_limit), |size| size.0),
        file_windows: default_file_windows(memory_limit),
        storage: match section.storage {
            StorageChoice::Auto => BackendChoice::Auto,
            StorageChoice::Mapped => BackendChoice::Mapped,
            StorageChoice::Positional => BackendChoice::Positional,
        },
        disk_threads: if section.disk_threads == 0 { defaults.disk_threads } else { section.disk_threads },
        state: Some(config.data_dir.join(RESUME_FILE)),
        max_connections: section.max_connections,
        max_peers: section.max_peers,
        max_peers_per_host: section.max_peers_per_host,
        upload_slots: section.upload_slots,
        max_requests: section.max_requests,
        allow_loopback_trackers: config.xmpp.allow_loopback_peers,
    }
}

/// For the JSON-RPC server. Reads the token, or makes it.
pub(super) fn rpc(config: &Config) -> Result<ServerOptions, ConfigError> {
    let section = &config.api;
    let token = section.token_file.as_deref().map(Secret::load_or_create_token).transpose()?;
    let body = usize::try_from(section.max_body.0).unwrap_or(usize::MAX);
    Ok(ServerOptions {
        allowed_hosts: section.allowed_hosts.clone(),
        token: token.map(|token| token.expose().to_owned()),
        limits: Limits { body, ..Limits::default() },
        max_connections: section.max_connections,
        workers: section.workers,
        ..ServerOptions::new(section.address())
    })
}

/// For the XMPP thread; `None` without a password.
pub(super) fn account(account: &config::Account, config: &Config) -> Result<Option<Arc<event::Account>>, ConfigError> {
    let Some(password) = &account.password else { return Ok(None) };
    let resource = match account.jid.resource() {
        Some(resource) => resource.to_owned(),
        None => remembered::resource(&config.data_dir)?,
    };
    Ok(Some(Arc::new(event::Account {
        jid: account.jid.to_string(),
        resource,
        password: password.expose().to_owned().into(),
        server: account.server.as_ref().map(ToString::to_string),
        direct_tls: account.tls.map(|tls| tls == TlsMode::Direct),
        ca_file: account.ca_file.clone(),
        allow_plain: account.allow_plain,
        publish_original: account.publish_original,
        accept_from: account.accept_from.iter().map(|rule| rule.as_str().to_owned()).collect(),
        stun: account.stun,
    })))
}

/// What was learned of accounts.
#[cfg(feature = "xmpp")]
const FACTS_FILE: &str = "accounts.sqlite";

#[cfg(feature = "xmpp")]
pub(super) fn facts_file(config: &Config) -> std::path::PathBuf {
    config.data_dir.join(FACTS_FILE)
}

/// For the thread of an account: everything but the account.
#[cfg(feature = "xmpp")]
pub(super) fn xmpp(config: &Config) -> crate::component::xmpp::XmppThreadOptions {
    crate::component::xmpp::XmppThreadOptions {
        key: crate::types::AccountKey::FIRST,
        account: None,
        facts: Some(facts_file(config)),
        rules: crate::proto::xmpp::complaints::AddressRules {
            loopback: config.xmpp.allow_loopback_peers,
            low_ports: config.xmpp.allow_privileged_ports,
        },
        catalog: None,
    }
}

/// For the thread of the catalogs.
#[cfg(feature = "xmpp")]
pub(super) fn catalogs(config: &Config) -> crate::component::catalogs::CatalogOptions {
    crate::component::catalogs::CatalogOptions::new(config.data_dir.join("catalog"))
}

/// For the thread of the local network; `None` if that is switched off.
#[cfg(feature = "local")]
pub(super) fn local(config: &Config) -> Result<Option<crate::component::local::LocalOptions>, String> {
    use crate::config::LocalMode;
    let section = &config.local;
    if section.mode == LocalMode::Off {
        return Ok(None);
    }
    Ok(Some(crate::component::local::LocalOptions {
        open: section.mode == LocalMode::Open,
        name: section.name.clone(),
        port: section.port,
        last_port: remembered::last_local_port(&config.data_dir),
        neighbors: section.neighbors.iter().map(ToString::to_string).collect(),
        loopback_only: section.loopback_only,
        seed: remembered::local_seed(&config.data_dir)?,
        accepted: config.data_dir.join(NEIGHBORS_FILE),
        catalog: None,
    }))
}

/// For the thread that knows all contacts.
#[cfg(feature = "xmpp")]
pub(super) fn people(config: &Config) -> crate::component::people::PeopleOptions {
    use crate::share::{AddressOptions, ContactLimits, ExtraAddress};
    let section = &config.xmpp;
    let extra = section.extra_addresses.iter().map(|address| ExtraAddress { ip: address.ip, port: address.port });
    crate::component::people::PeopleOptions {
        addresses: AddressOptions {
            ipv4: config.bittorrent.ipv4,
            ipv6: config.bittorrent.ipv6,
            loopback: section.allow_loopback_peers,
            extra: extra.collect(),
        },
        allow_loopback: section.allow_loopback_peers,
        allow_low_ports: section.allow_privileged_ports,
        limits: ContactLimits { shares: section.max_shares_per_contact, addresses: section.max_addresses_per_contact },
        facts: Some(facts_file(config)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Overrides;

    fn config(dir: &Path, text: &str) -> Config {
        Config::from_text(text, None, &Overrides { data_dir: Some(dir.to_owned()), ..Overrides::default() }).unwrap()
    }

    #[test]
    fn the_engine_gets_what_the_file_says_and_the_port_of_the_last_run() {
        let dir = tempfile::tempdir().unwrap();
        remembered::keep_port(dir.path(), 7000);
        let options =
            bittorrent(&config(dir.path(), "[bittorrent]\nipv6 = false\nmax_requests = 9\nstorage = 'mapped'"));
        assert_eq!((options.port, options.last_port, options.max_requests), (0, 7000, 9));
        assert!(options.bind.iter().all(std::net::IpAddr::is_ipv4) && !options.bind.is_empty());
        assert_eq!(options.families, Families { v4: true, v6: false });
        assert!(options.disk_threads > 0);
        assert_eq!(options.storage, BackendChoice::Mapped);
        assert_eq!(options.state, Some(dir.path().join("resume.sqlite")));
    }

    #[test]
    fn the_piece_buffer_follows_the_memory_limit_unless_it_is_set() {
        let dir = tempfile::tempdir().unwrap();
        let sizes = |text| {
            let options = bittorrent(&config(dir.path(), text));
            (options.memory_limit, options.piece_buffer)
        };
        assert_eq!(sizes("[bittorrent]\nmemory_limit = '16MiB'"), (16 << 20, 8 << 20));
        assert_eq!(sizes("[bittorrent]\nmemory_limit = '1GiB'"), (1 << 30, 64 << 20));
        assert_eq!(sizes("[bittorrent]\nmemory_limit = '1GiB'\npiece_buffer = '500MiB'"), (1 << 30, 500 << 20));
    }

    #[test]
    fn an_account_without_a_resource_gets_one_that_stays() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path(), "[xmpp]\njid = 'a@b'\npassword = 'x'\ntls = 'direct'\nallow_plain = true");
        let make = || account(&config.accounts().unwrap()[0], &config).unwrap().unwrap();
        let first = make();
        assert_eq!((first.jid.as_str(), first.direct_tls, first.allow_plain), ("a@b", Some(true), true));
        assert!(first.resource.starts_with("bitween-"));
        assert_eq!(first.resource, make().resource);
    }

    #[cfg(feature = "xmpp")]
    #[test]
    fn what_is_kept_of_contacts_has_the_limits_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let text = "[xmpp]\nmax_shares_per_contact = 7\nmax_addresses_per_contact = 3";
        let limits = people(&config(dir.path(), text)).limits;
        assert_eq!((limits.shares, limits.addresses), (7, 3));
    }

    #[test]
    fn the_token_is_made_when_its_file_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let text = format!("[api]\ntoken_file = '{}'\nmax_body = '2MiB'", path.display());
        let options = rpc(&config(dir.path(), &text)).unwrap();
        assert_eq!(options.token.unwrap(), std::fs::read_to_string(path).unwrap().trim());
        assert_eq!(options.limits.body, 2 << 20);
    }
}
