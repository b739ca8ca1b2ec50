//! Small things that must be the same after a restart: the BitTorrent port and the XMPP resource.
//!
//! One line each in a file of its own in the data folder, so that losing one costs nothing else. Contacts keep the port
//! in their lists, and a resource that changed at each start would leave entries of the old one on the server.

use std::path::Path;

use crate::config::{ConfigError, write_private};

/// File with the port of the last run.
const PORT_FILE: &str = "port";
/// File with the resource of an account that names none.
const RESOURCE_FILE: &str = "resource";
/// File with the port of the last run for neighbours.
#[cfg(feature = "local")]
const LOCAL_PORT_FILE: &str = "local-port";
/// File with the key that neighbours know this node by.
#[cfg(feature = "local")]
const LOCAL_KEY_FILE: &str = "local-key.pem";
/// Beginning of an invented resource.
const RESOURCE_PREFIX: &str = "bitween-";

/// The port of the last run; 0 if there was none.
pub(crate) fn last_port(data_dir: &Path) -> u16 {
    port(data_dir, PORT_FILE)
}

/// Remembers the port for the next run. That it cannot be written is worth a warning only.
pub(super) fn keep_port(data_dir: &Path, port: u16) {
    keep(data_dir, PORT_FILE, port);
}

/// The port for neighbours of the last run; 0 if there was none.
#[cfg(feature = "local")]
pub(super) fn last_local_port(data_dir: &Path) -> u16 {
    port(data_dir, LOCAL_PORT_FILE)
}

/// Remembers the port for neighbours.
#[cfg(feature = "local")]
pub(super) fn keep_local_port(data_dir: &Path, port: u16) {
    keep(data_dir, LOCAL_PORT_FILE, port);
}

/// The secret of this node's key for neighbours, made at the first call. One that cannot be read is not replaced: with
/// another one no neighbour would know this node any more.
#[cfg(feature = "local")]
pub(super) fn local_seed(data_dir: &Path) -> Result<[u8; 32], String> {
    use crate::proto::x509::self_signed;
    let path = data_dir.join(LOCAL_KEY_FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => self_signed::from_pem(&text).ok_or_else(|| {
            let path = path.display();
            format!(
                "{path} is no key of this program; without the file a new one is made, and neighbours have to accept it"
            )
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut seed = [0; 32];
            getrandom::fill(&mut seed).map_err(|error| format!("no randomness: {error}"))?;
            write_private(&path, self_signed::to_pem(&seed).as_bytes()).map_err(|error| error.to_string())?;
            Ok(seed)
        }
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

fn port(data_dir: &Path, file: &str) -> u16 {
    line(data_dir, file).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn keep(data_dir: &Path, file: &str, number: u16) {
    if port(data_dir, file) == number {
        return;
    }
    if let Err(error) = write_private(&data_dir.join(file), format!("{number}\n").as_bytes()) {
        log::warn!("the next start may use another port: {error}");
    }
}

/// The resource for an account that names none, invented at the first call.
pub(super) fn resource(data_dir: &Path) -> Result<String, ConfigError> {
    let usable = |text: &String| {
        text.strip_prefix(RESOURCE_PREFIX)
            .is_some_and(|rest| !rest.is_empty() && rest.len() <= 32 && rest.bytes().all(|b| b.is_ascii_alphanumeric()))
    };
    if let Some(known) = line(data_dir, RESOURCE_FILE).filter(usable) {
        return Ok(known);
    }
    let fresh = format!("{RESOURCE_PREFIX}{:08x}", fastrand::u32(..));
    write_private(&data_dir.join(RESOURCE_FILE), format!("{fresh}\n").as_bytes())?;
    Ok(fresh)
}

fn line(data_dir: &Path, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(data_dir.join(name)).ok()?;
    text.lines().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_survives_and_a_damaged_note_means_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(last_port(dir.path()), 0);
        keep_port(dir.path(), 6881);
        assert_eq!(last_port(dir.path()), 6881);
        std::fs::write(dir.path().join(PORT_FILE), "many").unwrap();
        assert_eq!(last_port(dir.path()), 0);
    }

    #[cfg(feature = "local")]
    #[test]
    fn the_key_for_neighbours_is_made_once_and_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let first = local_seed(dir.path()).unwrap();
        assert_eq!(local_seed(dir.path()), Ok(first));
        std::fs::write(dir.path().join(LOCAL_KEY_FILE), "damaged").unwrap();
        assert!(local_seed(dir.path()).unwrap_err().contains("local-key.pem is no key"));
    }

    #[test]
    fn a_resource_is_invented_once() {
        let dir = tempfile::tempdir().unwrap();
        let first = resource(dir.path()).unwrap();
        assert!(first.starts_with("bitween-") && first.len() == 16, "{first}");
        assert_eq!(resource(dir.path()).unwrap(), first);
        std::fs::write(dir.path().join(RESOURCE_FILE), "a/b\n").unwrap();
        assert_ne!(resource(dir.path()).unwrap(), "a/b");
    }
}
