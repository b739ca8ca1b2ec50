//! Calls about the XMPP account. The file in the data folder and the connection always end up with the same one.

use std::sync::{Arc, MutexGuard, PoisonError};

use crate::component::ask::ask;
use crate::component::event::{self, ContactCommand, Event};
use crate::component::rpc::types::{Account, AccountState};
use crate::component::rpc::{CALL_TIMEOUT, ControlError, ErrorCode, NewAccount};
use crate::component::snapshot;
use crate::config::{self, AccountSource, HostPort, JidText, Secret, StoredAccount, TlsMode};

use super::super::faults::{from_component, from_config, readable};
use super::super::options;
use super::DaemonControl;
use super::contacts::XMPP;

impl DaemonControl {
    /// The account as it is configured and how its connection is doing.
    pub(super) fn account_status(&self) -> Account {
        let contacts = self.contacts.read();
        let running = contacts.account.as_ref();
        let configured = match self.config.account() {
            Ok(configured) => configured,
            Err(error) => {
                let error = Some(error.to_string());
                let jid = running.map(|account| account.jid.clone());
                return Account { jid, state: AccountState::Failed, error, ..Account::default() };
            }
        };
        let remains = contacts.remains.clone();
        let Some(configured) = configured else { return Account { remains, ..Account::default() } };
        let resource = options::account(&configured, &self.config.data_dir, false).ok().flatten();
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
            remains,
        }
    }

    /// Logs in, and stores the account unless the server refused it; then the old one stays. If the server could not be
    /// asked, the account is stored all the same and the answer's error says so; a refusal shows in its state later.
    pub(super) fn use_account(&self, new: NewAccount) -> Result<Account, ControlError> {
        self.check_running()?;
        let _one_at_a_time = self.lock_account();
        let stored = checked(new)?;
        let account = self.account_for_login(&stored)?;
        let outcome =
            ask(&self.bus, XMPP, CALL_TIMEOUT, |reply| Event::Contacts(ContactCommand::SetAccount { account, reply }));
        let unchecked = match outcome {
            Ok(()) => None,
            Err(event::ControlError::Refused(reason)) => {
                return Err(ControlError::new(ErrorCode::AccountRefused, reason));
            }
            // It may work later: a server that is down, a network that is not there.
            Err(event::ControlError::Offline(reason)) => Some(reason),
            Err(error) => return Err(from_component(error)),
        };
        self.config.store_account(&stored).map_err(|error| from_config(&error))?;
        let status = self.account_status();
        // What the thread has just answered may not be in its snapshot any more.
        Ok(match unchecked {
            None => Account { state: AccountState::Online, error: None, ..status },
            Some(reason) => {
                log::warn!("the account is stored unchecked: {reason}");
                Account { error: Some(reason), ..status }
            }
        })
    }

    /// Takes everything off the server and forgets the account. `false`: there was none.
    pub(super) fn forget_account(&self) -> Result<bool, ControlError> {
        self.check_running()?;
        let _one_at_a_time = self.lock_account();
        let removed =
            ask(&self.bus, XMPP, CALL_TIMEOUT, |reply| Event::Contacts(ContactCommand::RemoveAccount { reply }));
        match removed {
            Ok(()) | Err(event::ControlError::NoAccount) => {}
            // It is not used any more; what could not be taken off its server is told with the state.
            Err(event::ControlError::Offline(reason)) => log::warn!("{reason}"),
            Err(error) => return Err(from_component(error)),
        }
        self.config.remove_account().map_err(|error| from_config(&error))
    }

    /// What the XMPP thread gets: what was given, and from `[xmpp]` what was not, as at the next start.
    fn account_for_login(&self, stored: &StoredAccount) -> Result<Arc<event::Account>, ControlError> {
        let xmpp = &self.config.xmpp;
        let missing = || ControlError::new(ErrorCode::BadArgument, "an account needs a JID and a password");
        let account = config::Account {
            jid: stored.jid.clone().ok_or_else(missing)?,
            password: stored.password.clone(),
            server: stored.server.clone().or_else(|| xmpp.server.clone()),
            tls: stored.tls.or(xmpp.tls),
            ca_file: stored.ca_file.clone().or_else(|| xmpp.ca_file.clone()),
            source: AccountSource::Stored,
        };
        let account = options::account(&account, &self.config.data_dir, xmpp.allow_plain);
        account.map_err(|error| from_config(&error))?.ok_or_else(missing)
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
