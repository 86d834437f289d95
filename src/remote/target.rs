//! A machine and how it is reached.

use crate::config::{SshConfig, Transport};
use crate::core::ids::HostId;

/// A host and how to get there.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its name in the fleet, for messages.
    pub name: HostId,
    /// A network address, or an alias of the `ssh_config`.
    pub address: String,
    pub transport: Transport,
    pub ssh: SshConfig,
}

/// A host as messages name it.
#[derive(Clone, Debug)]
pub(crate) struct HostLogin {
    pub(super) name: HostId,
    pub(super) user: Option<String>,
}
