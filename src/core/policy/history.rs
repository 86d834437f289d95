//! The history: which revisions are rollback targets, and which are removed from it.

use std::collections::BTreeSet;

use crate::core::ids::{ReleaseId, Revision};
use crate::core::rollout::event::RolloutStart;
use crate::core::rollout::failure::Outcome;
use crate::core::rollout::verb::Verb;

/// The facts about a revision on which the policy decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastRevision {
    pub revision: Revision,
    pub release: ReleaseId,
    pub verb: Verb,
    /// Whether a rollout of it has ever succeeded with at least one instance that served.
    pub proven: bool,
}

impl PastRevision {
    /// Whether the revision changed the release. Restarts, scalings and contract migrations keep
    /// the release, so they are not rollback targets.
    fn is_deploy(&self) -> bool {
        matches!(self.verb, Verb::Deploy | Verb::Rollback)
    }
}

/// Whether any revision of a release was proven. A proof applies to the release, and thereby to all
/// its revisions.
pub fn is_proven(past: &[PastRevision], release: &ReleaseId) -> bool {
    past.iter()
        .any(|entry| entry.proven && entry.release == *release)
}

/// The revision that a failed deploy of `release` rolls back to: the last proven one. `None` if
/// that revision has the same release, because a user has replaced every older release on purpose.
pub fn automatic_rollback_target<'a>(
    past: &'a [PastRevision],
    release: &ReleaseId,
) -> Option<&'a PastRevision> {
    let newest = newest_proven(past, |_| true)?;
    (newest.release != *release).then(|| deploy_of(past, newest))
}

/// The target of `ship rollback` without arguments while `present` runs: the newest proven revision
/// of another release. The previous revision may be the broken one.
pub fn rollback_target<'a>(
    past: &'a [PastRevision],
    present: &ReleaseId,
) -> Option<&'a PastRevision> {
    newest_proven(past, |entry| entry.release != *present).map(|proven| deploy_of(past, proven))
}

fn newest_proven(
    past: &[PastRevision],
    is_candidate: impl Fn(&PastRevision) -> bool,
) -> Option<&PastRevision> {
    past.iter()
        .filter(|entry| entry.proven && is_candidate(entry))
        .max_by_key(|entry| entry.revision)
}

/// The revision that deployed the release of `proven`; `proven` itself if that revision is no
/// longer known.
fn deploy_of<'a>(past: &'a [PastRevision], proven: &'a PastRevision) -> &'a PastRevision {
    let deployed_it = |entry: &&PastRevision| {
        entry.is_deploy() && entry.release == proven.release && entry.revision <= proven.revision
    };
    past.iter()
        .filter(deployed_it)
        .max_by_key(|entry| entry.revision)
        .unwrap_or(proven)
}

/// The revisions to keep in a history of at most `limit` old revisions besides `current`.
///
/// The oldest revisions are removed first, but never the current one, the newest proven one or the
/// rollback target: a series of failed deploys must not push out the last good revision. Revisions
/// with the same release as the one before them (restarts, scalings, contract migrations and
/// repeated deploys) have a limit of their own, because they would push out rollback targets.
pub fn retained(past: &[PastRevision], current: Revision, limit: usize) -> BTreeSet<Revision> {
    let newest_proven = newest_proven(past, |_| true).map(|entry| entry.revision);
    let present = past.iter().find(|entry| entry.revision == current);
    let target = present
        .and_then(|present| rollback_target(past, &present.release))
        .map(|entry| entry.revision);
    let must_stay: BTreeSet<_> = [Some(current), newest_proven, target]
        .into_iter()
        .flatten()
        .collect();
    let mut in_order: Vec<_> = past.iter().collect();
    in_order.sort_unstable_by_key(|entry| entry.revision);
    let repeats = |index: usize| {
        let before = index.checked_sub(1).and_then(|before| in_order.get(before));
        before.is_some_and(|before| before.release == in_order[index].release)
    };
    let (mut changes, mut repeats_of_release): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
    for (index, entry) in in_order.iter().enumerate().rev() {
        if repeats(index) {
            repeats_of_release.push(entry.revision);
        } else {
            changes.push(entry.revision);
        }
    }
    let mut kept = must_stay;
    let keep = |kept: &mut BTreeSet<Revision>, revisions: Vec<Revision>| {
        let mut count = revisions
            .iter()
            .filter(|revision| kept.contains(revision))
            .count();
        for revision in revisions {
            if count > limit {
                break;
            }
            count += usize::from(kept.insert(revision));
        }
    };
    keep(&mut kept, changes);
    keep(&mut kept, repeats_of_release);
    kept
}

