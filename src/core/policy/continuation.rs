//! How a stopped rollout continues, and why it cannot.

use std::fmt;

use crate::core::ids::Revision;
use crate::core::policy::revision::RevisionRecord;
use crate::core::policy::service_history::ServiceHistory;
use crate::core::rollout::failure::Outcome;
use crate::core::rollout::verb::Verb;
use crate::core::rollout::{Direction, Rollout};

/// How a stopped rollout goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Continuation {
    /// In its present direction.
    Resume,
    /// From the step at which it waits.
    Promote {
        by: String,
        /// Whether it skips all remaining steps.
        full: bool,
    },
    /// To its fallback.
    RollBack { by: String },
    /// Only the number of instances changes. Afterwards, the rollout is stopped as before.
    Scale(Outcome),
}

impl Continuation {
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
    RevisionForgotten(Revision),
    /// It has no fallback.
    NoFallback(Verb),
    /// A contract migration has removed what its fallback needs.
    PastContract {
        /// The fallback.
        revision: Revision,
        /// The contract migration that forbids it.
        why: String,
    },
    /// It does not wait at a step.
    NotAtStep {
        service: String,
    },
}

impl fmt::Display for ContinuationRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingDeployed => {
                f.write_str("nothing was deployed yet; `ship deploy` comes first")
            }
            Self::RevisionForgotten(revision) => write!(
                f,
                "revision {revision} is no longer in the history; deploy again"
            ),
            Self::NoFallback(verb) => write!(
                f,
                "there is no other revision proven healthy that this {} could go back to; `ship \
                 pause` stops it where it is, and `ship scale --replicas 0` stops the service",
                verb.noun()
            ),
            Self::PastContract { revision, why } => write!(
                f,
                "there is no way back to revision {revision}: {why}; nothing was touched"
            ),
            Self::NotAtStep { service } => write!(
                f,
                "deployment \"{service}\" does not wait at a step; `ship promote --full` lets it \
                 go through all that are left, `ship resume` goes on where it stands still"
            ),
        }
    }
}

/// The newest rollout, to go on with, and the revision that it is for.
///
/// # Errors
/// If there was none, or its revision is no longer in the history.
pub fn stopped_rollout(
    history: &ServiceHistory,
) -> Result<(&Rollout, &RevisionRecord), ContinuationRefusal> {
    let rollout = newest(history)?;
    let revision = rollout.goal.revision;
    let record = history
        .revision(revision)
        .ok_or(ContinuationRefusal::RevisionForgotten(revision))?;
    Ok((rollout, record))
}

/// Whether the newest rollout can be aborted: it goes back already, or has a fallback that may run.
///
/// # Errors
/// If it has none.
pub fn check_abort(history: &ServiceHistory) -> Result<(), ContinuationRefusal> {
    let rollout = newest(history)?;
    if matches!(rollout.direction, Direction::RollingBack(_)) {
        return Ok(());
    }
    let fallback = rollout
        .fallback
        .as_ref()
        .ok_or(ContinuationRefusal::NoFallback(rollout.verb))?;
    let past_contract = history
        .revision(fallback.revision)
        .and_then(|record| history.past_contract(record));
    match past_contract {
        Some(why) => Err(ContinuationRefusal::PastContract {
            revision: fallback.revision,
            why,
        }),
        None => Ok(()),
    }
}

/// Whether the newest rollout can be promoted: it waits at a step, or goes through all of them.
///
/// # Errors
/// If it does not wait at one.
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
    fn newest_rollout_goes_on_for_its_revision() {
        let history = on_a().deploy("b", None).build();
        let (rollout, record) = stopped_rollout(&history).expect("it was cut off");
        assert_eq!(rollout.goal.revision, record.revision);
        assert_eq!(
            Continuation::scale(rollout),
            Continuation::Scale(Outcome::Interrupted)
        );
        let mut forgotten = on_a().deploy("b", None).build();
        forgotten.revisions.pop();
        assert_eq!(
            stopped_rollout(&forgotten).expect_err("it is gone"),
            ContinuationRefusal::RevisionForgotten(Revision(2))
        );
        assert_eq!(
            stopped_rollout(&ServiceHistory::default()).expect_err("there is none"),
            ContinuationRefusal::NothingDeployed
        );
    }

    #[test]
    fn abort_needs_a_fallback_that_may_run_unless_it_goes_back_already() {
        let abort = |history: HistoryBuilder| check_abort(&history.build());
        assert_eq!(abort(on_a().deploy("b", None)), Ok(()));
        let first = HistoryBuilder::default().deploy("a", None);
        assert_eq!(
            abort(first),
            Err(ContinuationRefusal::NoFallback(Verb::Deploy))
        );
        let past = on_a().deploy("b", None).contracted("drop-email");
        assert!(matches!(
            abort(past),
            Err(ContinuationRefusal::PastContract {
                revision: Revision(1),
                ..
            })
        ));
        let going_back = on_a().deploy("b", None).contracted("drop-email").failed();
        assert_eq!(abort(going_back), Ok(()));
    }

    #[test]
    fn promotion_needs_a_step_that_waits_or_goes_through_all() {
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
        let refusal = promote(running(), false).expect_err("it is at no step");
        assert!(
            refusal
                .to_string()
                .starts_with("deployment \"page\" does not wait at a step")
        );
    }
}
