//! Those who call.

use crate::component::rpc::Access;

use super::DaemonControl;

impl Access for DaemonControl {}
