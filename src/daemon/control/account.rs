//! Calls about the XMPP accounts. The file in the data folder and the connections always end up with the same ones.

use std::sync::{MutexGuard, PoisonError};

use crate::bus::Reply;
use crate::component::ask::ask;
use crate::component::event::{self, ContactCommand, Event};
use crate::component::rpc::types::{Account, AccountState, Accounts};
use crate::component::rpc::{CALL_TIMEOUT, ControlError, ErrorCode, NewAccount};
use crate::component::snapshot::{self, AccountStatus};
use crate::config::{self, AccountSource, HostPort, JidText, Secret, StoredAccount, TlsMode};
use crate::proto::account::is_same_account;
use crate::types::AccountKey;

use super::super::faults::{from_component, from_config, readable};
use super::super::options;
use super::DaemonControl;
use super::contacts::{XMPP, bare};

impl DaemonControl {
    /// The first account as it is configured and how its connection is doing.
    pub(super) fn account_status(&self) -> Account {
        let first = self.account_statuses().accounts.into_iter().next();
        Account { remains: self.contacts.read().remains.clone(), ..first.unwrap_or_default() }
    }

    /// All accounts.
    pub(super) fn account_statuses(&self) -> Accounts {
        let contacts = self.contacts.read();
        let accounts = match self.config.accounts() {
            Ok(configured) => {
                // Of a single one it is clear which it is, however its JID is written.
                let only = contacts.account().filter(|_| configured.len() == 1 && contacts.accounts.len() == 1);
                let running = |account: &config::Account| contacts.account_of(account.jid.bare()).or(only);
                configured.iter().map(|account| self.describe(account, running(account))).collect()
            }
            Err(error) => {
                let error = Some(error.to_string());
                let jid = contacts.account().map(|account| account.bare().to_owned());
                vec![Account { jid, state: AccountState::Failed, error, ..Account::default() }]
            }
        };
        Accounts { accounts }
    }

    fn describe(&self, configured: &config::Account, running: Option<&AccountStatus>) -> Account {
        let resource = options::account(configured, &self.config).ok().flatten();
        let state = match running.map(|account| account.state) {
            _ if configured.password.is_none() => AccountState::NoPassword,
            None | Some(snapshot::AccountState::Connecting) => AccountState::Connecting,
            Some(snapshot::AccountState::Online) => AccountState::Online,
            Some(snapshot::AccountState::Offline) => AccountState::Offline,
            Some(snapshot::AccountState::Failed) => AccountState::Failed,
        };
        Account {
            jid: Some(configured.jid.bare().to_owned()),
            resource: resource.map(|account| account.resource.clone()),
            source: Some(match configured.source {
                AccountSource::Config => "config".to_owned(),
                AccountSource::Stored => "stored".to_owned(),
            }),
            has_password: configured.password.is_some(),
            server: configured.server.as_ref().map(ToString::to_string),
            state,
            error: running.and_then(|account| account.problem.clone()),
            remains: Vec::new(),
        }
    }

    /// Logs in, and stores the account unless the server refused it; then the old one stays. If the server could not be
    /// asked, the account is stored all the same and the answer's error says so; a refusal shows in its state later.
    /// `more`: beside the other accounts, not instead of one.
    pub(super) fn use_account(&self, new: NewAccount, more: bool) -> Result<Account, ControlError> {
        self.check_running()?;
        let _one_at_a_time = self.lock_account();
        let stored = checked(new)?;
        let missing = || ControlError::new(ErrorCode::BadArgument, "an account needs a JID and a password");
        let jid = stored.jid.as_ref().map(|jid| jid.bare().to_owned()).ok_or_else(missing)?;
        let only = self.config.is_only(&jid, more).map_err(|text| ControlError::new(ErrorCode::BadArgument, text))?;
        let account = self.config.complete(&stored, only).and_then(|account| options::account(&account, &self.config));
        let account = account.map_err(|error| from_config(&error))?.ok_or_else(missing)?;
        let key = self.place_for(&jid, only)?;
        let unchecked = match self.ask_account(key, |reply| ContactCommand::SetAccount { account, reply }) {
            Ok(()) => None,
            Err(event::ControlError::Refused(reason)) => {
                return Err(ControlError::new(ErrorCode::AccountRefused, reason));
            }
            // It may work later: a server that is down, a network that is not there.
            Err(event::ControlError::Offline(reason)) => Some(reason),
            Err(error) => return Err(from_component(error)),
        };
        self.config.store(&stored, only).map_err(|error| from_config(&error))?;
        let remains = self.contacts.read().remains.clone();
        let is = |account: &Account| account.jid.as_deref().is_some_and(|other| is_same_account(other, &jid));
        let status = self.account_statuses().accounts.into_iter().find(is).unwrap_or_default();
        let status = Account { remains, ..status };
        // What the thread has just answered may not be so any more.
        Ok(match unchecked {
            None => Account { state: AccountState::Online, error: None, ..status },
            Some(reason) => {
                log::warn!("the account is stored unchecked: {reason}");
                Account { error: Some(reason), ..status }
            }
        })
    }

