//! The identity of a host's machine, because several hosts of an inventory may be one machine.

use std::collections::BTreeMap;

use crate::core::ids::HostId;
use crate::core::release::Driver;

/// What identifies a machine and the service's directory on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The boot id of the kernel, the machine id and the root directory. All containers of a kernel
    /// have the same boot id, and all copies of an image have the same machine id.
    pub machine: String,
    /// The service's directory, the same for every path that leads to it.
    pub directory: String,
}

/// A host of the inventory that is the same machine as another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DuplicateHost {
    /// The later host in the inventory.
    pub host: HostId,
    /// The first host in the inventory.
    pub first: HostId,
    /// Whether both hosts keep the service in the same directory.
    pub shares_directory: bool,
}

/// The hosts that conflict with another host because both are one machine. `hosts` are names and
/// addresses in the order of the inventory.
///
/// Several hosts may be one machine if each has its own directory and its own loopback address.
/// With systemd they may not, because a unit's name contains only the service and the slot. A host
/// without an identity counts as a separate machine.
pub fn duplicate_hosts(
    hosts: &[(HostId, String)],
    identities: &BTreeMap<HostId, Identity>,
    driver: Driver,
) -> Vec<DuplicateHost> {
    let mut directories = BTreeMap::new();
    let mut machines: BTreeMap<&str, Vec<(&HostId, &str)>> = BTreeMap::new();
    let mut found = Vec::new();
    for (host, address) in hosts {
        let Some(identity) = identities.get(host) else {
            continue;
        };
        let on_machine = machines.entry(&identity.machine).or_default();
        let first = *directories.entry(&identity.directory).or_insert(host);
        if first != host {
            found.push(DuplicateHost {
                host: host.clone(),
                first: first.clone(),
                shares_directory: true,
            });
            continue;
        }
        if let Some((other, _)) = on_machine
            .iter()
            .find(|(_, other)| driver == Driver::Systemd || !can_share_a_port(address, other))
        {
            found.push(DuplicateHost {
                host: host.clone(),
                first: (*other).clone(),
                shares_directory: false,
            });
            continue;
        }
        on_machine.push((host, address));
    }
    found
}

/// Whether instances at two addresses of one machine can listen on the same port.
fn can_share_a_port(one: &str, other: &str) -> bool {
    let numeric = |address| {
        if matches!(address, "localhost" | "::1") {
            "127.0.0.1"
        } else {
            address
        }
    };
    let (one, other) = (numeric(one), numeric(other));
    one != other && (one.starts_with("127.") || other.starts_with("127."))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `web2=web1` for each duplicate, with `!` if both share a directory.
    fn found(hosts: &[(&str, &str, &str, &str)], driver: Driver) -> Vec<String> {
        let identities = hosts.iter().map(|&(host, _, machine, directory)| {
            (
                host.into(),
                Identity {
                    machine: machine.to_owned(),
                    directory: directory.to_owned(),
                },
            )
        });
        let addresses: Vec<_> = hosts
            .iter()
            .map(|&(host, address, ..)| (host.into(), address.to_owned()))
            .collect();
        let twins = duplicate_hosts(&addresses, &identities.collect(), driver);
        twins
            .iter()
            .map(|twin| {
                format!(
                    "{}={}{}",
                    twin.host,
                    twin.first,
                    if twin.shares_directory { "!" } else { "" }
                )
            })
            .collect()
    }

    #[test]
    fn hosts_with_the_same_directory_are_duplicates() {
        let hosts = [
            ("a", "web1", "m", "p"),
            ("b", "10.0.0.11", "m", "p"),
            ("c", "web1.example.org", "m", "p"),
        ];
        assert_eq!(found(&hosts, Driver::Process), ["b=a!", "c=a!"]);
    }

    #[test]
    fn hosts_on_one_machine_need_different_loopback_addresses() {
        let two = |one, other| [("a", one, "m", "p"), ("b", other, "m", "q")];
        assert_eq!(found(&two("10.0.0.11", "web1"), Driver::Process), ["b=a"]);
        assert_eq!(
            found(&two("127.0.0.11", "127.0.0.11"), Driver::Process),
            ["b=a"]
        );
        assert_eq!(
            found(&two("127.0.0.1", "localhost"), Driver::Process),
            ["b=a"]
        );
        assert!(found(&two("127.0.0.11", "127.0.0.12"), Driver::Process).is_empty());
        assert!(found(&two("10.0.0.11", "127.0.0.12"), Driver::Process).is_empty());
        assert_eq!(
            found(&two("127.0.0.11", "127.0.0.12"), Driver::Systemd),
            ["b=a"]
        );
    }

    #[test]
    fn hosts_on_different_machines_are_not_duplicates() {
        let hosts = [("a", "10.0.0.11", "m", "p"), ("b", "10.0.0.12", "n", "q")];
        assert!(found(&hosts, Driver::Systemd).is_empty());
    }
}
