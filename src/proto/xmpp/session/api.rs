//! What goes into and comes out of a session, besides stanzas.

use std::net::IpAddr;

use jid::BareJid;

use crate::proto::xmpp::stanza::Failure;
use crate::types::Announcement;

/// How a session is set up.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// Publish on the original's node too.
    pub publish_original: bool,
    /// From the system's random numbers; makes ids and jitter.
    pub seed: [u8; 32],
}

/// What the user wants of the roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Add a contact: ask to see it, and let it see this account. What is so already stays.
    Add {
        /// Whom.
        jid: BareJid,
        /// Name for the roster; without one the contact keeps the name it has.
        name: Option<String>,
        /// Groups for the roster; without any the contact stays in those it is in.
        groups: Vec<String>,
    },
    /// Approve a pending request, and ask to see that contact too.
    Accept(BareJid),
    /// Refuse a pending request, or end an approval.
    Refuse(BareJid),
    /// Remove a contact: neither sees the other any more. Also refuses a pending request.
    Remove(BareJid),
    /// Give a contact another name, or none if it is empty.
    Rename {
        /// Whom.
        jid: BareJid,
        /// The name.
        name: String,
    },
    /// Put a contact into these groups and no others.
    SetGroups {
        /// Whom.
        jid: BareJid,
        /// The groups.
        groups: Vec<String>,
    },
    /// Neither hear nor be heard by somebody, and be no contact of theirs; works without a server, too.
    Block(BareJid),
    /// End that. They are no contact then, and may ask to be.
    Unblock(BareJid),
}

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// There is no connection to the server.
    #[error("not connected to the server")]
    NotConnected,
    /// The account itself is no contact.
    #[error("{0} is the own account")]
    OwnAccount(BareJid),
    /// Nobody of this name asked.
    #[error("{0} has not asked to be a contact")]
    NoRequest(BareJid),
    /// There is no such contact, and nobody of this name asked.
    #[error("{0} is no contact")]
    NoContact(BareJid),
    /// Nobody of this name is blocked.
    #[error("{0} is not blocked")]
    NotBlocked(BareJid),
    /// There is no room in the list.
    #[error("too many people are blocked by this program already")]
    TooManyBlocked,
    /// The server refused.
    #[error("the server refused: {0}")]
    Refused(Failure),
}

/// What the rest of the program has to know. JIDs are bare and normalised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// The roster is here and this resource is available.
    Ready,
    /// A resource of a contact, or another one of the own account, came online.
    ContactOnline {
        /// Whose.
        jid: String,
        /// Which.
        resource: String,
    },
    /// It went offline.
    ContactOffline {
        /// Whose.
        jid: String,
        /// Which.
        resource: String,
    },
    /// The stream is lost: nobody is known to be online.
    AllOffline,
    /// A contact, or another resource of the own account, announced something.
    Announced {
        /// Whose words.
        jid: String,
        /// What.
        announcement: Announcement,
    },
    /// The account may no longer be seen: forget what it shared.
    SharesGone {
        /// Whose.
        jid: String,
    },
    /// Somebody asks to become a contact; the user decides.
    SubscriptionRequest {
        /// Who.
        jid: String,
        /// How many others have asked since the last of these events: of a flood only some are told.
        more: u32,
    },
    /// [`roster`](crate::proto::xmpp::XmppSession::roster) changed.
    RosterChanged,
    /// Who is blocked changed, or is known for the first time on this stream. Comes before what follows from it.
    Blocked {
        /// Everybody: bare JIDs, or domains.
        all: Vec<String>,
        /// Those of whom the server does not know. Both are to be kept, and given back by
        /// [`set_blocked`](crate::proto::xmpp::XmppSession::set_blocked).
        here: Vec<String>,
    },
    /// The server sees this machine at this address.
    SeenAt(IpAddr),
    /// STUN servers, host and port, that the server names.
    StunServers(Vec<(String, u16)>),
    /// A command is done.
    CommandDone {
        /// As given with the command.
        tag: u64,
        /// How it went.
        result: Result<(), CommandError>,
    },
    /// One line for the user.
    Warning(String),
}
