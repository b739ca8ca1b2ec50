//! The XMPP thread.
