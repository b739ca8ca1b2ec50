//! What can be asked of the threads that know contacts: of an account's, and of the local network's.

use std::path::PathBuf;
use std::sync::Arc;

use super::ControlError;
use crate::bus::Reply;

/// Things to do with contacts and the account. Every one is answered.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ContactCommand {
    /// Ask a person to be a contact.
    Add {
        /// Whom: a bare JID.
        jid: String,
        /// Name for the roster, if one was given.
        name: Option<String>,
        /// Groups for the roster; none: those it is in.
        groups: Vec<String>,
        /// Sent, or why not.
        reply: Reply<Result<(), ControlError>>,
    },
    /// Let a person who asked see our shares.
    Accept {
        /// Whom: a bare JID.
        jid: String,
        /// Done, or why not.
        reply: Reply<Result<(), ControlError>>,
    },
    /// End the relation in both directions.
    Remove {
        /// Whom: a bare JID.
        jid: String,
        /// Done, or why not.
        reply: Reply<Result<(), ControlError>>,
    },
    /// Say no to a person who asks to see our shares, or do not let them see those any more.
    Refuse {
        /// Whom: a bare JID.
        jid: String,
        /// Done, or why not.
        reply: Reply<Result<(), ControlError>>,
    },
    /// Give a contact another name, or none if it is empty.
    Rename {
        /// Whom: a bare JID.
        jid: String,
        /// The name.
        name: String,
        /// Done, or why not.
        reply: Reply<Result<(), ControlError>>,
    },
    /// Put a contact into these groups and no others.
    SetGroups {
        /// Whom: a bare JID.
        jid: String,
        /// The groups.
        groups: Vec<String>,
        /// Done, or why not.
        reply: Reply<Result<(), ControlError>>,
    },
    /// Neither hear nor be heard by somebody any more, and be no contact of theirs. Works without a connection, too.
    Block {
        /// Whom: a bare JID.
        jid: String,
        /// Done, or why not.
        reply: Reply<Result<(), ControlError>>,
    },
    /// End that.
    Unblock {
        /// Whom: a bare JID.
        jid: String,
        /// Done, or why not.
        reply: Reply<Result<(), ControlError>>,
    },
    /// Log in with this account from now on, instead of the old one.
    SetAccount {
        /// The account.
        account: Arc<Account>,
        /// Answered when the login worked. [`ControlError::Refused`]: the old account is used as before.
        /// [`ControlError::Offline`]: the new one is used and tried again, but nobody knows yet whether it is right.
        reply: Reply<Result<(), ControlError>>,
    },
    /// Take everything off the server and forget the account.
    RemoveAccount {
        /// Done, or why not. [`ControlError::Offline`]: the account is not used any more, but what it announced still
        /// stands on its server; it is taken off as soon as that can be reached.
        reply: Reply<Result<(), ControlError>>,
    },
}

/// Things to do with neighbours in the local network. Every one is answered.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum NeighborCommand {
    /// Let it see our shares, and see its shares if it does the same; its certificate is remembered.
    Accept {
        /// Whom: `user@machine.local`.
        jid: String,
        /// Done, or why not.
        reply: Reply<Result<(), ControlError>>,
    },
    /// End the relation, or refuse it; its certificate is forgotten.
    Remove {
        /// Whom: `user@machine.local`.
        jid: String,
        /// Done, or why not.
        reply: Reply<Result<(), ControlError>>,
    },
}

/// An XMPP account as the user gave it. The password never appears in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// Bare or full JID.
    pub jid: String,
    /// The resource to ask for, if `jid` has none.
    pub resource: String,
    /// Its password.
    pub password: zeroize::Zeroizing<String>,
    /// `host:port` to connect to instead of looking the domain up.
    pub server: Option<String>,
    /// TLS from the first byte (true) or STARTTLS (false); `None`: direct first, then STARTTLS.
    pub direct_tls: Option<bool>,
    /// PEM file with the certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The server may see the password itself, inside verified TLS.
    pub allow_plain: bool,
    /// Speak the original's format too.
    pub publish_original: bool,
    /// Whose requests to become a contact are answered with yes: `name@domain` or `*@domain`.
    pub accept_from: Vec<String>,
    /// Ask the STUN servers that its server names.
    pub stun: bool,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("jid", &self.jid).finish_non_exhaustive()
    }
}
