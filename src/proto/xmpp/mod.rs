//! XMPP: stream, authentication, stanzas, share formats.
