//! What earlier logins taught, from the file that outlives the process. A file that cannot be used costs a warning and
//! the memory, not the connection.

use std::path::PathBuf;

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
}

impl Facts {
    pub(super) const fn new(path: Option<PathBuf>) -> Self {
        Self { path, opened: None }
    }

    /// The strongest mechanism that this account has logged in with.
    pub(super) fn strongest_login(&mut self, account: &Account) -> Option<Mechanism> {
        let jid = bare(account)?;
        let name = self.with(|facts| facts.get(&jid, STRONGEST_LOGIN))??;
        Mechanism::named(&name)
    }

    /// This account has logged in: both sides have proved that they know the password, so nobody forged the offer.
    pub(super) fn logged_in(&mut self, account: &Account, mechanism: Mechanism) {
        let Some(jid) = bare(account) else { return };
        if self.strongest_login(account).is_none_or(|seen| seen < mechanism) {
            self.with(|facts| facts.set(&jid, STRONGEST_LOGIN, mechanism.name()));
        }
    }

    /// The user sets the account anew: its server may have changed.
    pub(super) fn forget_login(&mut self, account: &Account) {
        if let Some(jid) = bare(account) {
            self.with(|facts| facts.forget(&jid, STRONGEST_LOGIN));
        }
    }

    fn with<T>(&mut self, work: impl FnOnce(&AccountFacts) -> Result<T, StorageError>) -> Option<T> {
        let warn = |error: StorageError| log::warn!("what is known of earlier logins cannot be used: {error}");
        if self.opened.is_none() {
            self.opened = AccountFacts::open(&self.path.take()?).map_err(warn).ok();
        }
        work(self.opened.as_ref()?).map_err(warn).ok()
    }
}

fn bare(account: &Account) -> Option<String> {
    Some(account.jid.parse::<Jid>().ok()?.to_bare().to_string())
}
