//! Where accounts are written down and which place wins, on files of temporary folders.

use super::*;
use crate::config::Overrides;

fn config(dir: &Path, text: &str) -> Config {
    Config::from_text(text, None, &Overrides { data_dir: Some(dir.to_owned()), ..Overrides::default() }).unwrap()
}

fn alice() -> StoredAccount {
    StoredAccount {
        jid: Some("alice@example.org".parse().unwrap()),
        password: Some(Secret::new("it's \"hard\"\\".into())),
        ..StoredAccount::default()
    }
}

fn only(config: &Config) -> Account {
    let mut accounts = config.accounts().unwrap();
    assert_eq!(accounts.len(), 1);
    accounts.remove(0)
}

fn jids(config: &Config) -> Vec<String> {
    config.accounts().unwrap().iter().map(|account| account.jid.to_string()).collect()
}

fn stored(jid: &str) -> StoredAccount {
    StoredAccount { jid: Some(jid.parse().unwrap()), ..alice() }
}

#[test]
fn accounts_are_added_replaced_and_removed_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let text = "[[xmpp]]\njid='bob@example.org'\npassword='old'\nserver='localhost:5222'\nallow_plain=true\n\
                [[xmpp]]\njid='carol@example.org'\npassword='c'";
    let config = config(dir.path(), text);
    assert_eq!(jids(&config), ["bob@example.org", "carol@example.org"]);
    config.add_account(&alice()).unwrap();
    config.add_account(&stored("Bob@example.org/box")).unwrap();
    assert_eq!(jids(&config), ["Bob@example.org/box", "carol@example.org", "alice@example.org"]);
    let accounts = config.accounts().unwrap();
    assert!(accounts[0].server.is_some() && accounts[0].allow_plain && accounts[0].source == AccountSource::Stored);
    assert!(accounts[2].server.is_none() && !accounts[2].allow_plain, "another account's server is not its own");

    assert!(config.remove_one_account("carol@example.org").unwrap());
    assert!(!config.remove_one_account("carol@example.org").unwrap());
    assert_eq!(jids(&config), ["Bob@example.org/box", "alice@example.org"]);
    assert!(config.warnings()[0].contains("account remove"), "{:?}", config.warnings());
    assert!(config.remove_one_account("bob@example.org").unwrap());
    assert_eq!(jids(&config), ["alice@example.org"]);
    config.add_account(&stored("carol@example.org")).unwrap();
    assert_eq!(jids(&config), ["carol@example.org", "alice@example.org"]);
    assert!(config.remove_account().unwrap());
    assert!(jids(&config).is_empty());
}

#[cfg(feature = "xmpp")]
#[test]
fn an_account_is_found_however_its_name_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), "[xmpp]\njid='Ü@example.org'\npassword='u'");
    config.add_account(&alice()).unwrap();
    config.add_account(&stored("ü@example.org/box")).unwrap();
    assert_eq!(jids(&config), ["ü@example.org/box", "alice@example.org"], "it is not there twice");
    assert!(config.remove_one_account("u\u{308}@example.org").unwrap());
    assert_eq!(jids(&config), ["alice@example.org"]);
}

#[test]
fn removing_what_was_added_leaves_the_configured_account() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), "[xmpp]\njid='bob@example.org'\npassword='old'");
    config.add_account(&alice()).unwrap();
    assert!(config.remove_one_account("alice@example.org").unwrap());
    assert_eq!(jids(&config), ["bob@example.org"]);
    assert!(!dir.path().join(ACCOUNT_FILE).exists());
}

#[test]
fn one_more_beside_the_only_account_brings_no_other_back() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), "[xmpp]\njid='bob@example.org'\npassword='old'");
    config.store_account(&alice()).unwrap();
    assert_eq!(jids(&config), ["alice@example.org"], "instead of bob");
    config.add_account(&stored("carol@example.org")).unwrap();
    assert_eq!(jids(&config), ["alice@example.org", "carol@example.org"]);
    assert!(config.remove_one_account("alice@example.org").unwrap());
    assert!(config.remove_one_account("carol@example.org").unwrap());
    assert!(jids(&config).is_empty(), "bob stays removed");
}

#[test]
fn a_stored_account_replaces_the_configured_one_but_keeps_its_server() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), "[xmpp]\njid='bob@example.org'\npassword='old'\nserver='localhost:5222'");
    assert_eq!(only(&config).source, AccountSource::Config);
    config.store_account(&alice()).unwrap();
    let account = only(&config);
    assert_eq!(account.jid.as_str(), "alice@example.org");
    assert_eq!(account.password.unwrap().expose(), "it's \"hard\"\\");
    assert_eq!(account.server.unwrap().port, 5222);
}

