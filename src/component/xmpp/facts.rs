//! What earlier logins taught, from the file that outlives the process. A file that cannot be used costs a warning and
//! the memory, not the connection. `people.rs` keeps who is blocked, and who asks to become a contact.

mod people;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use jid::Jid;

use super::connection::AccountOptions;
use crate::component::event::Account;
use crate::proto::xmpp::sasl::{ChannelBinding, Mechanism};
use crate::storage::{AccountFacts, StorageError};

/// Key of the strongest mechanism that an account has logged in with.
const STRONGEST_LOGIN: &str = "strongest-login";

/// Key of the types of channel binding that its server does not know, after the day on which that was found out.
const UNKNOWN_BINDINGS: &str = "unknown-bindings";

/// Days after which they are tried again: the server may have learned, and whoever was between then may be gone.
const TRY_AGAIN_AFTER: u64 = 30;

/// Key of the resource that an account has invented after the one before it was in use elsewhere.
const RESOURCE: &str = "resource";

/// Key of the bytes of one item that an account's server is known to take.
const PUBLISH_LIMIT: &str = "publish-limit";

/// Key of whether an account's server hands those out at every login.
const REPEATS_REQUESTS: &str = "repeats-requests";

/// What was learned of a server, and is forgotten when the user sets the account anew.
const OF_THE_SERVER: [&str; 4] = [STRONGEST_LOGIN, UNKNOWN_BINDINGS, PUBLISH_LIMIT, REPEATS_REQUESTS];

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

    /// Lets the next login know of those before it.
    pub(super) fn apply(&mut self, account: &Account, options: &mut AccountOptions) {
        options.strongest_login = self.strongest_login(account);
        options.unknown_bindings = self.unknown_bindings(account, today());
    }

    fn strongest_login(&mut self, account: &Account) -> Option<Mechanism> {
        Mechanism::named(&self.get(account, STRONGEST_LOGIN)?)
    }

    fn unknown_bindings(&mut self, account: &Account, today: u64) -> Vec<&'static str> {
        let Some(text) = self.get(account, UNKNOWN_BINDINGS) else { return Vec::new() };
        let mut words = text.split(' ');
        let day: Option<u64> = words.next().and_then(|day| day.parse().ok());
        if day.is_none_or(|day| today.checked_sub(day).is_none_or(|age| age >= TRY_AGAIN_AFTER)) {
            return Vec::new();
        }
        words.filter_map(|word| ChannelBinding::KINDS.into_iter().find(|kind| *kind == word)).collect()
    }

    /// This account has logged in. With SCRAM both sides have proved that they know the password, so nobody forged the
    /// offer; PLAIN proves nothing, and is the weakest. `anew`: the user has just set the account, so what was known
    /// before does not count.
    pub(super) fn logged_in(&mut self, account: &Account, mechanism: Mechanism, unknown: &[&'static str], anew: bool) {
        let Some(jid) = bare(&account.jid) else { return };
        if anew || self.strongest_login(account).is_none_or(|seen| seen < mechanism) {
            self.with(|facts| facts.set(&jid, STRONGEST_LOGIN, mechanism.name()));
        }
        let today = today();
        if self.unknown_bindings(account, today) != unknown {
            let text = format!("{today} {}", unknown.join(" "));
            self.with(|facts| facts.set(&jid, UNKNOWN_BINDINGS, &text));
        }
    }

    /// The user has set the account anew, or taken it away: its server may have changed.
    pub(super) fn forget_login(&mut self, account: &Account) {
        if let Some(jid) = bare(&account.jid) {
            for key in OF_THE_SERVER {
                self.with(|facts| facts.forget(&jid, key));
            }
        }
    }

    /// The account with the resource invented last, if its user names none.
    pub(super) fn with_resource(&mut self, account: Arc<Account>) -> Arc<Account> {
        let known = bare(&account.jid).filter(|jid| *jid == account.jid);
        let known = known.and_then(|jid| self.with(|facts| facts.get(&jid, RESOURCE)).flatten());
        known.map_or_else(|| Arc::clone(&account), |resource| renamed(&account, resource))
    }

    /// The account with a new resource, for good: the one it has is in use elsewhere. `None` if its user has named it.
    pub(super) fn new_resource(&mut self, account: &Account) -> Option<Arc<Account>> {
        let jid = bare(&account.jid).filter(|jid| *jid == account.jid)?;
        let resource = format!("bitween-{:08x}", fastrand::u32(..));
        self.with(|facts| facts.set(&jid, RESOURCE, &resource));
        Some(renamed(account, resource))
    }

    /// Bytes of one item that the server is known to take, if it has refused some.
    pub(super) fn publish_limit(&mut self, account: &Account) -> Option<usize> {
        self.get(account, PUBLISH_LIMIT)?.parse().ok()
    }

    /// The server has refused more than this.
    pub(super) fn keep_publish_limit(&mut self, account: &Account, limit: usize) {
        if let Some(jid) = bare(&account.jid) {
            self.with(|facts| facts.set(&jid, PUBLISH_LIMIT, &limit.to_string()));
        }
    }

    /// The user sets the account anew: it may be on another server.
    pub(super) fn forget_publish_limit(&mut self, account: &Account) {
        if let Some(jid) = bare(&account.jid) {
            self.with(|facts| facts.forget(&jid, PUBLISH_LIMIT));
        }
    }

    fn get(&mut self, account: &Account, key: &str) -> Option<String> {
        let jid = bare(&account.jid)?;
        self.with(|facts| facts.get(&jid, key))?
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
                    log::warn!("what is known of the accounts cannot be used: {error}");
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
        Some(jid) if path.exists() => {
            let facts = AccountFacts::open(path)?;
            OF_THE_SERVER.iter().try_for_each(|key| facts.forget(&jid, key))
        }
        _ => Ok(()),
    }
}

