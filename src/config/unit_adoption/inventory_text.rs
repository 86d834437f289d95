//! The inventory of an adopted service.

use super::toml_lines::{TomlLines, string};
use crate::config::names;

/// The directory of ship on a host that is this machine.
const LOCAL_BASE_DIR: &str = "/var/lib/ship";

/// A host on which the unit runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdoptedHost {
    /// The user of the login; `None` for the one of `ssh_config`.
    pub user: Option<String>,
    /// The address; `None` for this machine.
    pub address: Option<String>,
}

impl AdoptedHost {
    /// The name in the inventory; `number` is the place in it, from 1.
    pub fn name(&self, number: usize) -> String {
        match &self.address {
            None => "local".to_owned(),
            Some(address) if names::HOST.check(address).is_ok() => address.clone(),
            Some(_) => format!("host{number}"),
        }
    }
}

/// Whether a text is an address as the inventory accepts it.
pub fn is_address(text: &str) -> bool {
    names::ADDRESS.check(text).is_ok()
}

/// Whether a text is a login user as the inventory accepts it.
pub fn is_login(text: &str) -> bool {
    names::LOGIN.check(text).is_ok()
}

/// The text of the inventory. With `sudo`, scripts need it to be root.
pub fn adopted_inventory(unit: &str, hosts: &[AdoptedHost], playbook: &str, sudo: bool) -> String {
    let mut lines = TomlLines::default();
    lines.comment(&format!(
        "The hosts of {unit}, and how to reach them. `ship check` tests whether they can be used."
    ));
    lines.key("playbook", &string(playbook), "");
    lines.table("[fleet]");
    let is_local = hosts.iter().all(|host| host.address.is_none());
    let fleet = if is_local { "local" } else { "production" };
    lines.key("name", &string(fleet), "A name of your choice.");
    if sudo {
        lines.table("[ssh]");
        let why = "Run scripts with `sudo -n`, because the login user is not root.";
        lines.key("sudo", "true", why);
    }
    for (number, host) in (1..).zip(hosts) {
        lines.table("[[hosts]]");
        lines.key("name", &string(&host.name(number)), "");
        match &host.address {
            None => {
                lines.key("transport", "\"local\"", "This machine, without SSH.");
                lines.key("base_dir", &string(LOCAL_BASE_DIR), "The files of ship.");
            }
            Some(address) => {
                lines.key("address", &string(address), "");
                if let Some(user) = &host.user {
                    lines.key("user", &string(user), "");
                }
            }
        }
    }
    lines.into_text()
}
