//! Secrets: kept out of logs and errors, wiped after use, read from and written to private files.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use super::error::ConfigError;
use crate::folders;

/// Environment variable that holds the account's password; stronger than every file.
pub const PASSWORD_VARIABLE: &str = "BITWEEN_XMPP_PASSWORD";

/// Largest secret file that is read, in bytes; a longer one is surely the wrong file.
const MAX_SECRET_FILE: u64 = 64 * 1024;

/// A password or token. Wiped when dropped; `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself; never hand it to a log or an error.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The first line of a file, without its line end.
    ///
    /// # Errors
    /// The file cannot be read, is over 64 KiB or empty.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let failed = |e| ConfigError::io("read", path, e);
        if fs::metadata(path).map_err(failed)?.len() > MAX_SECRET_FILE {
            return Err(failed(std::io::Error::other("it is too large for a password or token")));
        }
        let text = Zeroizing::new(fs::read_to_string(path).map_err(failed)?);
        match text.lines().next() {
            Some(line) if !line.is_empty() => Ok(Self::new(line.to_owned())),
            _ => Err(failed(std::io::Error::other("its first line is empty"))),
        }
    }

    /// The password from [`PASSWORD_VARIABLE`], if that is set and not empty.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        std::env::var(PASSWORD_VARIABLE).ok().filter(|text| !text.is_empty()).map(Self::new)
    }

    /// A fresh token of 256 random bits, in hex.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn random_token() -> Result<Self, std::io::Error> {
        let mut bytes = Zeroizing::new([0_u8; 32]);
        getrandom::fill(bytes.as_mut_slice()).map_err(std::io::Error::other)?;
        Ok(Self::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// Reads the token in `path`, or makes one and stores it there, 0600.
    ///
    /// # Errors
    /// The file can be neither read nor written.
    pub fn load_or_create_token(path: &Path) -> Result<Self, ConfigError> {
        if path.exists() {
            return Self::from_file(path);
        }
        let token = Self::random_token().map_err(|e| ConfigError::io("make a token for", path, e))?;
        write_private(path, format!("{}\n", token.expose()).as_bytes())?;
        Ok(token)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// Writes a file that only its owner may read (0600), making its folder (0700) when needed.
///
/// Atomic: the old content stays until the new one is safely on disk.
///
/// # Errors
/// [`ConfigError::Io`] naming the file.
pub fn write_private(path: &Path, content: &[u8]) -> Result<(), ConfigError> {
    replace(path, content, true)
}

/// As [`write_private`], without waiting for the disk: for what need not survive a power cut.
///
/// # Errors
/// The folder cannot be made or the file not be written.
pub(super) fn leave_private(path: &Path, content: &[u8]) -> Result<(), ConfigError> {
    replace(path, content, false)
}

fn replace(path: &Path, content: &[u8], durable: bool) -> Result<(), ConfigError> {
    let failed = |e| ConfigError::io("write", path, e);
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    create_private_dir(folder)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = folder.join(name);
    // Left over from a crash; it must not keep its permissions.
    match fs::remove_file(&beside) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(e)),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).map_err(failed)?;
    file.write_all(content).map_err(failed)?;
    if durable {
        file.sync_all().map_err(failed)?;
    }
    fs::rename(&beside, path).map_err(failed)?;
    if durable {
        fs::File::open(folder).and_then(|dir| dir.sync_all()).map_err(failed)?;
    }
    Ok(())
}

/// Makes a folder that only its owner may enter; one that is there keeps its permissions.
pub fn create_private_dir(path: &Path) -> Result<(), ConfigError> {
    folders::create_private_dir(path).map_err(|e| ConfigError::io("create", path, e))
}

/// May group or others read the file? `false` when it cannot be told.
pub(super) fn is_readable_by_others(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o044 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_written_for_the_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep").join("token");
        write_private(&path, b"one").unwrap();
        write_private(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(!is_readable_by_others(&path));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(is_readable_by_others(&path));
    }

    #[test]
    fn a_secret_never_shows_in_debug_output() {
        assert_eq!(format!("{:?}", Secret::new("hunter2".into())), "Secret(..)");
    }

    #[test]
    fn only_the_first_line_counts_and_empty_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pw");
        fs::write(&path, "p w \r\nrest").unwrap();
        assert_eq!(Secret::from_file(&path).unwrap().expose(), "p w ");
        fs::write(&path, "\n").unwrap();
        assert!(Secret::from_file(&path).unwrap_err().to_string().contains("empty"));
    }

    #[test]
    fn a_token_is_made_once_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let made = Secret::load_or_create_token(&path).unwrap();
        assert_eq!(made.expose().len(), 64);
        assert!(made == Secret::load_or_create_token(&path).unwrap());
    }
}
