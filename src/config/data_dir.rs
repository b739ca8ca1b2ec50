//! The data folder: one daemon at a time, and a note for clients how to reach it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use super::secret::{create_private_dir, leave_private};
use super::{Config, read};

/// Name of the lock's file in the data folder.
pub const LOCK_FILE: &str = "lock";
/// Name of the running daemon's note in the data folder.
pub const DAEMON_FILE: &str = "daemon.json";

/// Proof that this process alone uses the data folder. The system drops the lock with the process, however it ends.
#[derive(Debug)]
pub struct DataDirLock {
    _file: File,
}

impl DataDirLock {
    /// Does a daemon run on this data folder?
    #[must_use]
    pub fn is_held(data_dir: &Path) -> bool {
        let Ok(file) = File::open(data_dir.join(LOCK_FILE)) else { return false };
        // Shared, so that several who look do not take each other for a daemon.
        flock(&file, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK)
    }
}

impl Config {
    /// Makes the data folder (0700) if needed and takes it for this process.
    ///
    /// # Errors
    /// [`ConfigError::InUse`] if another daemon has it, [`ConfigError::Io`] if it cannot be made.
    pub fn lock_data_dir(&self) -> Result<DataDirLock, ConfigError> {
        create_private_dir(&self.data_dir)?;
        let path = self.data_dir.join(LOCK_FILE);
        let failed = |e| ConfigError::io("open", &path, e);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                // The number is a courtesy; without it the error still says enough.
                let _ = file.read_to_string(&mut pid);
                return Err(ConfigError::InUse { path: self.data_dir.clone(), pid: pid.trim().parse().ok() });
            }
            Err(e) => return Err(failed(e.into())),
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(DataDirLock { _file: file })
    }
}

/// How clients reach the daemon that runs on a data folder. Written when its interface listens, removed when it stops.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct DaemonFile {
    /// The daemon's process.
    pub pid: u32,
    /// Such as `http://127.0.0.1:5000`, without a path.
    pub api_url: String,
    /// File with the token to show, if one is needed.
    pub token_file: Option<PathBuf>,
}

impl DaemonFile {
    /// Writes the note, 0600.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, data_dir: &Path) -> Result<(), ConfigError> {
        let path = data_dir.join(DAEMON_FILE);
        let text = serde_json::to_vec_pretty(self).map_err(|e| ConfigError::io("write", &path, e.into()))?;
        // It is of no use after a power cut.
        leave_private(&path, &text)
    }

    /// Reads the note; `None` when no daemon left one, or an unreadable one.
    ///
    /// # Errors
    /// The file is there but may not be read.
    pub fn read(data_dir: &Path) -> Result<Option<Self>, ConfigError> {
        Ok(read(&data_dir.join(DAEMON_FILE))?.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Removes the note at the end; that it is gone already is fine.
    pub fn remove(data_dir: &Path) {
        if let Err(e) = std::fs::remove_file(data_dir.join(DAEMON_FILE)) {
            debug!("cannot remove {DAEMON_FILE}: {e}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;

    fn config(dir: &Path) -> Config {
        let overrides = Overrides { data_dir: Some(dir.join("data")), ..Overrides::default() };
        Config::from_text("", None, &overrides).unwrap()
    }

    #[test]
    fn a_second_daemon_on_the_same_folder_is_refused_and_told_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = config(dir.path()).lock_data_dir().unwrap();
        let error = config(dir.path()).lock_data_dir().unwrap_err();
        assert!(matches!(error, ConfigError::InUse { pid: Some(pid), .. } if pid == std::process::id()));
        assert!(DataDirLock::is_held(&dir.path().join("data")));
        drop(first);
        assert!(!DataDirLock::is_held(&dir.path().join("data")));
        assert!(config(dir.path()).lock_data_dir().is_ok());
    }

    #[test]
    fn the_daemons_note_round_trips() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(DaemonFile::read(dir.path()).unwrap(), None);
        let note = DaemonFile { pid: 7, api_url: "http://127.0.0.1:5000".into(), token_file: None };
        note.write(dir.path()).unwrap();
        assert_eq!(DaemonFile::read(dir.path()).unwrap(), Some(note));
        DaemonFile::remove(dir.path());
        assert_eq!(DaemonFile::read(dir.path()).unwrap(), None);
    }
}
