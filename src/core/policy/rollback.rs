//! The target of `ship rollback`, and its number of instances.

use std::fmt;

use crate::core::ids::Revision;
use crate::core::policy::history;
use crate::core::policy::revision::RevisionRecord;
use crate::core::policy::service_history::ServiceHistory;
use crate::core::rollout::failure::{Failure, FailureKind, Outcome};
use crate::core::rollout::verb::Verb;

/// Why a rollback has no target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RollbackRefusal {
    /// The history has no revision with this number.
    UnknownRevision(Revision),
    /// A contract migration has removed something that this revision needs.
    PastContract {
        revision: Revision,
        /// The contract migration.
        why: String,
    },
    NothingDeployed,
    /// No other revision was proven healthy.
    NoOther,
}

impl fmt::Display for RollbackRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownRevision(revision) => write!(
                f,
                "unable to find specified revision {revision} in history\nhint: list the revisions \
                 with `ship history`"
            ),
            Self::PastContract { revision, why } => write!(
                f,
                "cannot roll back to revision {revision}: {why}; no changes were made"
            ),
            Self::NothingDeployed => f.write_str(
                "nothing has been deployed yet, so there is nothing to roll back\nhint: run `ship \
                 deploy` first",
            ),
            Self::NoOther => f.write_str(
                "cannot roll back: no other revision has been proven healthy\nhint: choose a \
                 revision from `ship history` with --to-revision",
            ),
        }
    }
}

/// The revision to roll back to: the requested one, otherwise the proven target of an unfinished
/// rollback, otherwise the newest proven revision of another release.
///
/// # Errors
/// If there is no such revision.
pub fn choose_target(
    history: &ServiceHistory,
    requested: Option<Revision>,
) -> Result<&RevisionRecord, RollbackRefusal> {
    if let Some(number) = requested {
        let found = history
            .revision(number)
            .ok_or(RollbackRefusal::UnknownRevision(number))?;
        check_contracts(history, found)?;
        return Ok(found);
    }
    let present = history.current().ok_or(RollbackRefusal::NothingDeployed)?;
    // An unfinished rollback continues to its target if that is proven. Any other target needs
    // `--to-revision`.
    if present.is_unfinished_rollback() && history.is_proven(&present.release) {
        return Ok(present);
    }
    if let Some(target) = history.rollback_target(&present.release) {
        return Ok(target);
    }
    // If only a contract migration rules out every target, name it as the reason.
    let past = history.past();
    if let Some(newest) = history::rollback_target(&past, &present.release)
        .and_then(|target| history.revision(target.revision))
    {
        check_contracts(history, newest)?;
    }
    Err(RollbackRefusal::NoOther)
}

/// Checks that no contract migration has removed something that a revision needs.
///
/// # Errors
/// If a contract migration has.
pub fn check_contracts(
    history: &ServiceHistory,
    record: &RevisionRecord,
) -> Result<(), RollbackRefusal> {
    match history.past_contract(record) {
        Some(why) => Err(RollbackRefusal::PastContract {
            revision: record.revision,
            why,
        }),
        None => Ok(()),
    }
}

/// Whether the release of this revision is the current one by the history.
pub fn is_present(history: &ServiceHistory, target: &RevisionRecord) -> bool {
    history.current().is_some_and(|present| {
        present.release == target.release && present.outcome == Some(Outcome::Succeeded)
    })
}

/// The number of instances that a rollback wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicasOfRollback {
    pub replicas: u32,
    /// A note for the user, if the current number differs from that with which the target ran.
    pub note: Option<String>,
}

/// The number of instances that a rollback wants if the command line sets none; `None` if the
/// configuration files decide.
///
/// If the rollback undoes the last deploy, it restores the number, too. With another target, the
/// number stays at `now`. If `ship scale` has changed the number since the target ran, the files
/// decide.
pub fn replicas_of_rollback(
    history: &ServiceHistory,
    target: &RevisionRecord,
    now: u32,
) -> Option<ReplicasOfRollback> {
    let then = history::replicas_of(&history.runs, &target.release)?;
    if history::was_scaled_since(&history.runs, &target.release) {
        return None;
    }
    if then == now {
        return Some(ReplicasOfRollback {
            replicas: now,
            note: None,
        });
    }
    let undone = history
        .current()
        .and_then(|present| history.rollback_target(&present.release));
    let (revision, version) = (target.revision, &target.definition.version);
    let undoes = undone.is_some_and(|undone| undone.release == target.release);
    let (replicas, note) = if undoes {
        let note = format!(
            "restoring {} of {version} (revision {revision}); to keep the current number, use --set \
             rollout.replicas={now}",
            count(then)
        );
        (then, note)
    } else {
        let note = format!(
            "keeping {}; {version} (revision {revision}) ran with {then}: to restore that number, use \
             --set rollout.replicas={then}",
            count(now)
        );
        (now, note)
    };
    let note = Some(note);
    Some(ReplicasOfRollback { replicas, note })
}

