//! Who a service on a host belongs to: the fleet, and the history that deployed there last.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::names::HostId;
use super::time::{Human, Time};

/// The record that a host keeps of the last controller that deployed a service there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// The fleet.
    pub fleet: String,
    /// The service.
    pub service: String,
    /// The random id of the history that the controller keeps.
    pub history: String,
    /// The user and the control machine: `anna@laptop`.
    pub who: String,
    /// The directory on the control machine that holds the history.
    pub dir: String,
    /// When the last rollout began, by the clock of the control machine.
    pub at: Time,
}

impl Owner {
    /// `anna@laptop:/srv/x, 3h ago`.
    pub fn told(&self, now: Time) -> String {
        format!("{self}, {} ago", Human(Duration::from_secs(now.since(self.at).as_secs().max(1))))
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.who, self.dir)
    }
}

/// The hosts that carry the service for another fleet than `fleet`.
///
/// A host without a record, or with one that names no fleet, carries nothing that ship knows of.
pub fn foreign<'a>(owners: &'a BTreeMap<HostId, Owner>, fleet: &str) -> BTreeMap<&'a HostId, &'a Owner> {
    owners.iter().filter(|(_, owner)| !owner.fleet.is_empty() && owner.fleet != fleet).collect()
}

/// The newest record of another history than `history` among the hosts, if another history deployed last.
///
/// Where even one host was last deployed to from `history`, and later, that history is the last one.
pub fn last_from_elsewhere<'a>(owners: &'a BTreeMap<HostId, Owner>, history: &str) -> Option<&'a Owner> {
    let newest = owners.values().max_by_key(|owner| owner.at)?;
    (newest.history != history).then_some(newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners(entries: &[(&str, &str, &str, u64)]) -> BTreeMap<HostId, Owner> {
        let owner = |fleet: &str, history: &str, at| Owner {
            fleet: fleet.into(),
            history: history.into(),
            at: Time(at),
            ..Owner::default()
        };
        entries.iter().map(|&(host, fleet, history, at)| (host.into(), owner(fleet, history, at))).collect()
    }

    #[test]
    fn hosts_of_another_fleet_are_foreign_and_unclaimed_hosts_are_not() {
        let owners = owners(&[("web1", "production", "a", 1), ("web2", "staging", "b", 1), ("web3", "", "", 0)]);
        let names: Vec<_> = foreign(&owners, "staging").into_keys().map(HostId::as_str).collect();
        assert_eq!(names, ["web1"]);
    }

    #[test]
    fn the_newest_record_decides_which_history_deployed_last() {
        let owners = owners(&[("web1", "f", "a", 7), ("web2", "f", "b", 9)]);
        assert_eq!(last_from_elsewhere(&owners, "a").unwrap().history, "b");
        assert!(last_from_elsewhere(&owners, "b").is_none());
        assert!(last_from_elsewhere(&BTreeMap::new(), "a").is_none());
    }
}