/// The releases to keep on the hosts: the proven releases of retained revisions. ship never rolls
/// back to a failed release.
pub fn kept_releases(past: &[PastRevision], retained: &BTreeSet<Revision>) -> BTreeSet<ReleaseId> {
    past.iter()
        .filter(|entry| retained.contains(&entry.revision) && is_proven(past, &entry.release))
        .map(|entry| entry.release.clone())
        .collect()
}

/// The start and the outcome of a rollout, from which the policy derives the number of instances of
/// a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutRun {
    pub start: RolloutStart,
    /// The outcome; `None` while the rollout runs, or if its controller died.
    pub outcome: Option<Outcome>,
}

impl RolloutRun {
    /// The release and the number of instances on the fleet after the rollout.
    fn end_state(&self) -> (&ReleaseId, u32) {
        let RolloutStart {
            target,
            rollback_target,
            replicas,
            rollback_replicas,
            ..
        } = &self.start;
        match (&self.outcome, rollback_target) {
            (Some(Outcome::RolledBack), Some(back)) => {
                (&back.release, rollback_replicas.unwrap_or(*replicas))
            }
            _ => (&target.release, *replicas),
        }
    }

    /// Whether a user changed the number of instances with this rollout.
    fn changes_replicas(&self) -> bool {
        self.start.verb == Verb::Scale || self.start.scaling.is_some()
    }

    fn has_served(&self) -> bool {
        matches!(self.outcome, Some(Outcome::Succeeded | Outcome::RolledBack))
            && self.end_state().1 > 0
    }
}

/// The release that the newest rollout rolled the fleet back to, if it did.
pub fn rolled_back_to(runs: &[RolloutRun]) -> Option<&ReleaseId> {
    let newest = runs
        .last()
        .filter(|run| run.outcome == Some(Outcome::RolledBack))?;
    newest
        .start
        .rollback_target
        .as_ref()
        .map(|rollback_target| &rollback_target.release)
}

/// The number of instances with which a release served last; `None` if it never served. `runs` are
/// ordered from the oldest.
pub fn replicas_of(runs: &[RolloutRun], release: &ReleaseId) -> Option<u32> {
    runs.iter()
        .rev()
        .filter(|run| run.has_served())
        .map(RolloutRun::end_state)
        .find(|(at_end, _)| *at_end == release)
        .map(|(_, n)| n)
}

/// Whether `ship scale` has changed the number of instances since a release served last.
pub fn was_scaled_since(runs: &[RolloutRun], release: &ReleaseId) -> bool {
    let mut newer = runs
        .iter()
        .rev()
        .take_while(|run| !(run.has_served() && run.end_state().0 == release));
    newer.any(RolloutRun::changes_replicas)
}

/// The number of instances after the rollback of a rollout that wants `replicas`.
///
/// A rollback restores the number before the rollout together with the release. If that number is
/// zero, ship uses the number with which the release served last.
pub fn replicas_after_rollback(runs: &[RolloutRun], release: &ReleaseId, replicas: u32) -> u32 {
    let is_over =
        |run: &&RolloutRun| matches!(run.outcome, Some(Outcome::Succeeded | Outcome::RolledBack));
    let Some(before) = runs.iter().rev().find(is_over) else {
        return replicas;
    };
    let mut since = runs.iter().rev().take_while(|run| !is_over(run));
    // If a user has changed the number since, the rollback keeps it: the new number did not fail.
    if since.any(RolloutRun::changes_replicas) {
        return replicas;
    }
    match before.end_state().1 {
        0 if replicas > 0 => replicas_of(runs, release).unwrap_or(replicas),
        before => before,
    }
}