fn count(replicas: u32) -> String {
    if replicas == 1 {
        "1 replica".to_owned()
    } else {
        format!("{replicas} replicas")
    }
}

/// A `ship rollback` without a target, right after another rollback by ship or by a user.
///
/// The user may not know about the first rollback. The second one would roll back one revision
/// further than intended, or return to the revision that was rolled back.
#[derive(Clone, Debug, PartialEq)]
pub struct RepeatedRollback<'a> {
    /// The newest deploy or rollback.
    pub newest: &'a RevisionRecord,
    present: &'a RevisionRecord,
    /// The revision that a user rolled back.
    rolled_back: Option<&'a RevisionRecord>,
    /// The target of another rollback.
    next: Option<&'a RevisionRecord>,
    is_next_older: bool,
}

/// The last rollback, if it is the newest change. Another rollback without a target is then
/// refused.
pub fn repeated_rollback(history: &ServiceHistory) -> Option<RepeatedRollback<'_>> {
    let mut newest_first = history
        .revisions
        .iter()
        .rev()
        .filter(|record| matches!(record.verb, Verb::Deploy | Verb::Rollback));
    let (newest, present) = (newest_first.next()?, history.current()?);
    let rolled_back = match (newest.verb, &newest.outcome) {
        (Verb::Deploy, Some(Outcome::RolledBack)) => None,
        (Verb::Rollback, Some(Outcome::Succeeded)) => {
            newest_first.find(|record| record.outcome != Some(Outcome::RolledBack))
        }
        _ => return None,
    };
    let rolled_back_release = rolled_back.map(|record| &record.release);
    let mut past = history.past();
    past.retain(|past| Some(&past.release) != rolled_back_release);
    let next = history::rollback_target(&past, &present.release)
        .and_then(|target| history.revision(target.revision));
    let first = history
        .revisions
        .iter()
        .find(|record| record.release == present.release);
    let is_next_older = first
        .zip(next)
        .is_some_and(|(first, next)| next.revision < first.revision);
    Some(RepeatedRollback {
        newest,
        present,
        rolled_back,
        next,
        is_next_older,
    })
}

impl RepeatedRollback<'_> {
    /// The message for the user. `failure` is the failure of the newest revision, `at` the time
    /// when its rollout ended.
    pub fn message(&self, failure: Option<&Failure>, at: &str) -> String {
        let newest = self.newest;
        let what = if newest.verb == Verb::Deploy {
            let how = match failure.filter(|failure| failure.kind == FailureKind::Aborted) {
                Some(aborted) => format!("was aborted by {}", aborted.detail),
                None => "failed".to_owned(),
            };
            format!("{} {how} and was rolled back at {at}", name(newest))
        } else {
            let from = self
                .rolled_back
                .map(|record| format!(" from {}", name(record)));
            let from = from.unwrap_or_default();
            format!("{} rolled back{from} at {at}", newest.who)
        };
        format!(
            "{what}, so {} runs; no changes were made\nhint: {}",
            name(self.present),
            self.hints().join("; ")
        )
    }

    fn hints(&self) -> Vec<String> {
        let command = |to: &RevisionRecord, verb: &str| {
            format!(
                "`ship rollback --to-revision {}` {verb} {}",
                to.revision, to.definition.version
            )
        };
        let verb = if self.is_next_older {
            "rolls back further, to"
        } else {
            "rolls back to"
        };
        let next = self.next.map(|next| command(next, verb));
        let rolled_back = self.rolled_back.map(|record| command(record, "returns to"));
        let hints: Vec<_> = next.into_iter().chain(rolled_back).collect();
        if hints.is_empty() {
            let none = "no other revision has been proven healthy; list the revisions with \
                        `ship history`";
            return vec![none.to_owned()];
        }
        hints
    }
}