    /// Where this account is to run: in its place, in that of the account that it replaces, or in a fresh one.
    fn place_for(&self, jid: &str, only: bool) -> Result<AccountKey, ControlError> {
        let contacts = self.contacts.read();
        let replaced =
            contacts.account_of(jid).or_else(|| contacts.account().filter(|_| only)).map(|account| account.key);
        match replaced {
            Some(key) => Ok(key),
            None if only => Ok(AccountKey::FIRST),
            None => self.ask("the supervisor", |reply| Event::PlaceAccount { reply }),
        }
    }

    /// Takes everything of an account off its server and forgets it; without a JID it is the only one. `false`: there was
    /// none.
    pub(super) fn forget_account(&self, jid: Option<&str>) -> Result<bool, ControlError> {
        self.check_running()?;
        let _one_at_a_time = self.lock_account();
        let bad = |text| ControlError::new(ErrorCode::BadArgument, text);
        let wanted = self.config.to_remove(jid.map(bare).transpose()?.as_deref()).map_err(bad)?;
        let key = match (&wanted, jid) {
            (None, Some(_)) => return Ok(false),
            (Some(wanted), _) => self.contacts.read().account_of(wanted).map(|account| account.key),
            (None, None) => None,
        };
        let several = self.config.written_accounts().is_ok_and(|accounts| accounts.len() > 1);
        // What runs without being written down, such as while the file is damaged, goes too.
        let removed = match key.or_else(|| (!several).then(|| self.first_account())) {
            Some(key) => self.ask_account(key, |reply| ContactCommand::RemoveAccount { reply }),
            None => Ok(()),
        };
        match removed {
            Ok(()) | Err(event::ControlError::NoAccount) => {}
            // It is not used any more; what could not be taken off its server is told with the state.
            Err(event::ControlError::Offline(reason)) => log::warn!("{reason}"),
            Err(error) => return Err(from_component(error)),
        }
        let forgotten = match &wanted {
            Some(jid) if several => self.config.remove_one_account(jid),
            _ => self.config.remove_account(),
        };
        forgotten.map_err(|error| from_config(&error))
    }

    fn ask_account(
        &self,
        account: AccountKey,
        build: impl FnOnce(Reply<Result<(), event::ControlError>>) -> ContactCommand,
    ) -> Result<(), event::ControlError> {
        ask(&self.bus, XMPP, CALL_TIMEOUT, |reply| Event::Contacts { account, command: build(reply) })
    }

    fn lock_account(&self) -> MutexGuard<'_, ()> {
        self.account_change.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks what was typed, before anybody is asked.
fn checked(new: NewAccount) -> Result<StoredAccount, ControlError> {
    let bad = |error: String| ControlError::new(ErrorCode::BadArgument, error);
    if new.password.is_empty() {
        return Err(bad("the password is empty".to_owned()));
    }
    let tls = match new.tls.as_deref() {
        None => None,
        Some("direct") => Some(TlsMode::Direct),
        Some("starttls") => Some(TlsMode::Starttls),
        Some(other) => return Err(bad(format!("tls is \"direct\" or \"starttls\", not {other:?}"))),
    };
    Ok(StoredAccount {
        jid: Some(new.jid.parse::<JidText>().map_err(bad)?),
        password: Some(Secret::new(new.password.to_string())),
        server: new.server.as_deref().map(str::parse::<HostPort>).transpose().map_err(bad)?,
        tls,
        ca_file: new.ca_file.as_deref().map(readable).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(jid: &str) -> NewAccount {
        NewAccount { jid: jid.into(), password: "x".to_owned().into(), server: None, tls: None, ca_file: None }
    }

    #[test]
    fn what_was_typed_is_checked_and_named() {
        let text = |account| checked(account).unwrap_err().message;
        assert!(text(new("alice")).contains("alice"));
        assert!(text(NewAccount { server: Some("host".into()), ..new("a@b") }).contains("host:port"));
        assert!(text(NewAccount { tls: Some("ssl".into()), ..new("a@b") }).contains("starttls"));
        assert!(text(NewAccount { ca_file: Some("/no/ca.pem".into()), ..new("a@b") }).contains("/no/ca.pem"));
        assert!(text(NewAccount { password: String::new().into(), ..new("a@b") }).contains("password"));
        assert_eq!(checked(new("a@b/r")).unwrap().jid.unwrap().resource(), Some("r"));
    }
}