/// The day, counted from the beginning of Unix time.
#[expect(clippy::disallowed_methods, reason = "a component is where real time comes in")]
fn today() -> u64 {
    const DAY: u64 = 24 * 60 * 60;
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs() / DAY
}

fn bare(jid: &str) -> Option<String> {
    Some(jid.parse::<Jid>().ok()?.to_bare().to_string())
}

fn renamed(account: &Account, resource: String) -> Arc<Account> {
    Arc::new(Account { resource, ..account.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::xmpp::sasl::HashKind;

    const SHA_256: Mechanism = Mechanism::Scram(HashKind::Sha256);

    pub(super) fn account(jid: &str) -> Account {
        Account {
            jid: jid.to_owned(),
            resource: String::new(),
            password: zeroize::Zeroizing::default(),
            server: None,
            direct_tls: None,
            ca_file: None,
            allow_plain: false,
            publish_original: false,
            accept_from: Vec::new(),
            stun: false,
        }
    }

    #[test]
    fn a_file_that_could_not_be_opened_once_is_not_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("later");
        let mut facts = Facts::new(Some(folder.join("accounts.sqlite")));
        facts.logged_in(&account("a@x"), SHA_256, &[], false);
        assert_eq!(facts.strongest_login(&account("a@x")), None);
        std::fs::create_dir(&folder).unwrap();
        facts.logged_in(&account("a@x"), SHA_256, &[], false);
        assert_eq!(facts.strongest_login(&account("a@x")), Some(SHA_256));
    }

    #[test]
    fn types_that_a_server_does_not_know_are_remembered_for_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let mut facts = Facts::new(Some(dir.path().join("accounts.sqlite")));
        let (alice, today) = (account("a@x/r"), today());
        let all = ChannelBinding::KINDS;
        facts.logged_in(&alice, SHA_256, &all, false);
        assert_eq!(facts.unknown_bindings(&alice, today), all);
        assert_eq!(facts.unknown_bindings(&account("A@x"), today + TRY_AGAIN_AFTER - 1), all);
        for another_day in [today + TRY_AGAIN_AFTER, 0] {
            assert!(facts.unknown_bindings(&alice, another_day).is_empty());
        }
        assert!(facts.unknown_bindings(&account("b@x"), today).is_empty());
        facts.logged_in(&alice, SHA_256, &[], false);
        assert!(facts.unknown_bindings(&alice, today).is_empty());
        facts.logged_in(&alice, SHA_256, &all, false);
        facts.forget_login(&alice);
        assert!(facts.unknown_bindings(&alice, today).is_empty() && facts.strongest_login(&alice).is_none());
    }

    fn invented(jid: &str) -> Arc<Account> {
        Arc::new(Account { resource: "bitween-1".into(), ..account(jid) })
    }

    #[test]
    fn an_invented_resource_is_invented_anew_for_good_and_a_named_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Facts::new(Some(folder.path().join("accounts.sqlite")));
        let alice = invented("alice@x");
        assert_eq!(open().with_resource(Arc::clone(&alice)).resource, "bitween-1");
        let renamed = open().new_resource(&alice).unwrap().resource.clone();
        assert!(renamed.starts_with("bitween-") && renamed != "bitween-1");
        assert_eq!(open().with_resource(alice).resource, renamed);
        assert_eq!(open().with_resource(invented("bob@x")).resource, "bitween-1");
        let named = invented("alice@x/pc");
        assert!(open().new_resource(&named).is_none());
        assert_eq!(open().with_resource(named).resource, "bitween-1");
    }

    #[test]
    fn what_the_server_takes_is_known_until_the_account_is_set_anew() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Facts::new(Some(folder.path().join("accounts.sqlite")));
        let alice = invented("alice@x");
        assert_eq!(open().publish_limit(&alice), None);
        open().keep_publish_limit(&alice, 30_720);
        assert_eq!(open().publish_limit(&alice), Some(30_720));
        open().forget_publish_limit(&alice);
        assert_eq!(open().publish_limit(&alice), None);
    }
}
