//! The owner of a service on a host: the fleet and the history that last deployed it there.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::core::ids::{Epoch, HostId};
use crate::core::time::{Human, Time};

/// The record that a host keeps of the last controller that deployed a service there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    pub fleet: String,
    pub service: String,
    /// The random id of the history that the controller keeps.
    pub history: String,
    /// The user and the control machine: `anna@laptop`.
    pub who: String,
    /// The directory on the control machine that holds the history.
    pub dir: String,
    /// The epoch of the last rollout.
    pub epoch: Epoch,
    /// When the last rollout began, by the clock of the control machine.
    pub at: Time,
}

impl Owner {
    /// Describes the deployer and the age of the record: `anna@laptop:/srv/x, 3h ago`.
    pub fn describe(&self, now: Time) -> String {
        format!(
            "{self}, {} ago",
            Human(Duration::from_secs(now.since(self.at).as_secs().max(1)))
        )
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.who, self.dir)
    }
}

/// The hosts on which the service belongs to another fleet than `fleet`.
///
/// A host without a record, or with a record that names no fleet, belongs to none.
pub fn foreign<'a>(
    owners: &'a BTreeMap<HostId, Owner>,
    fleet: &str,
) -> BTreeMap<&'a HostId, &'a Owner> {
    owners
        .iter()
        .filter(|(_, owner)| !owner.fleet.is_empty() && owner.fleet != fleet)
        .collect()
}

/// The record of the last rollout among the hosts. Epochs decide, because the clocks of control
/// machines differ.
pub fn newest(owners: &BTreeMap<HostId, Owner>) -> Option<&Owner> {
    owners.values().max_by_key(|owner| (owner.epoch, owner.at))
}

/// The record of the last rollout, if the history with the id `history` and the newest epoch
/// `epoch` does not contain that rollout, because another history or a copy of this one does.
pub fn last_from_elsewhere<'a>(
    owners: &'a BTreeMap<HostId, Owner>,
    history: &str,
    epoch: Epoch,
) -> Option<&'a Owner> {
    newest(owners).filter(|newest| newest.history != history || newest.epoch > epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners(entries: &[(&str, &str, &str, u64)]) -> BTreeMap<HostId, Owner> {
        let owner = |fleet: &str, history: &str, epoch| Owner {
            fleet: fleet.into(),
            history: history.into(),
            epoch: Epoch(epoch),
            ..Owner::default()
        };
        entries
            .iter()
            .map(|&(host, fleet, history, epoch)| (host.into(), owner(fleet, history, epoch)))
            .collect()
    }

    #[test]
    fn hosts_of_another_fleet_are_foreign_and_unclaimed_hosts_are_not() {
        let owners = owners(&[
            ("web1", "production", "a", 1),
            ("web2", "staging", "b", 1),
            ("web3", "", "", 0),
        ]);
        let names: Vec<_> = foreign(&owners, "staging")
            .into_keys()
            .map(HostId::as_str)
            .collect();
        assert_eq!(names, ["web1"]);
    }

    #[test]
    fn newest_record_decides_which_history_deployed_last() {
        let owners = owners(&[("web1", "f", "a", 7), ("web2", "f", "b", 9)]);
        assert_eq!(
            last_from_elsewhere(&owners, "a", Epoch(9)).unwrap().history,
            "b"
        );
        assert!(last_from_elsewhere(&owners, "b", Epoch(9)).is_none());
        assert!(
            last_from_elsewhere(&owners, "b", Epoch(8)).is_some(),
            "another controller continued a copy of the history"
        );
        assert!(last_from_elsewhere(&BTreeMap::new(), "a", Epoch(0)).is_none());
    }
}
