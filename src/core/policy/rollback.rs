//! The target of `ship rollback`, and its number of instances.

use std::fmt;

use crate::core::ids::Revision;
use crate::core::policy::history;
use crate::core::policy::revision::RevisionRecord;
use crate::core::policy::service_history::ServiceHistory;
use crate::core::rollout::failure::{Failure, FailureKind, Outcome};
use crate::core::rollout::verb::Verb;

/// Why there is nothing to roll back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RollbackRefusal {
    /// The history has no revision of this number.
    UnknownRevision(Revision),
    /// A contract migration has removed what this revision needs.
    PastContract {
        revision: Revision,
        /// The contract migration that forbids it.
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
                "unable to find specified revision {revision} in history; `ship history` lists \
                 what there is"
            ),
            Self::PastContract { revision, why } => write!(
                f,
                "there is no way back to revision {revision}: {why}; nothing was touched"
            ),
            Self::NothingDeployed => f.write_str(
                "nothing was deployed yet, so there is nothing to roll back; `ship deploy` comes \
                 first",
            ),
            Self::NoOther => f.write_str(
                "no other revision has been proven healthy, so there is nothing to go back to; \
                 `ship history` lists what there is, and --to-revision names one all the same",
            ),
        }
    }
}

/// The revision that a rollback goes to: the one that was asked for, the one to which an unfinished
/// rollback was on its way if it was ever proven, or the newest proven one of another release.
///
/// # Errors
/// If there is none.
pub fn choose_target(
    history: &ServiceHistory,
    asked_for: Option<Revision>,
) -> Result<&RevisionRecord, RollbackRefusal> {
    if let Some(number) = asked_for {
        let found = history
            .revision(number)
            .ok_or(RollbackRefusal::UnknownRevision(number))?;
        check_contracts(history, found)?;
        return Ok(found);
    }
    let present = history.current().ok_or(RollbackRefusal::NothingDeployed)?;
    // What runs by now is no revision to go back from. An unproven one is not continued: only
    // `--to-revision` names it.
    if present.is_unfinished_rollback() && history.is_proven(&present.release) {
        return Ok(present);
    }
    if let Some(back) = history.rollback_target(&present.release) {
        return Ok(back);
    }
    // The reason is a contract if only a contract is in the way.
    let past = history.past();
    if let Some(newest) = history::rollback_target(&past, &present.release)
        .and_then(|back| history.revision(back.revision))
    {
        check_contracts(history, newest)?;
    }
    Err(RollbackRefusal::NoOther)
}

/// Refuses a revision if a contract has taken away what it needs.
///
/// # Errors
/// If one has.
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

/// Whether a revision is the one that the fleet was brought to last.
pub fn is_present(history: &ServiceHistory, target: &RevisionRecord) -> bool {
    history.current().is_some_and(|present| {
        present.release == target.release && present.outcome == Some(Outcome::Succeeded)
    })
}

/// The number of instances that a rollback wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicasOfRollback {
    pub replicas: u32,
    /// A note for the user, if the number differs from the one that the target ran with.
    pub note: Option<String>,
}

/// The number of instances that a rollback wants where the command line says none; `None` where the
/// files decide.
///
/// If the rollback undoes the last deploy, the number is rolled back, too. With another target it
/// stays at `now`, as does a number that `ship scale` has set since.
pub fn replicas_of_rollback(
    history: &ServiceHistory,
    target: &RevisionRecord,
    now: u32,
) -> Option<ReplicasOfRollback> {
    let then = history::replicas_of(&history.runs, &target.release)?;
    if history::is_scaled_since(&history.runs, &target.release) {
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
            "{} wanted again, as when {version} (revision {revision}) ran; --set \
             rollout.replicas={now} keeps the present number",
            are(then)
        );
        (then, note)
    } else {
        let note = format!(
            "{} wanted as before; when {version} (revision {revision}) ran, the number was {then}: \
             --set rollout.replicas={then} restores it",
            are(now)
        );
        (now, note)
    };
    let note = Some(note);
    Some(ReplicasOfRollback { replicas, note })
}

fn are(replicas: u32) -> String {
    if replicas == 1 {
        "1 replica is".to_owned()
    } else {
        format!("{replicas} replicas are")
    }
}

/// A bare rollback right after another one, made by ship or by a person.
///
/// Who asks for it may not know of the first. The second would go one revision further back than is
/// meant, or to the one that was left.
#[derive(Clone, Debug, PartialEq)]
pub struct RepeatedRollback<'a> {
    /// The newest deploy or rollback.
    pub newest: &'a RevisionRecord,
    present: &'a RevisionRecord,
    left: Option<&'a RevisionRecord>,
    next: Option<&'a RevisionRecord>,
    is_next_older: bool,
}

/// Whether a rollback was just made, so that another one without a target is refused.
pub fn repeated_rollback(history: &ServiceHistory) -> Option<RepeatedRollback<'_>> {
    let mut newest_first = history
        .revisions
        .iter()
        .rev()
        .filter(|record| matches!(record.verb, Verb::Deploy | Verb::Rollback));
    let (newest, present) = (newest_first.next()?, history.current()?);
    let left = match (newest.verb, &newest.outcome) {
        (Verb::Deploy, Some(Outcome::RolledBack)) => None,
        (Verb::Rollback, Some(Outcome::Succeeded)) => {
            newest_first.find(|record| record.outcome != Some(Outcome::RolledBack))
        }
        _ => return None,
    };
    let left_release = left.map(|left| &left.release);
    let mut past = history.past();
    past.retain(|past| Some(&past.release) != left_release);
    let next = history::rollback_target(&past, &present.release)
        .and_then(|back| history.revision(back.revision));
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
        left,
        next,
        is_next_older,
    })
}

