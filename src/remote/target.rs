//! A host and how to reach it.

use std::sync::Arc;

use super::kept_connections::KeptConnections;
use super::sudo_password::SudoPassword;
use crate::config::{SshConfig, Transport};
use crate::core::ids::HostId;

/// A host and how to reach it.
#[derive(Clone, Debug)]
pub struct Target {
    /// The host's name in the inventory, for messages.
    pub name: HostId,
    /// A network address, or an alias in the `ssh_config`.
    pub address: String,
    pub transport: Transport,
    pub ssh: SshConfig,
    /// The password for sudo, if `ssh.escalation` needs one.
    pub sudo_password: Option<Arc<SudoPassword>>,
    /// Where connections are kept for the next command, if `ssh.persist` asks for it.
    pub kept: Option<Arc<KeptConnections>>,
}

impl Target {
    /// Whether its connection is kept for the next command.
    pub(super) fn is_kept(&self) -> bool {
        self.kept.is_some() && !self.ssh.persist.is_zero()
    }

    /// Whether a login at the other target is a login at this one.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let is_same_password = match (&self.sudo_password, &other.sudo_password) {
            (None, None) => true,
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            _ => false,
        };
        is_same_password
            && (&self.name, &self.address) == (&other.name, &other.address)
            && (self.transport, &self.ssh) == (other.transport, &other.ssh)
    }
}

/// A host as messages name it.
#[derive(Clone, Debug)]
pub(crate) struct HostLogin {
    pub(super) name: HostId,
    pub(super) user: Option<String>,
}