fn name(record: &RevisionRecord) -> String {
    format!(
        "revision {} ({})",
        record.revision, record.definition.version
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::policy::testing::{HistoryBuilder, failure};

    fn on_b() -> HistoryBuilder {
        HistoryBuilder::default()
            .deploy("a", Some(Outcome::Succeeded))
            .deploy("b", Some(Outcome::Succeeded))
    }

    fn target(history: HistoryBuilder, requested: Option<u32>) -> Result<u32, String> {
        let history = history.build();
        let chosen = choose_target(&history, requested.map(Revision));
        chosen
            .map(|record| record.revision.0)
            .map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn rollback_without_target_chooses_the_newest_other_proven_revision() {
        assert_eq!(target(on_b(), None), Ok(1));
        assert_eq!(target(on_b().deploy("c", None), None), Ok(2));
        let undone = on_b().rollout(Verb::Rollback, "a", 3, None);
        assert_eq!(
            target(undone, None),
            Ok(3),
            "an unfinished rollback continues"
        );
        let to_unproven =
            on_b()
                .deploy("c", Some(Outcome::RolledBack))
                .rollout(Verb::Rollback, "c", 3, None);
        assert_eq!(
            target(to_unproven, None),
            Ok(2),
            "a revision that was never proven needs --to-revision"
        );
    }

    #[test]
    fn rollback_to_a_named_revision_needs_a_known_revision() {
        assert_eq!(target(on_b(), Some(2)), Ok(2));
        assert_eq!(
            target(on_b(), Some(7)),
            Err(
                "unable to find specified revision 7 in history\nhint: list the revisions with \
                 `ship history`"
                    .into()
            )
        );
    }

    #[test]
    fn rollback_is_refused_without_a_target_and_past_a_contract() {
        let none = target(HistoryBuilder::default(), None).expect_err("nothing was deployed");
        assert!(none.starts_with("nothing has been deployed yet"), "{none}");
        let only_a = HistoryBuilder::default().deploy("a", Some(Outcome::Succeeded));
        let other = target(only_a, None).expect_err("a is the only revision");
        assert!(
            other.starts_with("cannot roll back: no other revision has been proven healthy"),
            "{other}"
        );
        for requested in [None, Some(1)] {
            let past =
                target(on_b().contracted("drop-email"), requested).expect_err("a contract was run");
            assert!(
                past.starts_with("cannot roll back to revision 1: A is from before"),
                "{past}"
            );
        }
    }

    #[test]
    fn current_revision_is_recognized() {
        let history = on_b().build();
        let is_present =
            |number| is_present(&history, history.revision(Revision(number)).expect("known"));
        assert!(is_present(2));
        assert!(!is_present(1));
    }

    #[test]
    fn rollback_restores_the_number_of_instances_of_the_undone_deploy() {
        let replicas = |history: HistoryBuilder, to: u32, now| {
            let history = history.build();
            let target = history.revision(Revision(to)).expect("known");
            replicas_of_rollback(&history, target, now)
        };
        let more = || on_b().rollout(Verb::Deploy, "c", 5, Some(Outcome::Succeeded));
        let undone = replicas(more(), 2, 5).expect("b has served");
        assert_eq!(undone.replicas, 3);
        assert_eq!(
            undone.note.as_deref(),
            Some(
                "restoring 3 replicas of B (revision 2); to keep the current number, use --set \
                 rollout.replicas=5"
            )
        );
        let other = replicas(more(), 1, 5).expect("a has served");
        assert_eq!(other.replicas, 5);
        assert!(
            other
                .note
                .is_some_and(|note| note.ends_with("--set rollout.replicas=3"))
        );
        let same = replicas(on_b(), 1, 3).expect("a has served");
        assert_eq!((same.replicas, same.note), (3, None));
        let scaled = on_b().rollout(Verb::Scale, "b", 5, Some(Outcome::Succeeded));
        assert_eq!(replicas(scaled, 1, 5), None, "a user has set it since");
    }

    #[test]
    fn second_rollback_without_target_is_recognized() {
        let message = |history: HistoryBuilder, failure: Option<&Failure>| {
            let history = history.build();
            repeated_rollback(&history).map(|repeated| repeated.message(failure, "10:42"))
        };
        assert_eq!(message(on_b(), None), None);
        let failed = || on_b().deploy("c", Some(Outcome::RolledBack));
        assert_eq!(
            message(failed(), None).as_deref(),
            Some(
                "revision 3 (C) failed and was rolled back at 10:42, so revision 2 (B) runs; \
                 no changes were made\nhint: `ship rollback --to-revision 1` rolls back further, to A"
            )
        );
        let aborted = failure(FailureKind::Aborted);
        assert!(
            message(failed(), Some(&aborted))
                .is_some_and(|message| message.contains("was aborted by status 500"))
        );
        let manual = on_b().rollout(Verb::Rollback, "a", 3, Some(Outcome::Succeeded));
        assert_eq!(
            message(manual, None).as_deref(),
            Some(
                "anna@laptop rolled back from revision 2 (B) at 10:42, so revision 3 (A) runs; \
                 no changes were made\nhint: `ship rollback --to-revision 2` returns to B"
            )
        );
    }
}
