//! Adoption: the releases that a history takes over from the hosts, because it does not know them.

use std::collections::BTreeMap;

use crate::core::fleet::health::Thresholds;
use crate::core::fleet::{Fleet, Instance};
use crate::core::ids::ReleaseId;
use crate::core::time::Time;

/// The facts about a release that is staged on the hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StagedRelease {
    /// When the release was deployed, if a history has marked it on the hosts as proven healthy.
    pub proven: Option<Time>,
}

/// A release that becomes a revision of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adoption {
    pub release: ReleaseId,
    /// Whether the release has served.
    pub proven: bool,
    /// When the release was deployed, if that is known.
    pub at: Option<Time>,
    /// Whether instances of the release run.
    pub runs: bool,
}

/// The releases to adopt, the current one last.
///
/// `known` are the releases of the history and whether they are proven there, `current` is the
/// current release by the history, and `kept` are the releases that the hosts keep with their
/// definition. A release that does not run is adopted only if it is marked as proven, because it
/// may have failed. A running release counts as proven if it is marked, or if every instance of the
/// fleet runs it and is ready.
pub fn adoptions(
    fleet: &Fleet,
    kept: &BTreeMap<ReleaseId, StagedRelease>,
    known: &BTreeMap<ReleaseId, bool>,
    current: Option<&ReleaseId>,
    thresholds: &BTreeMap<ReleaseId, Thresholds>,
    now: Time,
) -> Vec<Adoption> {
    let running = running(fleet);
    let mark = |release: &ReleaseId| kept.get(release).and_then(|kept| kept.proven);
    let not_running = kept.iter().filter(|(release, kept)| {
        kept.proven.is_some() && !known.contains_key(*release) && !running.contains_key(release)
    });
    let mut not_running: Vec<_> = not_running
        .map(|(release, kept)| Adoption {
            release: release.clone(),
            proven: true,
            at: kept.proven,
            runs: false,
        })
        .collect();
    not_running.sort_by_key(|adoption| adoption.at);

    let is_ready = |instance: &Instance| {
        let thresholds = thresholds
            .get(&instance.release)
            .copied()
            .unwrap_or_default();
        instance.is_running() && instance.health.is_ready(now, &thresholds)
    };
    let serves = !running.is_empty()
        && fleet
            .instances()
            .all(|(_, host, instance)| host.is_reachable() && is_ready(instance));
    let is_alone = running.len() == 1;
    let mut by_start: Vec<_> = running
        .iter()
        .map(|(release, started)| (*started, *release))
        .collect();
    by_start.sort();
    let newest = by_start.last().map(|(_, release)| *release);
    let is_proven = |release: &ReleaseId| mark(release).is_some() || is_alone && serves;
    let running = by_start
        .into_iter()
        .map(|(_, release)| release)
        .filter(|release| {
            let was_proven = known.get(*release);
            let is_current = Some(*release) != newest || current == Some(*release);
            let is_known =
                was_proven.is_some_and(|was| is_current && (*was || !is_proven(release)));
            !is_known && (kept.contains_key(*release) || was_proven.is_some())
        });
    let running = running.map(|release| Adoption {
        release: release.clone(),
        proven: is_proven(release) || known.get(release) == Some(&true),
        at: mark(release),
        runs: true,
    });
    not_running.into_iter().chain(running).collect()
}

