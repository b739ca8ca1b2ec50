//! What is told of contacts to the thread that knows them all.

use std::sync::Arc;

use super::ControlError;
use crate::bus::Reply;
use crate::component::snapshot::{AccountStatus, LocalStatus, RosterEntry};
use crate::proto::xmpp::SessionEvent;
use crate::share::ShareTable;
use crate::types::{InfoHash, Share};

/// What whoever speaks to contacts tells the thread that knows them all. It is told in order, and nothing of it is lost:
/// what does not fit in the queue is told later, and until then no more is read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Told {
    /// What a session noticed.
    Session(SessionEvent),
    /// How the account's connection is doing; `None`: there is no account any more.
    Account(Option<AccountStatus>),
    /// The account was left, or is another one now: what was known through it goes.
    Left,
    /// Who is in the roster (online resources are added by the reader), and bare JIDs of people who ask to be.
    Roster {
        /// By bare JID.
        entries: Vec<RosterEntry>,
        /// Bare JIDs.
        requests: Vec<String>,
    },
    /// Who is blocked: bare JIDs, or domains. Told before anything of them is forgotten.
    Blocked(Vec<String>),
    /// The server has confirmed the announcement of exactly these own shares.
    Confirmed(Arc<[Share]>),
    /// What accounts that were left have announced and still stands on their servers, one line each.
    Remains(Vec<String>),
    /// The list that a resource announced by a catalog is here.
    Listed {
        /// Whose: a bare JID.
        jid: String,
        /// Which resource's.
        resource: String,
        /// Its catalog.
        info_hash: InfoHash,
        /// It.
        table: Arc<ShareTable>,
    },
    /// One line for the user about somebody's catalog.
    Warning(String),
    /// How things stand in the local network.
    Local(Arc<LocalStatus>),
    /// The outcome of a command, to be passed on when everything told before can be read in the snapshot.
    Answer {
        /// Who asked.
        reply: Reply<Result<(), ControlError>>,
        /// How it went.
        outcome: Result<(), ControlError>,
    },
}
