//! The history: which revisions are rollback targets, and which may be forgotten.

use std::collections::BTreeSet;

use crate::core::ids::{ReleaseId, Revision};
use crate::core::rollout::event::RolloutStart;
use crate::core::rollout::failure::Outcome;
use crate::core::rollout::verb::Verb;

/// What the policy needs of one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastRevision {
    pub revision: Revision,
    pub release: ReleaseId,
    pub verb: Verb,
    /// Whether a rollout of it has ever succeeded with at least one instance that served.
    pub proven: bool,
}

impl PastRevision {
    /// Whether it brought a release in. Restarts, scalings and contracts keep the release, so they
    /// are no targets.
    fn is_deploy(&self) -> bool {
        matches!(self.verb, Verb::Deploy | Verb::Rollback)
    }
}

/// Whether any revision of a release was proven. The release is what was proven, whatever its
/// revision's number.
pub fn is_proven(past: &[PastRevision], release: &ReleaseId) -> bool {
    past.iter()
        .any(|entry| entry.proven && entry.release == *release)
}

/// The revision that a failed deploy of `release` rolls back to: the last proven one. `None` if
/// that has the same release, because a user replaced every older release on purpose.
pub fn automatic_rollback_target<'a>(
    past: &'a [PastRevision],
    release: &ReleaseId,
) -> Option<&'a PastRevision> {
    let newest = newest_proven(past, |_| true)?;
    (newest.release != *release).then(|| deploy_of(past, newest))
}

/// What a bare `ship rollback` means where `present` runs: the newest proven revision of another
/// release. "The previous one" would not do, as it may be the broken one.
pub fn rollback_target<'a>(
    past: &'a [PastRevision],
    present: &ReleaseId,
) -> Option<&'a PastRevision> {
    newest_proven(past, |entry| entry.release != *present).map(|proven| deploy_of(past, proven))
}

fn newest_proven(
    past: &[PastRevision],
    is_meant: impl Fn(&PastRevision) -> bool,
) -> Option<&PastRevision> {
    past.iter()
        .filter(|entry| entry.proven && is_meant(entry))
        .max_by_key(|entry| entry.revision)
}

/// The revision that introduced the release of `proven`; itself if that is no longer known.
fn deploy_of<'a>(past: &'a [PastRevision], proven: &'a PastRevision) -> &'a PastRevision {
    let brought_in = |entry: &&PastRevision| {
        entry.is_deploy() && entry.release == proven.release && entry.revision <= proven.revision
    };
    past.iter()
        .filter(brought_in)
        .max_by_key(|entry| entry.revision)
        .unwrap_or(proven)
}

