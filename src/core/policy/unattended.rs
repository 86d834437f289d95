//! What an unattended deploy does, decided before ship changes anything.

use crate::core::ids::{ReleaseId, Revision};
use crate::core::policy::service_history::ServiceHistory;
use crate::core::policy::service_state::ServiceState;
use crate::core::rollout::Direction;
use crate::core::rollout::failure::{Failure, FailureKind, Outcome};
use crate::core::rollout::verb::Verb;

/// What the next deploy does with a rollout whose controller died or whose window closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnInterrupted {
    /// The next deploy resumes the rollout.
    #[default]
    Resume,
    /// The next deploy rolls back to the revision proven healthy and does nothing else.
    Abort,
}

/// Whether a deploy runs unattended, and whether it overrides checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunMode {
    /// Whether the deploy must not prompt.
    pub unattended: bool,
    /// Whether the deploy ignores a freeze, a closed window, a quarantine and an unhealthy fleet.
    pub force: bool,
}

/// The facts about a revision on which an unattended deploy decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionAttempt {
    pub revision: Revision,
    pub release: ReleaseId,
    pub version: String,
    pub verb: Verb,
    /// Whether a rollout of it has ever succeeded.
    pub proven: bool,
    /// The outcome of its newest rollout; `None` if it has not ended.
    pub outcome: Option<Outcome>,
    /// The failure of the last rollout, if it failed.
    pub failure: Option<Failure>,
}

/// What an unattended deploy does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// The deploy begins or resumes.
    Go,
    /// The interrupted rollback continues, and nothing else happens.
    ResumeRollback,
    /// The unfinished rollout is aborted, and nothing else happens.
    Abort,
    /// The deploy does nothing and succeeds.
    Skip { why: String },
    /// The deploy does nothing and fails, because a person must act.
    Refuse { why: String },
}

/// The state in which the previous rollout left the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreviousRollout {
    pub state: ServiceState,
    /// Whether the newest rollout was rolling back.
    pub is_rolling_back: bool,
    /// Whether there is a revision to roll back to.
    pub has_rollback_target: bool,
}

impl PreviousRollout {
    /// The state in which the newest rollout of a history left the fleet.
    pub fn of(history: &ServiceHistory) -> Self {
        let newest = history.newest.as_ref();
        Self {
            state: history.state(),
            is_rolling_back: newest
                .is_some_and(|newest| matches!(newest.direction, Direction::RollingBack(_))),
            has_rollback_target: newest.is_some_and(|newest| newest.rollback_target.is_some()),
        }
    }
}

/// Decides from the history what an unattended deploy of `release` does.
pub fn resolve(
    previous: PreviousRollout,
    attempts: &[RevisionAttempt],
    release: &ReleaseId,
    policy: OnInterrupted,
) -> Resolution {
    match previous.state {
        ServiceState::Held | ServiceState::RollbackFailed => {
            let how = if previous.state == ServiceState::Held {
                "is held"
            } else {
                "failed, and the rollback failed too"
            };
            let why = format!(
                "the last rollout {how}, so the fleet is between two revisions and a person is \
                 needed\nhint: see `ship status`, then run `ship resume` or `ship abort`"
            );
            Resolution::Refuse { why }
        }
        ServiceState::Interrupted if previous.is_rolling_back => Resolution::ResumeRollback,
        ServiceState::Interrupted
            if policy == OnInterrupted::Abort && previous.has_rollback_target =>
        {
            Resolution::Abort
        }
        _ => match quarantined(attempts, release) {
            Some(why) => Resolution::Skip { why },
            None => Resolution::Go,
        },
    }
}

/// Why a release is quarantined: it has failed, or a user rolled it back.
pub fn quarantined(attempts: &[RevisionAttempt], release: &ReleaseId) -> Option<String> {
    let last = attempts
        .iter()
        .filter(|attempt| attempt.release == *release)
        .max_by_key(|attempt| attempt.revision)?;
    let hint = "deploy a new build, or use --force";
    let RevisionAttempt {
        version, revision, ..
    } = last;
    let was_proven = attempts
        .iter()
        .any(|attempt| attempt.release == *release && attempt.proven);
    if let Some(failure) = last
        .failure
        .as_ref()
        .filter(|failure| !was_proven && may_be_caused_by_release(failure))
        && !matches!(last.outcome, None | Some(Outcome::Succeeded))
    {
        return Some(format!(
            "{version} is quarantined since it failed as revision {revision} ({failure}); {hint}"
        ));
    }
    let rollback = attempts.iter().find(|attempt| {
        attempt.revision > last.revision
            && attempt.verb == Verb::Rollback
            && attempt.outcome == Some(Outcome::Succeeded)
            && attempt.release != *release
    })?;
    Some(format!(
        "{version} is quarantined since revision {revision} was rolled back to {} (revision {}); \
         {hint}",
        rollback.version, rollback.revision
    ))
}

/// Whether the release may have caused a failure, rather than a host or the network.
fn may_be_caused_by_release(failure: &Failure) -> bool {
    match failure.kind {
        FailureKind::Start
        | FailureKind::Reload
        | FailureKind::Exited
        | FailureKind::Liveness
        | FailureKind::NotReady
        | FailureKind::Analysis
        | FailureKind::Stuck
        | FailureKind::RequestsFailed
        | FailureKind::Hook
        | FailureKind::Migration
        | FailureKind::Contract
        | FailureKind::Aborted => true,
        FailureKind::Stage | FailureKind::Stop | FailureKind::Traffic | FailureKind::HostLost => {
            false
        }
    }
}

