//! What an unattended deploy does, decided before anything is touched.

use crate::core::ids::{ReleaseId, Revision};
use crate::core::policy::service_history::ServiceHistory;
use crate::core::policy::service_state::ServiceState;
use crate::core::rollout::Direction;
use crate::core::rollout::failure::{Failure, FailureKind, Outcome};
use crate::core::rollout::verb::Verb;

/// What happens to an unfinished rollout, whose controller died or whose window closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnInterrupted {
    /// The next deploy resumes the rollout.
    #[default]
    Resume,
    /// The next deploy rolls back to the revision proven healthy, and ends.
    Abort,
}

/// Whether the run is unattended, and what is overridden.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunMode {
    /// Whether the run may not ask a person.
    pub unattended: bool,
    /// What would keep a deploy from beginning does not: a freeze, a window, a quarantine, a fleet
    /// that is not healthy.
    pub force: bool,
}

/// The history of one revision.
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

/// What to do about an unattended deploy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// The deploy begins or resumes.
    Go,
    /// The rollback that was under way continues, and nothing else.
    GoOnBack,
    /// The unfinished rollout is aborted, and nothing else.
    Abort,
    /// Nothing is done, which is fine.
    Skip { why: String },
    /// Nothing is done, and a person must act.
    Refuse { why: String },
}

/// The state in which the rollout before left the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreviousRollout {
    pub standing: ServiceState,
    /// Whether the newest rollout was rolling back.
    pub is_going_back: bool,
    /// Whether there is a revision to roll back to.
    pub has_a_way_back: bool,
}

impl PreviousRollout {
    /// The state in which the newest rollout of a history left the fleet.
    pub fn by(history: &ServiceHistory) -> Self {
        let newest = history.newest.as_ref();
        Self {
            standing: history.state(),
            is_going_back: newest
                .is_some_and(|newest| matches!(newest.direction, Direction::RollingBack(_))),
            has_a_way_back: newest.is_some_and(|newest| newest.fallback.is_some()),
        }
    }
}

/// Decides by the history what an unattended deploy of `release` does.
pub fn resolve(
    left: PreviousRollout,
    attempts: &[RevisionAttempt],
    release: &ReleaseId,
    policy: OnInterrupted,
) -> Resolution {
    match left.standing {
        ServiceState::Held | ServiceState::Stuck => {
            let how = if left.standing == ServiceState::Held {
                "is held"
            } else {
                "failed, and so did the way back"
            };
            let why = format!(
                "the last rollout {how}, so the fleet is between two revisions and a person is \
                 needed: `ship status` shows \
                 it, `ship resume` or `ship abort` goes on"
            );
            Resolution::Refuse { why }
        }
        ServiceState::CutOff if left.is_going_back => Resolution::GoOnBack,
        ServiceState::CutOff if policy == OnInterrupted::Abort && left.has_a_way_back => {
            Resolution::Abort
        }
        _ => match quarantined(attempts, release) {
            Some(why) => Resolution::Skip { why },
            None => Resolution::Go,
        },
    }
}

/// Why a release is not retried: it has failed, or a person rolled it back.
pub fn quarantined(attempts: &[RevisionAttempt], release: &ReleaseId) -> Option<String> {
    let last = attempts
        .iter()
        .filter(|attempt| attempt.release == *release)
        .max_by_key(|attempt| attempt.revision)?;
    let again = "a new build, or `ship deploy --force`, is tried";
    let RevisionAttempt {
        version, revision, ..
    } = last;
    let was_proven = attempts
        .iter()
        .any(|attempt| attempt.release == *release && attempt.proven);
    if let Some(failure) = last
        .failure
        .as_ref()
        .filter(|failure| !was_proven && is_to_blame(failure))
        && !matches!(last.outcome, None | Some(Outcome::Succeeded))
    {
        return Some(format!(
            "{version} is quarantined since it failed as revision {revision} ({failure}); {again}"
        ));
    }
    let left = attempts.iter().find(|attempt| {
        attempt.revision > last.revision
            && attempt.verb == Verb::Rollback
            && attempt.outcome == Some(Outcome::Succeeded)
            && attempt.release != *release
    })?;
    Some(format!(
        "{version} is quarantined since revision {revision} was gone back from (revision {}, {}); \
         {again}",
        left.revision, left.version
    ))
}