/// The revisions that stay when the history holds at most `limit` old ones besides `current`.
///
/// The oldest go first, but never the one that runs, the newest proven one, or the rollback target:
/// a series of failed deploys must not push out the last good one. Restarts, scalings and
/// contracts, and deploys that repeat the release before them, are counted separately, because they
/// would push out rollback targets.
pub fn retained(past: &[PastRevision], current: Revision, limit: usize) -> BTreeSet<Revision> {
    let newest_proven = newest_proven(past, |_| true).map(|entry| entry.revision);
    let present = past.iter().find(|entry| entry.revision == current);
    let back = present
        .and_then(|present| rollback_target(past, &present.release))
        .map(|entry| entry.revision);
    let must_stay: BTreeSet<_> = [Some(current), newest_proven, back]
        .into_iter()
        .flatten()
        .collect();
    let mut in_order: Vec<_> = past.iter().collect();
    in_order.sort_unstable_by_key(|entry| entry.revision);
    let repeats = |at: usize| {
        let before = at.checked_sub(1).and_then(|before| in_order.get(before));
        before.is_some_and(|before| before.release == in_order[at].release)
    };
    let (mut brought_in, mut repeated): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
    for (at, entry) in in_order.iter().enumerate().rev() {
        if repeats(at) {
            repeated.push(entry.revision);
        } else {
            brought_in.push(entry.revision);
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
    keep(&mut kept, brought_in);
    keep(&mut kept, repeated);
    kept
}

/// The releases that stay on the hosts: the proven releases of retained revisions. ship never rolls
/// back to a failed release.
pub fn kept_releases(past: &[PastRevision], retained: &BTreeSet<Revision>) -> BTreeSet<ReleaseId> {
    past.iter()
        .filter(|entry| retained.contains(&entry.revision) && is_proven(past, &entry.release))
        .map(|entry| entry.release.clone())
        .collect()
}

/// How a rollout was begun, and how it ended: for the number of instances that belongs to a
/// release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutRun {
    /// Its first event.
    pub start: RolloutStart,
    /// How it ended; `None` while it runs, or if its controller died.
    pub outcome: Option<Outcome>,
}

impl RolloutRun {
    /// The release and the number of instances that it left the fleet with.
    fn left(&self) -> (&ReleaseId, u32) {
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

    /// Whether it changed the number of instances.
    fn changes_number(&self) -> bool {
        self.start.verb == Verb::Scale || self.start.scaling.is_some()
    }

    fn has_served(&self) -> bool {
        matches!(self.outcome, Some(Outcome::Succeeded | Outcome::RolledBack)) && self.left().1 > 0
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

/// How many instances a release had when it served last; `None` if it never did. `runs` are the
/// oldest first.
pub fn replicas_of(runs: &[RolloutRun], release: &ReleaseId) -> Option<u32> {
    runs.iter()
        .rev()
        .filter(|run| run.has_served())
        .map(RolloutRun::left)
        .find(|(left, _)| *left == release)
        .map(|(_, n)| n)
}

/// Whether `ship scale` has set the number of instances since a release served last.
pub fn is_scaled_since(runs: &[RolloutRun], release: &ReleaseId) -> bool {
    let mut newer = runs
        .iter()
        .rev()
        .take_while(|run| !(run.has_served() && run.left().0 == release));
    newer.any(RolloutRun::changes_number)
}

/// How many instances run after the rollback of a failed rollout that wants `replicas`: as many as
/// before the rollout. A rollback restores the number together with the release. If the number
/// before is zero, ship uses the number with which the release served last.
pub fn replicas_after_rollback(runs: &[RolloutRun], release: &ReleaseId, replicas: u32) -> u32 {
    let is_over =
        |run: &&RolloutRun| matches!(run.outcome, Some(Outcome::Succeeded | Outcome::RolledBack));
    let Some(before) = runs.iter().rev().find(is_over) else {
        return replicas;
    };
    let mut since = runs.iter().rev().take_while(|run| !is_over(run));
    // The rollback keeps a number that a user has set since, because it did not fail.
    if since.any(RolloutRun::changes_number) {
        return replicas;
    }
    match before.left().1 {
        0 if replicas > 0 => replicas_of(runs, release).unwrap_or(replicas),
        before => before,
    }
}

/// The number of instances that the newest rollout wanted where it left the fleet.
pub fn replicas_wanted_last(runs: &[RolloutRun]) -> Option<u32> {
    runs.last().map(|run| run.left().1)
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
        // X again: A was proven later, and runs.
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
    fn restarts_and_scalings_are_no_rollback_targets() {
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
    fn release_deployed_to_no_instances_is_proven_by_the_scaling_that_ran_it() {
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
        };
        RolloutRun { start, outcome }
    }

    #[test]
    fn number_of_a_release_is_that_with_which_it_served_last() {
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
            replicas_wanted_last(&failed),
            Some(4),
            "the rollback restores the number with the release"
        );
        assert!(!is_scaled_since(&failed, &"a".into()));
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
        assert!(is_scaled_since(&scaled, &"a".into()));
        assert!(!is_scaled_since(&scaled, &"b".into()));
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
    fn the_limit_counts_old_revisions_as_kubernetes_does() {
        let past: Vec<_> = (1..=6)
            .map(|n| entry(n, &format!("r{n}"), Verb::Deploy, true))
            .collect();
        assert_eq!(numbers(&retained(&past, Revision(6), 3)), [3, 4, 5, 6]);
    }
}
