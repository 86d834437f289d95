//! A machine and how it is reached.

use crate::core::ids::HostId;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    #[default]
    Ssh,
    /// It is this machine.
    Local,
}

/// A host and how to get there. What is `None` is left to the user's own `ssh_config`.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its name in the fleet, for messages.
    pub name: HostId,
    /// A network address, or an alias of the `ssh_config`.
    pub address: String,
    pub transport: Transport,
    /// Who logs in.
    pub user: Option<String>,
    pub port: Option<u16>,
    /// The only key to offer.
    pub identity_file: Option<PathBuf>,
    /// An `ssh_config` to use instead of the user's own and the system's.
    pub config: Option<PathBuf>,
    /// The file of known host keys to use instead of the user's own.
    pub known_hosts: Option<PathBuf>,
    /// How long one try to connect may take, from the first packet to the end of the login.
    pub connect_timeout: Duration,
    /// Whether scripts run as root, by `sudo -n`.
    pub sudo: bool,
}

/// A host as messages name it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(super) name: HostId,
    pub(super) user: Option<String>,
}