/// The number of instances that the newest rollout wanted at its end.
pub fn last_wanted_replicas(runs: &[RolloutRun]) -> Option<u32> {
    runs.last().map(|run| run.end_state().1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(revision: u32, release: &str, verb: Verb, proven: bool) -> PastRevision {
        PastRevision {
            revision: Revision(revision),
            release: release.into(),
            verb,
            proven,
        }
    }

    fn past(entries: &[(u32, &str, bool)]) -> Vec<PastRevision> {
        entries
            .iter()
            .map(|&(revision, release, proven)| entry(revision, release, Verb::Deploy, proven))
            .collect()
    }

    fn numbers(revisions: &BTreeSet<Revision>) -> Vec<u32> {
        revisions.iter().map(|revision| revision.0).collect()
    }

    #[test]
    fn rollback_target_skips_failed_revisions_and_same_release() {
        let past = past(&[
            (1, "a", true),
            (2, "b", true),
            (3, "c", false),
            (4, "b", true),
        ]);
        assert_eq!(
            rollback_target(&past, &"b".into()).unwrap().revision,
            Revision(1)
        );
        assert_eq!(
            rollback_target(&past, &"c".into()).unwrap().revision,
            Revision(4)
        );
        assert!(rollback_target(&past[..1], &"a".into()).is_none());
        assert_eq!(
            automatic_rollback_target(&past, &"c".into())
                .unwrap()
                .revision,
            Revision(4)
        );
    }

    #[test]
    fn failed_deploy_never_rolls_back_past_its_own_proven_release() {
        // A user deploys X, then A, then B, which is interrupted, and then A again.
        let interrupted = past(&[(1, "x", true), (2, "a", true), (3, "b", false)]);
        assert!(automatic_rollback_target(&interrupted, &"a".into()).is_none());
        assert_eq!(
            automatic_rollback_target(&interrupted, &"c".into())
                .unwrap()
                .revision,
            Revision(2)
        );
        // X again: A was proven after X, and runs.
        assert_eq!(
            automatic_rollback_target(&interrupted, &"x".into())
                .unwrap()
                .revision,
            Revision(2)
        );
        assert!(is_proven(
            &past(&[(1, "a", true), (4, "a", false)]),
            &"a".into()
        ));
    }

    #[test]
    fn rollback_target_is_never_a_restart_or_scaling() {
        let past = [
            entry(1, "a", Verb::Deploy, true),
            entry(2, "a", Verb::Restart, true),
            entry(3, "a", Verb::Scale, true),
            entry(4, "b", Verb::Deploy, true),
        ];
        assert_eq!(
            rollback_target(&past, &"b".into()).unwrap().revision,
            Revision(1)
        );
        assert_eq!(
            automatic_rollback_target(&past, &"c".into())
                .unwrap()
                .revision,
            Revision(4)
        );
    }

    #[test]
    fn release_without_instances_is_proven_by_a_later_scaling() {
        let past = [
            entry(1, "a", Verb::Deploy, false),
            entry(2, "a", Verb::Scale, true),
            entry(3, "b", Verb::Deploy, false),
        ];
        assert_eq!(
            automatic_rollback_target(&past, &"b".into())
                .unwrap()
                .revision,
            Revision(1)
        );
    }

    #[test]
    fn retention_keeps_rollback_targets_despite_restarts_and_scalings() {
        let mut all = past(&[(1, "a", true), (2, "b", true), (3, "c", true)]);
        all.extend((4..=9).map(|n| {
            entry(
                n,
                "c",
                if n % 2 == 0 {
                    Verb::Restart
                } else {
                    Verb::Scale
                },
                true,
            )
        }));
        assert_eq!(numbers(&retained(&all, Revision(9), 2)), [1, 2, 3, 7, 8, 9]);
    }

    fn run(verb: Verb, release: &str, replicas: u32, outcome: Option<Outcome>) -> RolloutRun {
        let generation = |release: &str| crate::core::rollout::event::RevisionRef {
            revision: Revision(1),
            release: release.into(),
            version: release.into(),
        };
        let start = RolloutStart {
            verb,
            service: "page".into(),
            fleet: "local".into(),
            target: generation(release),
            rollback_target: Some(generation("a")),
            rollback_replicas: Some(4),
            replicas,
            epoch: crate::core::ids::Epoch(1),
            is_proven: false,
            scaling: None,
            set: Vec::new(),
            hosts_from: None,
        };
        RolloutRun { start, outcome }
    }

    #[test]
    fn replicas_of_release_are_those_with_which_it_served_last() {
        let (good, back) = (Some(Outcome::Succeeded), Some(Outcome::RolledBack));
        let deployed = |replicas| run(Verb::Deploy, "a", replicas, good.clone());
        let to_nothing = run(Verb::Scale, "a", 0, good.clone());
        assert_eq!(
            replicas_of(&[deployed(3), to_nothing.clone()], &"a".into()),
            Some(3),
            "none at all proves nothing"
        );
        assert_eq!(replicas_of(&[to_nothing], &"a".into()), None);
        let failed = [deployed(4), run(Verb::Deploy, "b", 2, back)];
        assert_eq!(replicas_of(&failed, &"a".into()), Some(4));
        assert_eq!(replicas_of(&failed, &"b".into()), None);
        assert_eq!(rolled_back_to(&failed), Some(&"a".into()));
        assert_eq!(rolled_back_to(&failed[..1]), None);
        assert_eq!(
            last_wanted_replicas(&failed),
            Some(4),
            "the rollback restores the number with the release"
        );
        assert!(!was_scaled_since(&failed, &"a".into()));
        assert_eq!(replicas_after_rollback(&failed, &"a".into(), 7), 4);
        let none = [
            deployed(3),
            run(Verb::Scale, "a", 0, good.clone()),
            run(Verb::Deploy, "b", 0, good.clone()),
        ];
        assert_eq!(
            replicas_after_rollback(&none, &"a".into(), 2),
            3,
            "it served with three"
        );
        assert_eq!(
            replicas_after_rollback(&none, &"a".into(), 0),
            0,
            "none is wanted"
        );
        let interrupted = [deployed(4), run(Verb::Deploy, "b", 2, None)];
        assert_eq!(replicas_after_rollback(&interrupted, &"a".into(), 2), 4);
        let scaled = [
            deployed(3),
            run(Verb::Deploy, "b", 3, good.clone()),
            run(Verb::Scale, "b", 9, good),
        ];
        assert!(was_scaled_since(&scaled, &"a".into()));
        assert!(!was_scaled_since(&scaled, &"b".into()));
    }

    #[test]
    fn failed_deploys_never_push_out_the_last_good_one() {
        let past = past(&[
            (1, "a", true),
            (2, "b", true),
            (3, "c", false),
            (4, "d", false),
            (5, "e", false),
        ]);
        assert_eq!(numbers(&retained(&past, Revision(2), 2)), [1, 2, 5]);
        assert_eq!(numbers(&retained(&past, Revision(2), 0)), [1, 2]);
        assert_eq!(
            kept_releases(&past, &retained(&past, Revision(2), 2)).len(),
            2
        );
    }

    #[test]
    fn history_limit_counts_old_revisions_as_kubernetes_does() {
        let past: Vec<_> = (1..=6)
            .map(|n| entry(n, &format!("r{n}"), Verb::Deploy, true))
            .collect();
        assert_eq!(numbers(&retained(&past, Revision(6), 3)), [3, 4, 5, 6]);
    }
}
