//! Scaling a fleet between two revisions: each release keeps its part (Kubernetes' proportional scaling,
//! `pkg/controller/deployment/sync.go`).

use std::collections::BTreeMap;

use super::fleet::Fleet;
use super::names::ReleaseId;

/// The instances of each release when `replicas` are wanted: in proportion to those that run now, what is left over for
/// the largest. All are of `target` where none runs.
pub fn shares(fleet: &Fleet, known: &[&ReleaseId], target: &ReleaseId, replicas: u32) -> BTreeMap<ReleaseId, u32> {
    let mut counts: BTreeMap<&ReleaseId, u32> = known.iter().map(|release| (*release, 0)).collect();
    for (_, host, instance) in fleet.instances() {
        if let Some(count) = counts.get_mut(&instance.release).filter(|_| instance.is_running() && host.is_reachable())
        {
            *count += 1;
        }
    }
    let total: u32 = counts.values().sum();
    if total == 0 {
        return BTreeMap::from([(target.clone(), replicas)]);
    }
    let part = |count: u32| u64::from(replicas) * u64::from(count) / u64::from(total);
    let mut shares: Vec<(&ReleaseId, u32, u32)> = counts
        .iter()
        .map(|(release, count)| (*release, *count, u32::try_from(part(*count)).unwrap_or(u32::MAX)))
        .collect();
    let mut left_over = replicas - shares.iter().map(|(.., share)| share).sum::<u32>();
    shares.sort_by_key(|(release, count, _)| (std::cmp::Reverse(*count), *release));
    for (_, _, share) in shares.iter_mut().filter(|(_, count, _)| *count > 0) {
        let more = left_over.min(1);
        *share += more;
        left_over -= more;
    }
    shares.into_iter().map(|(release, _, share)| (release.clone(), share)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::fleet::{Host, Instance, Listener, Occupant, Process, Reach};
    use crate::core::health::Health;
    use crate::core::names::Revision;
    use crate::core::time::Time;

    fn fleet(releases: &[&str]) -> Fleet {
        let instance = |release: &str| Instance {
            name: "i".into(),
            release: release.into(),
            revision: Revision(1),
            started: Time(0),
            process: Process::Running,
            restarts: 0,
            listener: Listener::Nobody,
            health: Health::default(),
        };
        let slots = releases.iter().zip(8081..).map(|(release, port)| (port, Occupant::Instance(instance(release))));
        let host = Host { reach: Reach::Reachable, slots: slots.collect(), ..Host::default() };
        Fleet { hosts: [("web1".into(), host)].into() }
    }

    fn scaled(running: &[&str], replicas: u32) -> (u32, u32) {
        let (old, new) = (ReleaseId::from("old"), ReleaseId::from("new"));
        let shares = shares(&fleet(running), &[&old, &new], &new, replicas);
        let of = |release| shares.get(&release).copied().unwrap_or(0);
        (of(old), of(new))
    }

    #[test]
    fn each_release_keeps_its_part_and_the_largest_gets_what_is_left() {
        assert_eq!(scaled(&["old", "old", "new"], 6), (4, 2));
        assert_eq!(scaled(&["old", "old", "new"], 4), (3, 1));
        assert_eq!(scaled(&["old", "old", "new"], 2), (2, 0));
        assert_eq!(scaled(&["old", "old", "new"], 0), (0, 0));
        assert_eq!(scaled(&["new", "new"], 5), (0, 5));
        assert_eq!(scaled(&[], 3), (0, 3));
    }
}
