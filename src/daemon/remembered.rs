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
/// Beginning of an invented resource.
const RESOURCE_PREFIX: &str = "bitween-";

/// The port of the last run; 0 if there was none.
pub(super) fn last_port(data_dir: &Path) -> u16 {
    line(data_dir, PORT_FILE).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Remembers the port for the next run. That it cannot be written is worth a warning only.
pub(super) fn keep_port(data_dir: &Path, port: u16) {
    if last_port(data_dir) == port {
        return;
    }
    if let Err(error) = write_private(&data_dir.join(PORT_FILE), format!("{port}\n").as_bytes()) {
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
