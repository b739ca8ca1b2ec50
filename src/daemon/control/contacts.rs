//! Calls about contacts and what they share.

use std::ops::RangeInclusive;

use crate::bus::{Clock, Reply, SystemClock};
use crate::component::event::{self, ContactCommand, Event, NeighborCommand};
use crate::component::rpc::types::ShareEntry;
use crate::component::rpc::{ContactChange, ControlError, ErrorCode, HashScope, List, NewContact, Paged};
use crate::config::JidText;
use crate::proto::account::is_same_account;
use crate::share::{Found, Page};
use crate::types::{AccountKey, InfoHash, SortedSet, Via, gather};

use super::super::convert;
use super::DaemonControl;

/// Who answers commands about neighbours.
const LOCAL: &str = "the thread of the local network";

/// Who answers commands about contacts.
pub(super) const XMPP: &str = "the XMPP thread";

impl DaemonControl {
    /// By name.
    pub(super) fn shares_of(&self, contact: Option<&str>, page: Page) -> Result<Paged<ShareEntry>, ControlError> {
        let wanted = contact.map(bare).transpose()?;
        if let Some(jid) = &wanted {
            self.check_known(jid)?;
        }
        let counts = |jid: &str| wanted.as_ref().is_none_or(|wanted| is_same_account(wanted, jid));
        Ok(self.page(self.contacts.read().shares.by_name(counts, page)))
    }

    /// Best first.
    pub(super) fn find_shares(&self, term: &str, page: Page) -> Paged<ShareEntry> {
        self.page(self.contacts.read().shares.search(term, page))
    }

    fn page(&self, found: Found) -> Paged<ShareEntry> {
        let (torrents, contacts, now) = (self.torrents.read(), self.contacts.read(), SystemClock.now());
        let rows = List::new(found.hits, move |hit| {
            convert::share_entry(hit, &torrents, &convert::reach(&contacts, &torrents, now))
        });
        Paged { rows, total: found.total, more: found.more }
    }

    /// Own hashes and, if wanted, those that contacts share.
    pub(super) fn hashes_in(&self, scope: HashScope, range: &RangeInclusive<InfoHash>, most: usize) -> Vec<InfoHash> {
        let torrents = self.torrents.read();
        let mut found: SortedSet<InfoHash> = gather(torrents.list.keys().copied().filter(|hash| range.contains(hash)));
        if scope == HashScope::All {
            let contacts = self.contacts.read();
            let resources = contacts.shares.iter().flat_map(|(_, contact)| contact.resources());
            for table in resources.filter_map(|(_, resource)| resource.table()) {
                found.extend(table.hashes_in(range).iter().take(most).copied());
            }
        }
        found.into_iter().take(most).collect()
    }

    pub(super) fn ask_contact(&self, new: NewContact, account: Option<&str>) -> Result<(), ControlError> {
        let (jid, account) = (bare(&new.jid)?, self.account_named(account)?);
        let NewContact { name, groups, .. } = new;
        let account = account.or_else(|| self.who_knows(&jid)).unwrap_or_else(|| self.first_account());
        self.command(account, |reply| ContactCommand::Add { jid, name, groups, reply })
    }

    pub(super) fn accept(&self, jid: &str, account: Option<&str>) -> Result<(), ControlError> {
        let (jid, account) = (bare(jid)?, self.account_named(account)?);
        if let Some(jid) = self.neighbor(&jid).filter(|_| account.is_none()) {
            return self.ask(LOCAL, |reply| Event::Neighbor(NeighborCommand::Accept { jid, reply }));
        }
        let asked =
            || self.contacts.read().requests.iter().find(|request| is_same_account(&request.jid, &jid)).map(|r| r.via);
        let account = account.or_else(|| asked().and_then(of_account)).or_else(|| self.who_knows(&jid));
        let account = account.unwrap_or_else(|| self.first_account());
        self.command(account, |reply| ContactCommand::Accept { jid, reply })
    }

