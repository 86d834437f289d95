//! How a stopped rollout continues, and the reasons why it cannot.

use std::fmt;

use crate::core::ids::Revision;
use crate::core::policy::revision::RevisionRecord;
use crate::core::policy::service_history::ServiceHistory;
use crate::core::rollout::failure::Outcome;
use crate::core::rollout::verb::Verb;
use crate::core::rollout::{Direction, Rollout};

/// How a stopped rollout continues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Continuation {
    /// The rollout continues in its current direction.
    Resume,
    /// The rollout continues from the step at which it waits.
    Promote {
        by: String,
        /// Whether to skip all remaining steps.
        full: bool,
    },
    /// The rollout rolls back to its rollback target.
    RollBack { by: String },
    /// Only the number of instances changes. Afterwards, the rollout is stopped as before.
    Scale(Outcome),
}

impl Continuation {
    /// Whether the rollout still starts instances of its target release.
    pub fn starts_target(&self, stopped: &Rollout) -> bool {
        match self {
            Self::Resume => stopped.direction == Direction::Forward,
            Self::Promote { .. } => true,
            Self::RollBack { .. } | Self::Scale(_) => false,
        }
    }

    /// Scales a fleet that a rollout left between two revisions.
    pub fn scale(stopped: &Rollout) -> Self {
        Self::Scale(stopped.outcome.clone().unwrap_or(Outcome::Interrupted))
    }
}

/// Why a stopped rollout cannot continue as requested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContinuationRefusal {
    NothingDeployed,
    /// The history no longer has the revision of the rollout.
    RevisionRemoved(Revision),
    /// The rollout has no rollback target.
    NoRollbackTarget(Verb),
    /// A contract migration has removed something that the rollback target needs.
    PastContract {
        /// The rollback target.
        revision: Revision,
        /// The contract migration.
        why: String,
    },
    /// The rollout does not wait at a step.
    NotAtStep {
        service: String,
    },
}

impl fmt::Display for ContinuationRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingDeployed => {
                f.write_str("nothing has been deployed yet\nhint: run `ship deploy` first")
            }
            Self::RevisionRemoved(revision) => write!(
                f,
                "revision {revision} is no longer in the history\nhint: deploy again"
            ),
            Self::NoRollbackTarget(verb) => write!(
                f,
                "cannot roll back this {}: no other revision has been proven healthy\nhint: stop the \
                 rollout with `ship pause`, or the service with `ship scale --replicas 0`",
                verb.noun()
            ),
            Self::PastContract { revision, why } => write!(
                f,
                "cannot roll back to revision {revision}: {why}; no changes were made"
            ),
            Self::NotAtStep { service } => write!(
                f,
                "service `{service}` is not waiting at a step\nhint: see `ship status`; continue a stopped \
                 rollout with `ship resume`"
            ),
        }
    }
}

/// The newest rollout and its revision.
///
/// # Errors
/// If there is no rollout, or its revision is no longer in the history.
pub fn stopped_rollout(
    history: &ServiceHistory,
) -> Result<(&Rollout, &RevisionRecord), ContinuationRefusal> {
    let rollout = newest(history)?;
    let revision = rollout.goal.revision;
    let record = history
        .revision(revision)
        .ok_or(ContinuationRefusal::RevisionRemoved(revision))?;
    Ok((rollout, record))
}

/// Checks that the newest rollout can be aborted: it is rolling back already, or has a rollback
/// target that no contract migration rules out.
///
/// # Errors
/// If the rollout has no such target.
pub fn check_abort(history: &ServiceHistory) -> Result<(), ContinuationRefusal> {
    let rollout = newest(history)?;
    if matches!(rollout.direction, Direction::RollingBack(_)) {
        return Ok(());
    }
    let rollback_target = rollout
        .rollback_target
        .as_ref()
        .ok_or(ContinuationRefusal::NoRollbackTarget(rollout.verb))?;
    let past_contract = history
        .revision(rollback_target.revision)
        .and_then(|record| history.past_contract(record));
    match past_contract {
        Some(why) => Err(ContinuationRefusal::PastContract {
            revision: rollback_target.revision,
            why,
        }),
        None => Ok(()),
    }
}

/// Checks that the newest rollout can be promoted: it waits at a step, or `full` skips all of them.
///
/// # Errors
/// If the rollout does not wait at a step.
pub fn check_promotion(
    history: &ServiceHistory,
    service: &str,
    full: bool,
) -> Result<(), ContinuationRefusal> {
    if newest(history)?.step.reached.is_some() || full {
        Ok(())
    } else {
        let service = service.to_owned();
        Err(ContinuationRefusal::NotAtStep { service })
    }
}

fn newest(history: &ServiceHistory) -> Result<&Rollout, ContinuationRefusal> {
    history
        .newest
        .as_ref()
        .ok_or(ContinuationRefusal::NothingDeployed)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::policy::testing::HistoryBuilder;
    use crate::core::rollout::event::Event;

    fn on_a() -> HistoryBuilder {
        HistoryBuilder::default().deploy("a", Some(Outcome::Succeeded))
    }

    #[test]
    fn stopped_rollout_continues_for_its_revision() {
        let history = on_a().deploy("b", None).build();
        let (rollout, record) = stopped_rollout(&history).expect("the rollout was interrupted");
        assert_eq!(rollout.goal.revision, record.revision);
        assert_eq!(
            Continuation::scale(rollout),
            Continuation::Scale(Outcome::Interrupted)
        );
        let mut forgotten = on_a().deploy("b", None).build();
        forgotten.revisions.pop();
        assert_eq!(
            stopped_rollout(&forgotten).expect_err("the revision is gone"),
            ContinuationRefusal::RevisionRemoved(Revision(2))
        );
        assert_eq!(
            stopped_rollout(&ServiceHistory::default()).expect_err("there is no rollout"),
            ContinuationRefusal::NothingDeployed
        );
    }

    #[test]
    fn abort_needs_a_usable_rollback_target_unless_already_rolling_back() {
        let abort = |history: HistoryBuilder| check_abort(&history.build());
        assert_eq!(abort(on_a().deploy("b", None)), Ok(()));
        let first = HistoryBuilder::default().deploy("a", None);
        assert_eq!(
            abort(first),
            Err(ContinuationRefusal::NoRollbackTarget(Verb::Deploy))
        );
        let past = on_a().deploy("b", None).contracted("drop-email");
        assert!(matches!(
            abort(past),
            Err(ContinuationRefusal::PastContract {
                revision: Revision(1),
                ..
            })
        ));
        let rolling_back = on_a().deploy("b", None).contracted("drop-email").failed();
        assert_eq!(abort(rolling_back), Ok(()));
    }

    #[test]
    fn promotion_needs_a_waiting_step_unless_full() {
        let running = || on_a().deploy("b", None);
        let reached = Event::StepReached {
            step: 1,
            of: 2,
            instances: 1,
            soak: Duration::ZERO,
            pause: true,
        };
        let promote =
            |history: HistoryBuilder, full| check_promotion(&history.build(), "page", full);
        assert_eq!(promote(running().then(reached), false), Ok(()));
        assert_eq!(promote(running(), true), Ok(()));
        let refusal = promote(running(), false).expect_err("the rollout is not at a step");
        assert!(
            refusal
                .to_string()
                .starts_with("service `page` is not waiting at a step")
        );
    }
}
