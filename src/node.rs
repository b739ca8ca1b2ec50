//! The BitTorrent node without XMPP and HTTP.