    /// With every account that knows them, unless one is named.
    pub(super) fn change_person(
        &self,
        jid: &str,
        change: &ContactChange,
        account: Option<&str>,
    ) -> Result<(), ControlError> {
        let (jid, account) = (bare(jid)?, self.account_named(account)?);
        if let Some(jid) = self.neighbor(&jid).filter(|_| account.is_none()) {
            return self.change_neighbor(jid, change);
        }
        let anybody = matches!(change, ContactChange::Block);
        if !anybody && self.contacts.read().account().is_some() {
            self.check_known(&jid)?;
        }
        let mut accounts = account.map_or_else(|| self.who_is_meant(&jid, change), |account| vec![account]);
        if accounts.is_empty() && anybody {
            accounts = self.contacts.read().accounts.iter().map(|account| account.key).collect();
        }
        if accounts.is_empty() {
            accounts.push(self.first_account());
        }
        // Every one is tried, whatever becomes of the others.
        let outcomes: Vec<_> = accounts
            .into_iter()
            .map(|account| self.command(account, |reply| command(jid.clone(), change.clone(), reply)))
            .collect();
        outcomes.into_iter().collect()
    }

    pub(super) fn command(
        &self,
        account: AccountKey,
        build: impl FnOnce(Outcome) -> ContactCommand,
    ) -> Result<(), ControlError> {
        self.ask(XMPP, |reply| Event::Contacts { account, command: build(reply) })
    }

    /// The account with this bare JID, if one is given.
    fn account_named(&self, jid: Option<&str>) -> Result<Option<AccountKey>, ControlError> {
        let Some(jid) = jid.map(bare).transpose()? else { return Ok(None) };
        let unknown = || ControlError::new(ErrorCode::BadArgument, format!("{jid} is not an account in use here"));
        self.contacts.read().account_of(&jid).map(|account| Some(account.key)).ok_or_else(unknown)
    }

    /// The neighbour in the local network who is called this, with or without `.local`.
    fn neighbor(&self, jid: &str) -> Option<String> {
        let contacts = self.contacts.read();
        let mut neighbors = contacts.local.iter().flat_map(|local| &local.neighbors);
        let is_short = |name: &str| name.strip_suffix(".local").is_some_and(|short| is_same_account(short, jid));
        let called = |name: &str| is_same_account(name, jid) || is_short(name);
        neighbors.find(|neighbor| called(&neighbor.jid)).map(|neighbor| neighbor.jid.clone())
    }

    /// Neighbours are let in, or not: there is no roster in which anything else of them could be kept.
    fn change_neighbor(&self, jid: String, change: &ContactChange) -> Result<(), ControlError> {
        if !matches!(change, ContactChange::Refuse | ContactChange::Remove) {
            let text = format!("{jid} is a neighbour in the local network, who can be accepted and removed, no more");
            return Err(ControlError::new(ErrorCode::BadArgument, text));
        }
        self.ask(LOCAL, |reply| Event::Neighbor(NeighborCommand::Remove { jid, reply }))
    }

    /// The accounts that know somebody in the way that this change is about.
    fn who_is_meant(&self, jid: &str, change: &ContactChange) -> Vec<AccountKey> {
        let contacts = self.contacts.read();
        let listed = contacts.roster.iter().filter(|entry| is_same_account(&entry.jid, jid)).map(|entry| entry.via);
        let asked =
            contacts.requests.iter().filter(|request| is_same_account(&request.jid, jid)).map(|request| request.via);
        let blocking =
            contacts.blocked.iter().filter(|(_, blocked)| is_same_account(blocked, jid)).map(|(via, _)| *via);
        let accounts: SortedSet<AccountKey> = match change {
            ContactChange::Rename(_) | ContactChange::SetGroups(_) => listed.filter_map(of_account).collect(),
            ContactChange::Refuse if asked.clone().next().is_some() => asked.filter_map(of_account).collect(),
            ContactChange::Refuse | ContactChange::Remove | ContactChange::Block => {
                listed.chain(asked).filter_map(of_account).collect()
            }
            ContactChange::Unblock => blocking.filter_map(of_account).collect(),
        };
        accounts.into_iter().collect()
    }

    /// The first account in whose roster somebody is, or that was asked.
    fn who_knows(&self, jid: &str) -> Option<AccountKey> {
        self.who_is_meant(jid, &ContactChange::Remove).first().copied()
    }

    /// The account that is meant if nothing says which: the first of those written down, as they are shown, whatever the
    /// places in which they run.
    pub(super) fn first_account(&self) -> AccountKey {
        let contacts = self.contacts.read();
        let written = self.config.written_accounts().unwrap_or_default();
        let first = written.first().and_then(|account| contacts.account_of(account.jid.bare()));
        first.or_else(|| contacts.account()).map_or(AccountKey::FIRST, |account| account.key)
    }

