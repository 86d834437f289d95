//! A unit of systemd that runs on a host without ship, as the host describes it.

use std::collections::BTreeMap;

use super::ids::Port;

/// A unit that runs on a host without ship.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExistingUnit {
    /// The properties as `systemctl show` prints them.
    pub properties: BTreeMap<String, String>,
    /// The files of the unit as `systemctl cat` prints them.
    pub text: String,
    /// Why the files cannot be read, if they cannot.
    pub unreadable: Option<String>,
    pub listeners: Vec<UnitListener>,
    /// Whether the user who looked may not see the open files of the unit's processes.
    pub hides_sockets: bool,
    /// The user ID of the one who looked; 0 is root.
    pub user_id: u32,
    /// The Python environments of its programs.
    pub python_environments: Vec<String>,
}

/// A TCP port on which a process listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnitListener {
    pub port: Port,
    /// Whether only the host itself can connect.
    pub is_loopback: bool,
    /// Whether the process is known to belong to the unit.
    pub is_own: bool,
}

impl ExistingUnit {
    /// A property; empty if systemd does not know it.
    pub fn property(&self, name: &str) -> &str {
        self.properties.get(name).map_or("", String::as_str)
    }
}
