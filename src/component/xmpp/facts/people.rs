//! Lists of people that outlive the process, one in a line: servers keep some of them, but not all, and not always in reach.

use jid::BareJid;

use super::{Facts, REPEATS_REQUESTS, bare};
use crate::component::event::Account;
use crate::proto::xmpp::pending::Handout;

/// Key of the people who are blocked with an account by this program alone.
const BLOCKED_HERE: &str = "blocked-here";

/// Key of all people who are blocked with an account, as far as was known last.
const BLOCKED: &str = "blocked";

/// Key of the people who ask to become contacts of an account.
const REQUESTS: &str = "requests";

impl Facts {
    /// Who is blocked with this account by this program alone, and who on its server.
    pub(in crate::component::xmpp) fn blocked(&mut self, account: &Account) -> (Vec<BareJid>, Vec<BareJid>) {
        (self.people(account, BLOCKED_HERE), self.people(account, BLOCKED))
    }

    /// Keeps who is blocked with this account, and by this program alone.
    pub(in crate::component::xmpp) fn keep_blocked(&mut self, account: &Account, all: &[String], here: &[String]) {
        self.keep_people(account, BLOCKED_HERE, here);
        self.keep_people(account, BLOCKED, all);
    }

    /// Who asks to become a contact of this account, and whether its server will say so again.
    pub(in crate::component::xmpp) fn requests(&mut self, account: &Account) -> (Vec<BareJid>, Handout) {
        let repeats = self.get(account, REPEATS_REQUESTS).is_some();
        (self.people(account, REQUESTS), if repeats { Handout::Always } else { Handout::Unknown })
    }

    /// Keeps who asks to become a contact of this account.
    pub(in crate::component::xmpp) fn keep_requests(&mut self, account: &Account, jids: &[String], handout: Handout) {
        self.keep_people(account, REQUESTS, jids);
        if handout == Handout::Always
            && self.get(account, REPEATS_REQUESTS).is_none()
            && let Some(jid) = bare(&account.jid)
        {
            self.with(|facts| facts.set(&jid, REPEATS_REQUESTS, "unasked"));
        }
    }

    /// The account was removed: its requests are nobody's.
    pub(in crate::component::xmpp) fn forget_requests(&mut self, account: &Account) {
        self.keep_people(account, REQUESTS, &[]);
    }

    fn people(&mut self, account: &Account, key: &str) -> Vec<BareJid> {
        let known = self.get(account, key);
        known.iter().flat_map(|lines| lines.lines()).filter_map(|line| BareJid::new(line).ok()).collect()
    }

    /// Written only if it differs, for this is called whenever the lists may have changed.
    fn keep_people(&mut self, account: &Account, key: &str, jids: &[String]) {
        let Some(jid) = bare(&account.jid) else { return };
        let lines = jids.join("\n");
        match (self.get(account, key), jids) {
            (None, []) => {}
            (Some(known), _) if known == lines => {}
            (Some(_), []) => drop(self.with(|facts| facts.forget(&jid, key))),
            _ => drop(self.with(|facts| facts.set(&jid, key, &lines))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::account;
    use super::*;

    fn texts(jids: &[&str]) -> Vec<String> {
        jids.iter().map(|jid| (*jid).to_owned()).collect()
    }

    fn jids(texts: &[&str]) -> Vec<BareJid> {
        texts.iter().map(|text| BareJid::new(text).unwrap()).collect()
    }

    #[test]
    fn lists_of_people_outlive_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Facts::new(Some(folder.path().join("accounts.sqlite")));
        let alice = account("alice@x");
        assert_eq!(open().blocked(&alice), (vec![], vec![]));
        open().keep_blocked(&alice, &texts(&["bob@x", "eve@x"]), &texts(&["eve@x"]));
        assert_eq!(open().blocked(&alice), (jids(&["eve@x"]), jids(&["bob@x", "eve@x"])));
        open().keep_blocked(&alice, &[], &[]);
        assert_eq!(open().blocked(&alice), (vec![], vec![]));

        assert_eq!(open().requests(&alice), (vec![], Handout::Unknown));
        open().keep_requests(&alice, &texts(&["carol@x", "dave@x"]), Handout::Asked);
        assert_eq!(open().requests(&alice), (jids(&["carol@x", "dave@x"]), Handout::Unknown));
        open().keep_requests(&alice, &texts(&["dave@x"]), Handout::Always);
        assert_eq!(open().requests(&alice), (jids(&["dave@x"]), Handout::Always));
        assert_eq!(open().requests(&account("bob@x")), (vec![], Handout::Unknown));
        open().forget_login(&alice);
        assert_eq!(open().requests(&alice), (jids(&["dave@x"]), Handout::Unknown), "the server may be another one");
        open().forget_requests(&alice);
        assert!(open().requests(&alice).0.is_empty());
    }
}
