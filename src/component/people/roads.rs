//! What is known of each account besides its contacts' shares: its connection, its roster, what its server confirmed.

use std::collections::HashSet;
use std::sync::Arc;

use crate::component::snapshot::{AccountState, AccountStatus, ContactRequest, Contacts, RosterEntry};
use crate::share::ContactShares;
use crate::types::{InfoHash, Share, SortedMap, Via};

/// Warnings kept of one account for the user.
const MAX_WARNINGS: usize = 50;

/// One road to contacts.
#[derive(Default)]
struct Road {
    status: Option<AccountStatus>,
    /// Without online resources.
    roster: Vec<RosterEntry>,
    requests: Vec<String>,
    /// The own shares whose announcement its server has confirmed.
    confirmed: Option<Arc<[Share]>>,
    remains: Vec<String>,
    warnings: Vec<String>,
}

/// All roads.
#[derive(Default)]
pub(super) struct Roads(SortedMap<Via, Road>);

impl Roads {
    /// The account's connection changed, or there is no account any more. True if that is news.
    pub(super) fn set_account(&mut self, via: Via, status: Option<AccountStatus>) -> bool {
        let road = self.0.entry(via).or_default();
        let is_online =
            |status: &Option<AccountStatus>| status.as_ref().is_some_and(|s| s.state == AccountState::Online);
        if is_online(&status) && !is_online(&road.status) {
            // A new stream begins: what is still wrong will be told again.
            road.warnings.clear();
        }
        let differs = road.status != status;
        road.status = status;
        differs
    }

    pub(super) fn set_roster(&mut self, via: Via, entries: Vec<RosterEntry>, requests: Vec<String>) {
        let road = self.0.entry(via).or_default();
        (road.roster, road.requests) = (entries, requests);
    }

    pub(super) fn set_confirmed(&mut self, via: Via, shares: Arc<[Share]>) {
        self.0.entry(via).or_default().confirmed = Some(shares);
    }

    /// True if something else remains now; what is new is logged.
    pub(super) fn set_remains(&mut self, via: Via, remains: Vec<String>) -> bool {
        let road = self.0.entry(via).or_default();
        for line in remains.iter().filter(|line| !road.remains.contains(line)) {
            log::warn!("{line}");
        }
        let differs = road.remains != remains;
        road.remains = remains;
        differs
    }

    pub(super) fn warn(&mut self, via: Via, text: String) {
        let road = self.0.entry(via).or_default();
        match &road.status {
            Some(account) => log::warn!("{}: {text}", account.bare()),
            None => log::warn!("{text}"),
        }
        if road.warnings.len() >= MAX_WARNINGS {
            road.warnings.remove(0);
        }
        road.warnings.push(text);
    }

    /// The account was left: nothing of its contacts counts any more.
    pub(super) fn leave(&mut self, via: Via) {
        if let Some(road) = self.0.get_mut(&via) {
            (road.roster, road.requests, road.confirmed) = (Vec::new(), Vec::new(), None);
            // Another account may take its place, and they would bear its name.
            road.warnings.clear();
        }
    }

    /// Every road something was heard through.
    pub(super) fn all(&self) -> impl Iterator<Item = Via> {
        self.0.keys().copied()
    }

    /// Is this resource the program itself, logged in with one of its accounts?
    pub(super) fn is_own(&self, jid: &str, resource: &str) -> bool {
        let mut accounts = self.0.values().filter_map(|road| road.status.as_ref());
        accounts.any(|account| account.jid.split_once('/') == Some((jid, resource)))
    }

    /// Writes accounts, requests, remains and warnings into the snapshot.
    pub(super) fn describe(&self, contacts: &mut Contacts) {
        let accounts = self.0.values().filter_map(|road| road.status.clone());
        contacts.accounts = accounts.collect();
        let requests = self.0.iter().flat_map(|(via, road)| road.requests.iter().map(|jid| (*via, jid)));
        contacts.requests = requests.map(|(via, jid)| ContactRequest { via, jid: jid.clone() }).collect();
        contacts.remains = self.0.values().flat_map(|road| road.remains.iter().cloned()).collect();
        // With one account it is clear whose they are.
        let several = contacts.accounts.len() > 1;
        let named = |road: &Road, text: &String| match road.status.as_ref().filter(|_| several) {
            Some(account) => format!("{}: {text}", account.bare()),
            None => text.clone(),
        };
        contacts.warnings =
            self.0.values().flat_map(|road| road.warnings.iter().map(|text| named(road, text))).collect();
    }

    /// All rosters, with the resources that are online.
    pub(super) fn roster(&self, shares: &ContactShares) -> Arc<[RosterEntry]> {
        let online = |entry: &RosterEntry| {
            let known = shares.contact_via(entry.via, &entry.jid);
            let resources = known.into_iter().flat_map(|contact| contact.resources());
            resources.filter(|(_, resource)| resource.is_online()).map(|(name, _)| name.to_owned()).collect()
        };
        let entries = self.0.values().flat_map(|road| &road.roster);
        entries.map(|entry| RosterEntry { resources: online(entry), ..entry.clone() }).collect()
    }

