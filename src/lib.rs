//! bitween shares files with your XMPP contacts; the bytes travel peer to peer over BitTorrent.
//!
//! # Map
//!
//! An arrow points down only: a layer imports the layers below it and [`types`], never one above and never a
//! neighbour. `tests/layering.rs` checks it.
//!
//! | layer | module | what |
//! | --- | --- | --- |
//! | 5 | `node`, `daemon`, `config`, `folders`, `logging`, `signals`, `cli` | starting, stopping, reading the config, talking to the user |
//! | 4 | [`component`] | one file or folder per thread; they talk over the bus only |
//! | 3 | `reactor` | the one poll loop: sockets, tokens, deadlines |
//! | 2 | [`engine`], [`share`], [`storage`] | decisions (pure), contacts' shares (pure), disks and memory |
//! | 1 | [`proto`], [`bus`] | bytes in, events and bytes out (pure); messages between threads |
//! | 0 | [`types`], `chatter` | vocabulary; records for who looks for a fault |

#[macro_use]
mod chatter;

pub mod bus;
pub mod component;
pub mod engine;
pub mod proto;
pub mod reactor;
pub mod share;
pub mod storage;
pub mod types;

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "web")]
pub mod config;
#[cfg(feature = "web")]
pub mod daemon;
#[cfg(any(all(feature = "cli", feature = "resume"), feature = "web"))]
mod folders;
#[cfg(any(feature = "cli", feature = "web"))]
pub mod logging;
pub mod node;
#[cfg(any(feature = "cli", feature = "web"))]
mod signals;

#[cfg(feature = "web")]
pub use config::{Config, ConfigError};
#[cfg(feature = "web")]
pub use daemon::{Daemon, DaemonError};
pub use node::{Engine, EngineError};