/// Why an unattended deploy does not start on a fleet that lacks instances: a new version could
/// hide or worsen the problem.
pub fn unhealthy(available: u32, wanted: u32) -> Option<String> {
    (available < wanted).then(|| {
        format!(
            "the fleet is not healthy: {available} of {wanted} replicas are available (see `ship \
             status`; `ship deploy` without --unattended restores them)"
        )
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::OnInterrupted::{Abort, Resume};
    use super::*;

    fn attempt(
        revision: u32,
        release: &str,
        verb: Verb,
        outcome: Outcome,
        failed: Option<FailureKind>,
    ) -> RevisionAttempt {
        let failure = failed.map(|kind| Failure {
            kind,
            host: None,
            slot: None,
            detail: "status 500".into(),
            waited: Duration::from_secs(9),
        });
        let proven = outcome == Outcome::Succeeded;
        let (revision, version) = (Revision(revision), release.to_uppercase());
        RevisionAttempt {
            revision,
            release: release.into(),
            version,
            verb,
            proven,
            outcome: Some(outcome),
            failure,
        }
    }

    fn failed(revision: u32, release: &str, kind: FailureKind) -> RevisionAttempt {
        attempt(
            revision,
            release,
            Verb::Deploy,
            Outcome::RolledBack,
            Some(kind),
        )
    }

    fn good(revision: u32, release: &str, verb: Verb) -> RevisionAttempt {
        attempt(revision, release, verb, Outcome::Succeeded, None)
    }

    #[test]
    fn failed_release_is_quarantined_until_a_new_build() {
        let history = [
            good(1, "a", Verb::Deploy),
            failed(2, "b", FailureKind::NotReady),
        ];
        let why = quarantined(&history, &"b".into()).expect("b failed");
        assert!(why.starts_with(
            "B is quarantined since it failed as revision 2 (the new instance is not ready after 9s"
        ));
        assert_eq!(
            quarantined(&history, &"c".into()),
            None,
            "a new build is tried"
        );
        assert_eq!(quarantined(&history, &"a".into()), None);
    }

    #[test]
    fn failure_of_a_host_does_not_quarantine_the_release() {
        for kind in [
            FailureKind::HostLost,
            FailureKind::Stage,
            FailureKind::Stop,
            FailureKind::Traffic,
        ] {
            assert_eq!(
                quarantined(&[failed(2, "b", kind)], &"b".into()),
                None,
                "{kind:?}"
            );
        }
    }

    #[test]
    fn forced_deploy_that_succeeds_ends_the_quarantine() {
        let history = [
            failed(2, "b", FailureKind::Exited),
            good(3, "b", Verb::Deploy),
        ];
        assert_eq!(quarantined(&history, &"b".into()), None);
    }

    #[test]
    fn release_that_a_user_rolled_back_is_quarantined() {
        let history = [
            good(1, "a", Verb::Deploy),
            good(2, "b", Verb::Deploy),
            good(3, "a", Verb::Rollback),
        ];
        let why = quarantined(&history, &"b".into()).expect("b was rolled back");
        assert!(
            why.contains("revision 2 was rolled back to A (revision 3)"),
            "{why}"
        );
        assert_eq!(quarantined(&history, &"a".into()), None);
        let again = [&history[..], &[good(4, "b", Verb::Deploy)]].concat();
        assert_eq!(
            quarantined(&again, &"b".into()),
            None,
            "a user deployed b again"
        );
    }

    #[test]
    fn unattended_deploy_resumes_or_aborts_interrupted_rollouts_and_refuses_held_ones() {
        let left = |state| PreviousRollout {
            state,
            is_rolling_back: false,
            has_rollback_target: true,
        };
        let resolved = |left, policy| resolve(left, &[], &"b".into(), policy);
        assert_eq!(
            resolved(left(ServiceState::Interrupted), Resume),
            Resolution::Go
        );
        assert_eq!(
            resolved(left(ServiceState::Interrupted), Abort),
            Resolution::Abort
        );
        let nowhere = PreviousRollout {
            has_rollback_target: false,
            ..left(ServiceState::Interrupted)
        };
        assert_eq!(resolved(nowhere, Abort), Resolution::Go);
        for policy in [Resume, Abort] {
            let back = PreviousRollout {
                is_rolling_back: true,
                ..left(ServiceState::Interrupted)
            };
            assert_eq!(resolved(back, policy), Resolution::ResumeRollback);
            for state in [ServiceState::Held, ServiceState::RollbackFailed] {
                assert!(matches!(
                    resolved(left(state), policy),
                    Resolution::Refuse { .. }
                ));
            }
            for state in [
                ServiceState::New,
                ServiceState::Idle,
                ServiceState::RolledBack,
            ] {
                assert_eq!(resolved(left(state), policy), Resolution::Go);
            }
        }
    }

    #[test]
    fn unhealthy_fleet_is_reported_with_its_counts() {
        assert_eq!(unhealthy(3, 3), None);
        assert!(
            unhealthy(2, 3)
                .expect("one is missing")
                .contains("2 of 3 replicas are available")
        );
    }
}
