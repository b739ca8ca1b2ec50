//! XMPP: stream, authentication, stanzas, share formats.

pub mod announcer;
pub mod backoff;
pub mod blocking;
pub mod complaints;
pub mod dns;
pub mod downgrade;
pub mod framing;
pub mod keepalive;
pub mod lists;
#[cfg(feature = "local")]
pub mod local;
pub mod negotiation;
mod node_setup;
pub mod outside;
pub mod pending;
pub mod pep;
pub mod presence;
pub mod publisher;
pub mod redirect;
pub mod resume;
pub mod roster;
pub mod sasl;
pub mod session;
pub mod shares;
pub mod shares_original;
pub mod stanza;
pub mod stream;
pub mod time;
pub mod watch;
pub mod welcome;
pub mod xml;

pub use session::{Command, CommandError, SessionEvent, SessionOptions, XmppSession};