#[test]
fn one_more_account_changes_nothing_of_the_first() {
    let rules = "password='old'\nserver='localhost:5222'\ntls='direct'\nca_file='/ca.pem'\nallow_plain=true\n\
                 publish_original=false\naccept_from=['*@example.org']\nstun=false";
    for (jid, for_all) in [("", true), ("jid='bob@example.org'\n", false), ("jid='Alice@example.org'\n", false)] {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path(), &format!("[xmpp]\n{jid}{rules}"));
        config.store_account(&alice()).unwrap();
        let before = format!("{:?}", only(&config));
        let added = config.complete(&stored("carol@example.org"), false).unwrap();
        config.add_account(&stored("carol@example.org")).unwrap();
        let accounts = config.accounts().unwrap();
        assert_eq!(accounts.len(), 2);
        assert_eq!(format!("{:?}", accounts[0]), before, "{jid}");
        assert_eq!(format!("{:?}", accounts[1]), format!("{added:?}"), "{jid}");
        // A section about nobody says of everybody what may be done, not where the server is.
        assert_eq!((added.allow_plain, !added.publish_original), (for_all, for_all), "{jid}");
        assert_eq!((!added.accept_from.is_empty(), !added.stun), (for_all, for_all), "{jid}");
        assert!(added.server.is_none() && added.tls.is_none() && added.ca_file.is_none());
    }
}

#[test]
fn an_account_that_is_set_anew_keeps_what_may_be_done_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let rules = "password='old'\nallow_plain=true\npublish_original=false\naccept_from=['*@example.org']\nstun=false";
    let config = config(dir.path(), &format!("[xmpp]\njid='Alice@example.org'\n{rules}"));
    config.store_account(&alice()).unwrap();
    config.add_account(&stored("carol@example.org")).unwrap();
    let before = config.accounts().unwrap().remove(0);
    assert!(before.allow_plain && !before.publish_original && !before.accept_from.is_empty() && !before.stun);
    let changed = StoredAccount { password: Some(Secret::new("new".to_owned())), ..alice() };
    let complete = config.complete(&changed, false).unwrap();
    config.add_account(&changed).unwrap();
    let after = config.accounts().unwrap().remove(0);
    assert_eq!(format!("{after:?}"), format!("{before:?}"));
    assert_eq!(format!("{complete:?}"), format!("{before:?}"));
    assert_eq!(after.password.unwrap().expose(), "new");
    // Also as the only one again, in the other form of the file.
    config.remove_one_account("carol@example.org").unwrap();
    config.store_account(&alice()).unwrap();
    assert_eq!(format!("{:?}", only(&config)), format!("{before:?}"));
}

#[test]
fn the_environments_password_is_for_the_only_account_or_the_one_that_has_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), "");
    let given = |without: &[usize]| {
        let jids = ["alice@example.org", "bob@example.org"];
        let mut accounts: Vec<Account> = jids.map(|jid| config.complete(&stored(jid), false).unwrap()).into();
        without.iter().for_each(|place| accounts[*place].password = None);
        let outcome = give(&mut accounts, Some(Secret::new("env".into())));
        let is_given = |account: &Account| account.password.as_ref().is_some_and(|secret| secret.expose() == "env");
        outcome.map(|()| accounts.iter().map(is_given).collect::<Vec<_>>()).map_err(|error| error.to_string())
    };
    assert_eq!(given(&[1]), Ok(vec![false, true]));
    assert_eq!(given(&[]), Ok(vec![false, false]), "one that was added keeps nobody from starting");
    assert!(given(&[0, 1]).unwrap_err().contains("of 2 accounts 2 have no other password"));
    let mut only = [config.complete(&alice(), true).unwrap()];
    give(&mut only, Some(Secret::new("env".into()))).unwrap();
    assert_eq!(only[0].password.as_ref().unwrap().expose(), "env");
}

#[test]
fn a_removed_account_does_not_come_back_from_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), "[xmpp]\njid='bob@example.org'\npassword='old'");
    assert!(config.remove_account().unwrap());
    assert!(config.accounts().unwrap().is_empty());
    assert!(config.warnings()[0].contains("bitween account remove"), "{:?}", config.warnings());
    assert!(!config.remove_account().unwrap());
    config.store_account(&alice()).unwrap();
    assert!(config.warnings().is_empty());
}

#[test]
fn removing_the_only_account_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), "");
    assert!(!config.remove_account().unwrap());
    config.store_account(&alice()).unwrap();
    assert!(config.remove_account().unwrap());
    assert!(!dir.path().join(ACCOUNT_FILE).exists());
}

#[test]
fn a_damaged_account_file_is_named_without_its_content() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(ACCOUNT_FILE), "jid = \"a@b\"\npassword = hunter2\n").unwrap();
    let error = config(dir.path(), "").accounts().unwrap_err().to_string();
    assert!(error.contains(ACCOUNT_FILE) && !error.contains("hunter2"), "{error}");
}
