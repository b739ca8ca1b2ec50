//! More of a torrent than its state.

use crate::component::rpc::Details;

use super::DaemonControl;

impl Details for DaemonControl {}