/// The running releases, each with the start time of its newest instance. The release that was
/// started last was the target of the last rollout.
fn running(fleet: &Fleet) -> BTreeMap<&ReleaseId, Time> {
    let mut running = BTreeMap::new();
    for (_, _, instance) in fleet
        .instances()
        .filter(|(_, _, instance)| instance.is_running())
    {
        let newest = running.entry(&instance.release).or_insert(instance.started);
        *newest = instance.started.max(*newest);
    }
    running
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::fleet::health::{Health, Verdict};
    use crate::core::fleet::{Observation, Occupant, Process, Sighting};
    use crate::core::ids::Revision;

    const NOW: Time = Time(100_000);

    /// A fleet with one host for each `(release, start time, is ready)`.
    fn fleet(instances: &[(&str, u64, bool)]) -> Fleet {
        let mut fleet = Fleet::default();
        for (number, &(release, started, ready)) in instances.iter().enumerate() {
            let mut health = Health::default();
            if ready {
                health.record(Verdict::Pass("ok".into()), NOW, Time(0), &thresholds(1));
            }
            let instance = Instance {
                name: format!("page-{number}").into(),
                release: release.into(),
                revision: Revision(1),
                started: Time(started),
                process: Process::Running,
                lingering: None,
                restarts: 0,
                listeners: BTreeMap::new(),
                health,
                sighting: Sighting::default(),
            };
            let slots = BTreeMap::from([(8081, Occupant::Instance(instance))]);
            fleet.observe(
                &format!("web{number}").into(),
                Observation {
                    slots,
                    ..Observation::default()
                },
                NOW,
            );
        }
        fleet
    }

    fn thresholds(success_threshold: u32) -> Thresholds {
        Thresholds {
            success_threshold,
            failure_threshold: 3,
            stale_after: Duration::from_mins(1),
        }
    }

    /// The adopted releases: `a! b` if `a` is proven and `b` is not. In the history, `c` is not
    /// proven.
    fn adopted(fleet: &Fleet, kept: &[(&str, Option<u64>)], known: &[&str]) -> String {
        let kept: BTreeMap<_, _> = kept
            .iter()
            .map(|&(release, at)| {
                (
                    ReleaseId::from(release),
                    StagedRelease {
                        proven: at.map(Time),
                    },
                )
            })
            .collect();
        let known: Vec<_> = known
            .iter()
            .map(|&release| ReleaseId::from(release))
            .collect();
        let thresholds = ["a", "b", "c"]
            .map(|release| (ReleaseId::from(release), thresholds(1)))
            .into();
        let current = known.last();
        let known = known
            .iter()
            .map(|release| (release.clone(), *release != ReleaseId::from("c")))
            .collect();
        let found = adoptions(fleet, &kept, &known, current, &thresholds, NOW);
        let words = found
            .iter()
            .map(|found| format!("{}{}", found.release, if found.proven { "!" } else { "" }));
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn empty_history_adopts_what_runs_and_what_was_proven_before() {
        let fleet = fleet(&[("c", 3, true), ("c", 3, true)]);
        let kept = [("a", Some(10)), ("b", Some(5)), ("c", None)];
        assert_eq!(adopted(&fleet, &kept, &[]), "b! a! c!");
        assert_eq!(
            adopted(&fleet, &[("a", None), ("c", None)], &[]),
            "c!",
            "what may have failed is left out"
        );
    }

    #[test]
    fn adoption_proves_release_only_if_all_instances_run_it_and_are_ready() {
        assert_eq!(
            adopted(
                &fleet(&[("a", 1, true), ("a", 1, false)]),
                &[("a", None)],
                &[]
            ),
            "a"
        );
        let half = fleet(&[("a", 1, true), ("b", 2, true)]);
        assert_eq!(
            adopted(&half, &[("a", Some(1)), ("b", None)], &[]),
            "a! b",
            "the newer one is where it was going"
        );
    }

    #[test]
    fn fleet_without_instances_proves_nothing() {
        assert_eq!(adopted(&fleet(&[]), &[("a", None)], &[]), "");
        assert_eq!(
            adopted(&fleet(&[]), &[("a", Some(1))], &[]),
            "a!",
            "but what is marked was proven"
        );
    }

    #[test]
    fn adoption_records_revision_again_after_rollback_by_another_history() {
        let fleet = fleet(&[("a", 4, true)]);
        assert_eq!(adopted(&fleet, &[("a", Some(1))], &["a", "b"]), "a!");
        assert_eq!(
            adopted(&fleet, &[("a", Some(1))], &["b", "a"]),
            "",
            "the history has it so already"
        );
    }

    #[test]
    fn adoption_proves_release_that_another_history_rolled_out() {
        let fleet = fleet(&[("c", 4, true)]);
        assert_eq!(adopted(&fleet, &[("c", None)], &["a", "c"]), "c!");
        assert_eq!(
            adopted(
                &super::tests::fleet(&[("c", 4, false)]),
                &[("c", None)],
                &["a", "c"]
            ),
            ""
        );
    }

    #[test]
    fn adoption_skips_release_without_definition_on_hosts() {
        assert_eq!(adopted(&fleet(&[("a", 1, true)]), &[], &[]), "");
    }
}
