//! Pure protocols (layer 1): bytes and time in, events and bytes out.
//!
//! No socket, file, thread, lock or clock. The same code runs in unit tests, fuzz targets, simulations, the reactor and
//! other people's programs.

pub mod account;
pub mod bencode;
#[cfg(feature = "web")]
pub mod http;
pub mod metainfo;
pub mod peer;
#[cfg(feature = "xmpp")]
pub mod stun;
pub mod tracker;
#[cfg(feature = "xmpp")]
pub mod x509;
#[cfg(feature = "xmpp")]
pub mod xmpp;
