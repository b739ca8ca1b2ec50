//! The machine that the daemon runs on.

use crate::component::rpc::Settings;

use super::DaemonControl;

impl Settings for DaemonControl {}
