//! Scaling a fleet between two revisions: each release keeps its share, as in the proportional
//! scaling of Kubernetes (`pkg/controller/deployment/sync.go`).

use std::collections::BTreeMap;

use crate::core::fleet::Fleet;
use crate::core::ids::ReleaseId;

/// The share of each release in `replicas` instances, in proportion to its running instances.
///
/// What remains after rounding down goes to the releases with the most instances, one each. If two
/// have equally many, the first in `known` comes first. If no instance runs, all instances are of
/// `target`.
pub fn shares(
    fleet: &Fleet,
    known: &[&ReleaseId],
    target: &ReleaseId,
    replicas: u32,
) -> BTreeMap<ReleaseId, u32> {
    let running = |release: &ReleaseId| {
        let instances = fleet.instances().filter(|(_, host, _)| host.is_reachable());
        instances
            .filter(|(.., instance)| instance.release == *release && instance.is_running())
            .count()
    };
    let mut shares: Vec<(&ReleaseId, u64, u32)> = known
        .iter()
        .map(|release| (*release, running(release) as u64, 0))
        .collect();
    let total: u64 = shares.iter().map(|(_, count, _)| count).sum();
    if total == 0 {
        return BTreeMap::from([(target.clone(), replicas)]);
    }
    shares.sort_by_key(|(_, count, _)| std::cmp::Reverse(*count));
    let mut remaining = replicas;
    for (_, count, share) in &mut shares {
        *share = u32::try_from(u64::from(replicas) * *count / total).unwrap_or(replicas);
        remaining -= *share;
    }
    for (_, _, share) in shares.iter_mut().filter(|(_, count, _)| *count > 0) {
        let more = remaining.min(1);
        *share += more;
        remaining -= more;
    }
    shares
        .into_iter()
        .map(|(release, _, share)| (release.clone(), share))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::fleet::health::Health;
    use crate::core::fleet::reach::Reach;
    use crate::core::fleet::{Host, Instance, Occupant, Process, Sighting};
    use crate::core::ids::Revision;
    use crate::core::time::Time;

    fn fleet(releases: &[&str]) -> Fleet {
        let instance = |release: &str| Instance {
            name: "i".into(),
            release: release.into(),
            revision: Revision(1),
            started: Time(0),
            process: Process::Running,
            lingering: None,
            restarts: 0,
            listeners: BTreeMap::new(),
            health: Health::default(),
            sighting: Sighting::default(),
        };
        let slots = releases
            .iter()
            .zip(8081..)
            .map(|(release, number)| (number, Occupant::Instance(instance(release))));
        let host = Host {
            reach: Reach::Reachable,
            slots: slots.collect(),
            ..Host::default()
        };
        Fleet {
            hosts: [("web1".into(), host)].into(),
            ..Fleet::default()
        }
    }

    fn scaled(running: &[&str], replicas: u32) -> (u32, u32) {
        let (old, new) = (ReleaseId::from("old"), ReleaseId::from("new"));
        let shares = shares(&fleet(running), &[&old, &new], &new, replicas);
        let of = |release| shares.get(&release).copied().unwrap_or(0);
        (of(old), of(new))
    }

    #[test]
    fn scaling_keeps_shares_and_rounds_up_the_largest() {
        assert_eq!(scaled(&["old", "old", "new"], 6), (4, 2));
        assert_eq!(scaled(&["old", "old", "new"], 4), (3, 1));
        assert_eq!(scaled(&["old", "old", "new"], 2), (2, 0));
        assert_eq!(scaled(&["old", "old", "new"], 0), (0, 0));
        assert_eq!(scaled(&["old", "new"], 1), (1, 0), "what was proven first");
        assert_eq!(scaled(&["new", "new"], 5), (0, 5));
        assert_eq!(scaled(&[], 3), (0, 3));
    }
}
