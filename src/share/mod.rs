//! Contacts, their shares, addresses and whom to believe (layer 2): pure.