    /// In the roster, asking to be, or at least once heard of.
    fn check_known(&self, jid: &str) -> Result<(), ControlError> {
        let contacts = self.contacts.read();
        let known = contacts.roster.iter().any(|entry| is_same_account(&entry.jid, jid))
            || contacts.requests.iter().any(|request| is_same_account(&request.jid, jid))
            || contacts.blocked.iter().any(|(_, blocked)| is_same_account(blocked, jid))
            || contacts.shares.iter().any(|(other, _)| is_same_account(other, jid));
        if known {
            return Ok(());
        }
        let text = format!("{jid} is not one of your contacts; `bitween contacts` lists them");
        Err(ControlError::new(ErrorCode::UnknownContact, text))
    }
}

/// Where the outcome of a command goes.
type Outcome = Reply<Result<(), event::ControlError>>;

fn command(jid: String, change: ContactChange, reply: Outcome) -> ContactCommand {
    match change {
        ContactChange::Refuse => ContactCommand::Refuse { jid, reply },
        ContactChange::Remove => ContactCommand::Remove { jid, reply },
        ContactChange::Rename(name) => ContactCommand::Rename { jid, name, reply },
        ContactChange::SetGroups(groups) => ContactCommand::SetGroups { jid, groups, reply },
        ContactChange::Block => ContactCommand::Block { jid, reply },
        ContactChange::Unblock => ContactCommand::Unblock { jid, reply },
    }
}

fn of_account(via: Via) -> Option<AccountKey> {
    match via {
        Via::Account(account) => Some(account),
        Via::Local => None,
    }
}

/// A bare JID, checked for its shape. A resource is cut off: contacts are people, not their devices.
pub(super) fn bare(text: &str) -> Result<String, ControlError> {
    let jid: JidText = text.parse().map_err(|error: String| ControlError::new(ErrorCode::BadArgument, error))?;
    Ok(jid.bare().to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::thread;

    use super::*;
    use crate::component::event::{Bus, Topic};
    use crate::component::snapshot::{AccountState, AccountStatus, Contacts, Published, RosterEntry};
    use crate::config::{Config, Overrides};
    use crate::daemon::control::Problems;

    const FIRST: AccountKey = AccountKey::FIRST;
    const SECOND: AccountKey = AccountKey::new(1);

    fn entry(key: AccountKey, jid: &str) -> RosterEntry {
        RosterEntry {
            via: Via::Account(key),
            jid: jid.to_owned(),
            name: None,
            groups: Vec::new(),
            subscription: "from".to_owned(),
            pending: false,
            resources: Vec::new(),
        }
    }

    #[test]
    fn commands_reach_the_account_that_knows_the_contact_or_the_first_that_is_written_down() {
        let bus = Bus::new();
        let orders = bus.subscribe("accounts", &[Topic::Contacts(FIRST), Topic::Contacts(SECOND)], 8);
        let heard = Arc::<Mutex<Vec<AccountKey>>>::default();
        let kept = Arc::clone(&heard);
        thread::spawn(move || {
            while let Ok(Event::Contacts { account, command }) = orders.recv() {
                kept.lock().unwrap().push(account);
                if let ContactCommand::Accept { reply, .. } | ContactCommand::Add { reply, .. } = command {
                    reply.send(Ok(()));
                }
            }
        });
        // The first that is written down runs in the second place, as after `account remove` and `account add`.
        let text = "[[xmpp]]\njid='home@x'\npassword='h'\n[[xmpp]]\njid='work@x'\npassword='w'";
        let folder = tempfile::tempdir().unwrap();
        let overrides = Overrides { data_dir: Some(folder.path().to_owned()), ..Overrides::default() };
        let config = Arc::new(Config::from_text(text, None, &overrides).unwrap());
        let status =
            |key, jid: &str| AccountStatus { key, jid: format!("{jid}/r"), state: AccountState::Online, problem: None };
        let known = Contacts {
            accounts: vec![status(FIRST, "work@x"), status(SECOND, "home@x")],
            roster: [entry(FIRST, "bob@x")].into(),
            ..Contacts::default()
        };
        let contacts = Published::default();
        contacts.publish(Arc::new(known));
        let control = DaemonControl::new(config, bus, contacts, Published::default(), Problems::default());
        control.accept("Bob@x", None).unwrap();
        control.accept("carol@x", None).unwrap();
        let carol = NewContact { jid: "carol@x".to_owned(), ..NewContact::default() };
        control.ask_contact(carol, None).unwrap();
        control.accept("bob@x", Some("home@x")).unwrap();
        assert_eq!(*heard.lock().unwrap(), [FIRST, SECOND, SECOND, SECOND]);
    }
}