impl RepeatedRollback<'_> {
    /// The message: `failure` is that of the newest revision, `at` when it ended.
    pub fn message(&self, failure: Option<&Failure>, at: &str) -> String {
        let newest = self.newest;
        let what = if newest.verb == Verb::Deploy {
            let how = match failure.filter(|failure| failure.kind == FailureKind::Aborted) {
                Some(aborted) => format!("was aborted by {}", aborted.detail),
                None => "failed".to_owned(),
            };
            format!("{} {how} and was rolled back at {at}", name(newest))
        } else {
            let from = self.left.map(|left| format!(" from {}", name(left)));
            let from = from.unwrap_or_default();
            format!("{} rolled back{from} at {at}", newest.who)
        };
        format!(
            "{what}, so {} runs; nothing was touched\nhint: {}",
            name(self.present),
            self.hints().join("; ")
        )
    }

    fn hints(&self) -> Vec<String> {
        let command = |to: &RevisionRecord, goes: &str| {
            format!(
                "`ship rollback --to-revision {}` {goes} {}",
                to.revision, to.definition.version
            )
        };
        let goes = if self.is_next_older {
            "goes further back, to"
        } else {
            "goes to"
        };
        let next = self.next.map(|next| command(next, goes));
        let left = self.left.map(|left| command(left, "returns to"));
        let hints: Vec<_> = next.into_iter().chain(left).collect();
        if hints.is_empty() {
            let none = "no other revision has been proven healthy; `ship history` lists what \
                        there is";
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

    fn target(history: HistoryBuilder, asked_for: Option<u32>) -> Result<u32, String> {
        let history = history.build();
        let chosen = choose_target(&history, asked_for.map(Revision));
        chosen
            .map(|record| record.revision.0)
            .map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn bare_rollback_goes_to_the_newest_other_proven_revision() {
        assert_eq!(target(on_b(), None), Ok(1));
        assert_eq!(target(on_b().deploy("c", None), None), Ok(2));
        let undone = on_b().rollout(Verb::Rollback, "a", 3, None);
        assert_eq!(
            target(undone, None),
            Ok(3),
            "it goes on to where it was going"
        );
        let to_unproven =
            on_b()
                .deploy("c", Some(Outcome::RolledBack))
                .rollout(Verb::Rollback, "c", 3, None);
        assert_eq!(
            target(to_unproven, None),
            Ok(2),
            "only --to-revision goes to what was never proven"
        );
    }

    #[test]
    fn named_revision_is_taken_if_it_may_run() {
        assert_eq!(target(on_b(), Some(2)), Ok(2));
        assert_eq!(
            target(on_b(), Some(7)),
            Err(
                "unable to find specified revision 7 in history; `ship history` lists what there \
                 is"
                .into()
            )
        );
    }

    #[test]
    fn rollback_is_refused_without_a_target_and_past_a_contract() {
        let none = target(HistoryBuilder::default(), None).expect_err("nothing is there");
        assert!(none.starts_with("nothing was deployed yet"), "{none}");
        let only_a = HistoryBuilder::default().deploy("a", Some(Outcome::Succeeded));
        let other = target(only_a, None).expect_err("only a is there");
        assert!(
            other.starts_with("no other revision has been proven healthy"),
            "{other}"
        );
        for asked_for in [None, Some(1)] {
            let past = target(on_b().contracted("drop-email"), asked_for).expect_err("it is past");
            assert!(
                past.starts_with("there is no way back to revision 1: A is from before"),
                "{past}"
            );
        }
    }

    #[test]
    fn present_revision_is_recognized() {
        let history = on_b().build();
        let is_present =
            |number| is_present(&history, history.revision(Revision(number)).expect("known"));
        assert!(is_present(2));
        assert!(!is_present(1));
    }

    #[test]
    fn number_of_instances_goes_back_with_the_deploy_that_is_undone() {
        let of = |history: HistoryBuilder, to: u32, now| {
            let history = history.build();
            let target = history.revision(Revision(to)).expect("known");
            replicas_of_rollback(&history, target, now)
        };
        let more = || on_b().rollout(Verb::Deploy, "c", 5, Some(Outcome::Succeeded));
        let undone = of(more(), 2, 5).expect("b has served");
        assert_eq!(undone.replicas, 3);
        assert_eq!(
            undone.note.as_deref(),
            Some(
                "3 replicas are wanted again, as when B (revision 2) ran; --set \
                 rollout.replicas=5 keeps the present number"
            )
        );
        let other = of(more(), 1, 5).expect("a has served");
        assert_eq!(other.replicas, 5);
        assert!(
            other
                .note
                .is_some_and(|note| note.contains("--set rollout.replicas=3 restores"))
        );
        let same = of(on_b(), 1, 3).expect("a has served");
        assert_eq!((same.replicas, same.note), (3, None));
        let scaled = on_b().rollout(Verb::Scale, "b", 5, Some(Outcome::Succeeded));
        assert_eq!(of(scaled, 1, 5), None, "a person has set it since");
    }

    #[test]
    fn second_bare_rollback_in_a_row_is_recognized() {
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
                 nothing was touched\nhint: `ship rollback --to-revision 1` goes further back, to A"
            )
        );
        let aborted = failure(FailureKind::Aborted);
        assert!(
            message(failed(), Some(&aborted))
                .is_some_and(|message| message.contains("was aborted by status 500"))
        );
        let by_hand = on_b().rollout(Verb::Rollback, "a", 3, Some(Outcome::Succeeded));
        assert_eq!(
            message(by_hand, None).as_deref(),
            Some(
                "anna@laptop rolled back from revision 2 (B) at 10:42, so revision 3 (A) runs; \
                 nothing was touched\nhint: `ship rollback --to-revision 2` returns to B"
            )
        );
    }
}
