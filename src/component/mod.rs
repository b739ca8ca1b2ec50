//! One file or folder per thread (layer 4). Components talk to each other over the bus only.

pub mod ask;
pub mod bt;
#[cfg(feature = "xmpp")]
pub mod catalogs;
#[cfg(any(feature = "https", feature = "xmpp"))]
mod crypto;
pub mod event;
#[cfg(feature = "resume")]
pub mod library;
#[cfg(feature = "local")]
pub mod local;
#[cfg(feature = "xmpp")]
pub mod people;
#[cfg(feature = "web")]
pub mod rpc;
mod running;
pub mod snapshot;
#[cfg(feature = "xmpp")]
mod teller;
pub mod tracker;
#[cfg(feature = "xmpp")]
pub mod xmpp;