/// Whether a failure says something about the release, and not only about a host or the network on
/// that night.
fn is_to_blame(failure: &Failure) -> bool {
    match failure.kind {
        FailureKind::Start
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

/// Why a new version does not begin on a fleet as it is: what does not serve tonight may be its own
/// trouble.
pub fn unhealthy(available: u32, wanted: u32) -> Option<String> {
    (available < wanted).then(|| {
        format!(
            "the fleet is not healthy to begin with: {available} of {wanted} replicas are \
             available; `ship status` shows \
             which are not, `ship deploy` without --unattended puts them right"
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
    fn what_has_failed_is_not_tried_again_by_itself() {
        let history = [
            good(1, "a", Verb::Deploy),
            failed(2, "b", FailureKind::NotReady),
        ];
        let why = quarantined(&history, &"b".into()).expect("it failed");
        assert!(why.starts_with(
            "B is quarantined since it failed as revision 2 (the new instance was \
                             not ready after 9s"
        ));
        assert_eq!(
            quarantined(&history, &"c".into()),
            None,
            "a new build is tried"
        );
        assert_eq!(quarantined(&history, &"a".into()), None);
    }

    #[test]
    fn a_host_that_failed_is_not_held_against_the_release() {
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
    fn what_was_forced_and_succeeded_is_free_again() {
        let history = [
            failed(2, "b", FailureKind::Exited),
            good(3, "b", Verb::Deploy),
        ];
        assert_eq!(quarantined(&history, &"b".into()), None);
    }

    #[test]
    fn what_a_person_went_back_from_does_not_come_again_at_night() {
        let history = [
            good(1, "a", Verb::Deploy),
            good(2, "b", Verb::Deploy),
            good(3, "a", Verb::Rollback),
        ];
        let why = quarantined(&history, &"b".into()).expect("it was left");
        assert!(
            why.contains("revision 2 was gone back from (revision 3, A)"),
            "{why}"
        );
        assert_eq!(quarantined(&history, &"a".into()), None);
        let again = [&history[..], &[good(4, "b", Verb::Deploy)]].concat();
        assert_eq!(
            quarantined(&again, &"b".into()),
            None,
            "a person deployed it again"
        );
    }

    #[test]
    fn what_was_left_unfinished_goes_on_or_back_and_what_is_held_waits_for_a_person() {
        let left = |standing| PreviousRollout {
            standing,
            is_going_back: false,
            has_a_way_back: true,
        };
        let resolved = |left, policy| resolve(left, &[], &"b".into(), policy);
        assert_eq!(resolved(left(ServiceState::CutOff), Resume), Resolution::Go);
        assert_eq!(
            resolved(left(ServiceState::CutOff), Abort),
            Resolution::Abort
        );
        let nowhere = PreviousRollout {
            has_a_way_back: false,
            ..left(ServiceState::CutOff)
        };
        assert_eq!(resolved(nowhere, Abort), Resolution::Go);
        for policy in [Resume, Abort] {
            let back = PreviousRollout {
                is_going_back: true,
                ..left(ServiceState::CutOff)
            };
            assert_eq!(resolved(back, policy), Resolution::GoOnBack);
            for standing in [ServiceState::Held, ServiceState::Stuck] {
                assert!(matches!(
                    resolved(left(standing), policy),
                    Resolution::Refuse { .. }
                ));
            }
            for standing in [
                ServiceState::New,
                ServiceState::Idle,
                ServiceState::RolledBack,
            ] {
                assert_eq!(resolved(left(standing), policy), Resolution::Go);
            }
        }
    }

    #[test]
    fn a_fleet_that_lacks_an_instance_is_told_in_numbers() {
        assert_eq!(unhealthy(3, 3), None);
        assert!(
            unhealthy(2, 3)
                .expect("one is missing")
                .contains("2 of 3 replicas are available")
        );
    }
}
