//! Which machine a host is: several names may lead to one.

use std::collections::BTreeMap;

use crate::core::ids::HostId;
use crate::core::release::Driver;

/// What identifies a machine and the service's directory on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The start of the kernel, the machine id and the root directory together: the first alone is
    /// the same for all containers of a kernel, and the second for all copies of an image.
    pub machine: String,
    /// The service's directory, by whichever path it was reached.
    pub place: String,
}

/// A host of the inventory that is the same machine as another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DuplicateHost {
    /// The later one.
    pub host: HostId,
    /// The one that comes first.
    pub first: HostId,
    /// Whether both keep the service in the same directory.
    pub shares_place: bool,
}

/// Hosts that would get in each other's way because they are one machine. `hosts` are names and
/// addresses in the order of the inventory.
///
/// Several hosts may be one machine, each with a directory and a loopback address of its own,
/// unless systemd runs the instances: it knows a unit by the service and the port alone. A host
/// without an identity is taken for a machine of its own.
pub fn twins(
    hosts: &[(HostId, String)],
    identities: &BTreeMap<HostId, Identity>,
    driver: Driver,
) -> Vec<DuplicateHost> {
    let mut places = BTreeMap::new();
    let mut machines: BTreeMap<&str, Vec<(&HostId, &str)>> = BTreeMap::new();
    let mut found = Vec::new();
    for (host, address) in hosts {
        let Some(identity) = identities.get(host) else {
            continue;
        };
        let seen = machines.entry(&identity.machine).or_default();
        let first = *places.entry(&identity.place).or_insert(host);
        if first != host {
            found.push(DuplicateHost {
                host: host.clone(),
                first: first.clone(),
                shares_place: true,
            });
            continue;
        }
        if let Some((other, _)) = seen
            .iter()
            .find(|(_, other)| driver == Driver::Systemd || !are_apart(address, other))
        {
            found.push(DuplicateHost {
                host: host.clone(),
                first: (*other).clone(),
                shares_place: false,
            });
            continue;
        }
        seen.push((host, address));
    }
    found
}

/// Whether instances at two addresses of one machine can listen on the same port.
fn are_apart(one: &str, other: &str) -> bool {
    let plain = |address| {
        if matches!(address, "localhost" | "::1") {
            "127.0.0.1"
        } else {
            address
        }
    };
    let (one, other) = (plain(one), plain(other));
    one != other && (one.starts_with("127.") || other.starts_with("127."))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `web2=web1` for each twin, with `!` where they share a directory.
    fn found(hosts: &[(&str, &str, &str, &str)], driver: Driver) -> Vec<String> {
        let identities = hosts.iter().map(|&(host, _, machine, place)| {
            (
                host.into(),
                Identity {
                    machine: machine.to_owned(),
                    place: place.to_owned(),
                },
            )
        });
        let addresses: Vec<_> = hosts
            .iter()
            .map(|&(host, address, ..)| (host.into(), address.to_owned()))
            .collect();
        let twins = twins(&addresses, &identities.collect(), driver);
        twins
            .iter()
            .map(|twin| {
                format!(
                    "{}={}{}",
                    twin.host,
                    twin.first,
                    if twin.shares_place { "!" } else { "" }
                )
            })
            .collect()
    }

    #[test]
    fn one_directory_under_two_names_is_one_host() {
        let hosts = [
            ("a", "web1", "m", "p"),
            ("b", "10.0.0.11", "m", "p"),
            ("c", "web1.example.org", "m", "p"),
        ];
        assert_eq!(found(&hosts, Driver::Process), ["b=a!", "c=a!"]);
    }

    #[test]
    fn one_machine_with_two_directories_needs_loopback_addresses_apart() {
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
    fn machines_apart_are_no_twins() {
        let hosts = [("a", "10.0.0.11", "m", "p"), ("b", "10.0.0.12", "n", "q")];
        assert!(found(&hosts, Driver::Systemd).is_empty());
    }
}