    /// Of the own shares those whose announcement everybody has confirmed who counts: the accounts that are online, or, if
    /// none is, those that were. A server that has never confirmed anything is not waited for: it may be one that keeps no
    /// announcements.
    pub(super) fn announced(&self, own: &[Share]) -> HashSet<InfoHash> {
        let is_online = |road: &&Road| road.status.as_ref().is_some_and(|status| status.state == AccountState::Online);
        let someone_is_online = self.0.values().any(|road| is_online(&road));
        // Neighbours are told whatever happens: that counts only if there is nobody else to tell.
        let accounts = self.0.values().any(|road| road.status.is_some());
        let counts = |via: Via, road: &Road| {
            if someone_is_online { is_online(&road) } else { !accounts || via != Via::Local }
        };
        let counted = self.0.iter().filter(|(via, road)| counts(**via, road)).map(|(_, road)| road);
        let hashes = |shares: &Arc<[Share]>| shares.iter().map(|share| share.info_hash).collect();
        let confirmed: Vec<HashSet<InfoHash>> =
            counted.filter_map(|road| road.confirmed.as_ref()).map(hashes).collect();
        if confirmed.is_empty() {
            return HashSet::new();
        }
        let own = own.iter().map(|share| share.info_hash);
        own.filter(|hash| confirmed.iter().all(|list| list.contains(hash))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::AccountKey;

    const HOME: Via = Via::FIRST;
    const WORK: Via = Via::Account(AccountKey::new(1));

    fn share(n: u8) -> Share {
        let info_hash = InfoHash::new([n; InfoHash::LEN]);
        Share { info_hash, name: n.to_string().into(), size: 1, files: 1, complete: true }
    }

    fn shares(numbers: &[u8]) -> Arc<[Share]> {
        numbers.iter().copied().map(share).collect()
    }

    fn status(via: Via, jid: &str, state: AccountState) -> Option<AccountStatus> {
        let Via::Account(key) = via else { unreachable!() };
        Some(AccountStatus { key, jid: jid.to_owned(), state, problem: None })
    }

    fn announced(roads: &Roads, own: &[u8]) -> Vec<u8> {
        let announced = roads.announced(&shares(own));
        own.iter().copied().filter(|n| announced.contains(&share(*n).info_hash)).collect()
    }

    #[test]
    fn announced_is_what_every_account_that_is_online_has_confirmed() {
        let mut roads = Roads::default();
        assert!(announced(&roads, &[1]).is_empty());
        roads.set_account(HOME, status(HOME, "a@x/r", AccountState::Online));
        roads.set_account(WORK, status(WORK, "a@y/r", AccountState::Online));
        roads.set_confirmed(HOME, shares(&[1, 2]));
        assert_eq!(announced(&roads, &[1, 2]), [1, 2], "the other one may be unable to");
        roads.set_confirmed(WORK, shares(&[1]));
        assert_eq!(announced(&roads, &[1, 2]), [1]);
        roads.set_account(WORK, status(WORK, "a@y/r", AccountState::Offline));
        assert_eq!(announced(&roads, &[1, 2, 3]), [1, 2], "who is offline is not waited for");
        roads.set_account(HOME, status(HOME, "a@x/r", AccountState::Offline));
        assert_eq!(announced(&roads, &[1, 2]), [1], "it still stands on both servers");
        roads.leave(WORK);
        assert_eq!(announced(&roads, &[2, 4]), [2], "what is not shared any more does not count");
    }

    #[test]
    fn neighbours_count_only_if_there_is_no_account() {
        let mut roads = Roads::default();
        roads.set_confirmed(Via::Local, shares(&[1]));
        assert_eq!(announced(&roads, &[1]), [1]);
        roads.set_account(HOME, status(HOME, "a@x/r", AccountState::Connecting));
        assert!(announced(&roads, &[1]).is_empty());
        roads.set_account(HOME, status(HOME, "a@x/r", AccountState::Online));
        roads.set_confirmed(HOME, shares(&[1]));
        assert_eq!(announced(&roads, &[1]), [1]);
    }

    #[test]
    fn warnings_name_their_account_if_there_are_several() {
        let (mut roads, mut contacts) = (Roads::default(), Contacts::default());
        roads.set_account(HOME, status(HOME, "a@x/r", AccountState::Online));
        roads.warn(HOME, "odd".to_owned());
        roads.describe(&mut contacts);
        assert_eq!(contacts.warnings, ["odd"]);
        roads.set_account(WORK, status(WORK, "a@y/r", AccountState::Connecting));
        roads.describe(&mut contacts);
        assert_eq!((contacts.warnings.as_slice(), contacts.accounts.len()), (&["a@x: odd".to_owned()][..], 2));
        assert!(roads.is_own("a@y", "r") && !roads.is_own("a@y", "s"));
        // The next account in a place inherits none.
        roads.warn(WORK, "odder".to_owned());
        roads.leave(WORK);
        roads.set_account(WORK, status(WORK, "c@z/r", AccountState::Connecting));
        roads.describe(&mut contacts);
        assert_eq!(contacts.warnings, ["a@x: odd"]);
        // A new stream tells again what is still wrong.
        roads.set_account(HOME, status(HOME, "a@x/r", AccountState::Offline));
        roads.set_account(HOME, status(HOME, "a@x/r", AccountState::Online));
        roads.describe(&mut contacts);
        assert!(contacts.warnings.is_empty());
    }
}
