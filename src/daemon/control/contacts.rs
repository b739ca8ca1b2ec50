//! Calls about contacts and what they share.

use crate::component::event::{ContactCommand, Event};
use crate::component::rpc::types::ShareEntry;
use crate::component::rpc::{ControlError, ErrorCode, List};
use crate::config::JidText;
use crate::share::Hit;

use super::super::convert;
use super::DaemonControl;

/// Who answers commands about contacts.
pub(super) const XMPP: &str = "the XMPP thread";

/// Rows of one answer. More than any person reads; a bound for what one call may cost.
const MAX_ROWS: usize = 100_000;

impl DaemonControl {
    pub(super) fn shares_of(&self, contact: Option<&str>) -> Result<List<ShareEntry>, ControlError> {
        let wanted = contact.map(bare).transpose()?;
        if let Some(jid) = &wanted {
            self.check_known(jid)?;
        }
        let mut hits = self.contacts.read().shares.search("", MAX_ROWS);
        if let Some(jid) = &wanted {
            hits.iter_mut().for_each(|hit| hit.owners.retain(|owner| owner.jid.eq_ignore_ascii_case(jid)));
            hits.retain(|hit| !hit.owners.is_empty());
        }
        hits.sort_by_cached_key(|hit| (hit.share.name.to_lowercase(), hit.share.info_hash));
        Ok(self.rows(hits))
    }

    /// Best first.
    pub(super) fn find_shares(&self, term: &str) -> List<ShareEntry> {
        self.rows(self.contacts.read().shares.search(term, MAX_ROWS))
    }

    fn rows(&self, hits: Vec<Hit>) -> List<ShareEntry> {
        let torrents = self.torrents.read();
        List::new(hits, move |hit| convert::share_entry(hit, &torrents))
    }

    pub(super) fn ask_contact(&self, jid: &str, name: Option<&str>) -> Result<(), ControlError> {
        let jid = bare(jid)?;
        let name = name.map(str::to_owned);
        self.command(|reply| ContactCommand::Add { jid, name, reply })
    }

    pub(super) fn accept(&self, jid: &str) -> Result<(), ControlError> {
        let jid = bare(jid)?;
        self.command(|reply| ContactCommand::Accept { jid, reply })
    }

    pub(super) fn end_contact(&self, jid: &str) -> Result<(), ControlError> {
        let jid = bare(jid)?;
        if self.contacts.read().account.is_some() {
            self.check_known(&jid)?;
        }
        self.command(|reply| ContactCommand::Remove { jid, reply })
    }

    pub(super) fn command(
        &self,
        build: impl FnOnce(crate::bus::Reply<Result<(), crate::component::event::ControlError>>) -> ContactCommand,
    ) -> Result<(), ControlError> {
        self.ask(XMPP, |reply| Event::Contacts(build(reply)))
    }

    /// In the roster, asking to be, or at least once heard of.
    fn check_known(&self, jid: &str) -> Result<(), ControlError> {
        let contacts = self.contacts.read();
        let is = |other: &str| other.eq_ignore_ascii_case(jid);
        let known = contacts.roster.iter().any(|entry| is(&entry.jid))
            || contacts.requests.iter().any(|other| is(other))
            || contacts.shares.iter().any(|(other, _)| is(other));
        if known {
            return Ok(());
        }
        let text = format!("{jid} is not one of your contacts; `bitween contacts` lists them");
        Err(ControlError::new(ErrorCode::UnknownContact, text))
    }
}

/// A bare JID, checked for its shape. A resource is cut off: contacts are people, not their devices.
fn bare(text: &str) -> Result<String, ControlError> {
    let jid: JidText = text.parse().map_err(|error: String| ControlError::new(ErrorCode::BadArgument, error))?;
    Ok(jid.bare().to_owned())
}
