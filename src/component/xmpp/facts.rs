//! What earlier logins taught, from the file that outlives the process. A file that cannot be used costs a warning and
//! the memory, not the connection.

use std::path::{Path, PathBuf};

use jid::Jid;

use crate::component::event::Account;
use crate::proto::xmpp::sasl::Mechanism;
use crate::storage::{AccountFacts, StorageError};

/// Key of the strongest mechanism that an account has logged in with.
const STRONGEST_LOGIN: &str = "strongest-login";

/// The facts about all accounts; opened when first asked.
#[derive(Debug)]
pub(super) struct Facts {
    path: Option<PathBuf>,
    opened: Option<AccountFacts>,
    /// Said that it cannot be used.
    warned: bool,
}

impl Facts {
    pub(super) const fn new(path: Option<PathBuf>) -> Self {
        Self { path, opened: None, warned: false }
    }

    /// The strongest mechanism that this account has logged in with.
    pub(super) fn strongest_login(&mut self, account: &Account) -> Option<Mechanism> {
        let jid = bare(&account.jid)?;
        let name = self.with(|facts| facts.get(&jid, STRONGEST_LOGIN))??;
        Mechanism::named(&name)
    }

    /// This account has logged in. With SCRAM both sides have proved that they know the password, so nobody forged the
    /// offer; PLAIN proves nothing, and is the weakest. `anew`: the user has just set the account, so what was known
    /// before does not count.
    pub(super) fn logged_in(&mut self, account: &Account, mechanism: Mechanism, anew: bool) {
        let Some(jid) = bare(&account.jid) else { return };
        if anew || self.strongest_login(account).is_none_or(|seen| seen < mechanism) {
            self.with(|facts| facts.set(&jid, STRONGEST_LOGIN, mechanism.name()));
        }
    }

    /// The user has set the account anew, or taken it away: its server may have changed.
    pub(super) fn forget_login(&mut self, account: &Account) {
        if let Some(jid) = bare(&account.jid) {
            self.with(|facts| facts.forget_all(&jid));
        }
    }

    /// What cannot be opened now is tried again at the next login; it is complained about once.
    fn with<T>(&mut self, work: impl FnOnce(&AccountFacts) -> Result<T, StorageError>) -> Option<T> {
        let path = self.path.as_ref()?;
        let opened = match self.opened.take() {
            Some(opened) => Ok(opened),
            None => AccountFacts::open(path),
        };
        match opened.and_then(|facts| work(self.opened.insert(facts))) {
            Ok(found) => {
                self.warned = false;
                Some(found)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.warned, true) {
                    log::warn!("what is known of earlier logins cannot be used: {error}");
                }
                None
            }
        }
    }
}

/// Forgets what was learned of the account with this JID, for whoever sets it anew, or takes it away, while no daemon
/// runs.
///
/// # Errors
/// The file cannot be used.
pub fn forget_logins(path: &Path, jid: &str) -> Result<(), StorageError> {
    match bare(jid) {
        Some(jid) if path.exists() => AccountFacts::open(path)?.forget_all(&jid),
        _ => Ok(()),
    }
}

fn bare(jid: &str) -> Option<String> {
    Some(jid.parse::<Jid>().ok()?.to_bare().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::xmpp::sasl::HashKind;

    const SHA_256: Mechanism = Mechanism::Scram(HashKind::Sha256);

    fn account(jid: &str) -> Account {
        Account {
            jid: jid.to_owned(),
            resource: String::new(),
            password: zeroize::Zeroizing::default(),
            server: None,
            direct_tls: None,
            ca_file: None,
            allow_plain: false,
            publish_original: false,
        }
    }

    #[test]
    fn a_file_that_could_not_be_opened_once_is_not_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("later");
        let mut facts = Facts::new(Some(folder.join("accounts.sqlite")));
        facts.logged_in(&account("a@x"), SHA_256, false);
        assert_eq!(facts.strongest_login(&account("a@x")), None);
        std::fs::create_dir(&folder).unwrap();
        facts.logged_in(&account("a@x"), SHA_256, false);
        assert_eq!(facts.strongest_login(&account("a@x")), Some(SHA_256));
    }
}
