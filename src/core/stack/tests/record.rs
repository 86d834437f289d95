//! Tests of how the phase of a service follows from its record.

use std::time::Duration;

use crate::core::ids::{Epoch, HostId};
use crate::core::rollout::failure::{Failure, FailureKind, Outcome};
use crate::core::stack::{ContractState, RecordedRollout, ServiceEnd, ServicePhase, ServiceRecord};
use crate::core::time::Time;

fn held() -> Outcome {
    Outcome::Held {
        why: "on_failure = \"hold\"".into(),
    }
}

fn rollback_failed() -> Outcome {
    let failure = Failure {
        kind: FailureKind::Stuck,
        host: None,
        slot: None,
        detail: String::new(),
        waited: Duration::ZERO,
    };
    Outcome::RollbackFailed { failure }
}

fn stopped() -> [Outcome; 4] {
    [
        Outcome::Interrupted,
        Outcome::Fenced {
            host: HostId::from("web1"),
            seen: Epoch(3),
        },
        Outcome::WindowClosed {
            why: "until 06:00".into(),
        },
        Outcome::Paused {
            by: "anna".into(),
            since: Time(0),
        },
    ]
}

fn forward(outcome: Outcome) -> ServiceRecord {
    ServiceRecord {
        forward: RecordedRollout::Ended(outcome),
        ..ServiceRecord::default()
    }
}

fn undo(undo: RecordedRollout) -> ServiceRecord {
    ServiceRecord {
        undo,
        ..forward(Outcome::Succeeded)
    }
}

fn contract(contract: RecordedRollout) -> ServiceRecord {
    ServiceRecord {
        contract: Some(contract),
        ..forward(Outcome::Succeeded)
    }
}

#[test]
fn end_follows_from_the_outcome_of_the_rollout() {
    assert_eq!(ServiceEnd::of(&Outcome::Succeeded), ServiceEnd::Reached);
    assert_eq!(ServiceEnd::of(&Outcome::RolledBack), ServiceEnd::RolledBack);
    assert_eq!(ServiceEnd::of(&held()), ServiceEnd::Held);
    assert_eq!(ServiceEnd::of(&rollback_failed()), ServiceEnd::Held);
    for outcome in stopped() {
        let word = outcome.word();
        assert_eq!(ServiceEnd::of(&outcome), ServiceEnd::Stopped, "{word}");
    }
}

#[test]
fn phase_follows_from_the_rollout_to_the_new_revision() {
    let unfinished = ServiceRecord {
        forward: RecordedRollout::Unfinished,
        ..ServiceRecord::default()
    };
    assert_eq!(ServiceRecord::default().phase(), ServicePhase::Waiting);
    assert_eq!(unfinished.phase(), ServicePhase::Unfinished);
    assert_eq!(forward(Outcome::Succeeded).phase(), ServicePhase::Deployed);
    assert_eq!(
        forward(Outcome::RolledBack).phase(),
        ServicePhase::RolledBack
    );
}

#[test]
fn rollout_that_was_stopped_or_held_counts_as_unfinished() {
    for outcome in [held(), rollback_failed()].into_iter().chain(stopped()) {
        let word = outcome.word();
        let ended = RecordedRollout::Ended(outcome.clone());
        assert_eq!(forward(outcome).phase(), ServicePhase::Unfinished, "{word}");
        assert_eq!(
            undo(ended.clone()).phase(),
            ServicePhase::UndoUnfinished,
            "{word}"
        );
        assert_eq!(
            contract(ended).contract_state(),
            ContractState::Unfinished,
            "{word}"
        );
    }
}

#[test]
fn phase_follows_from_the_rollout_that_takes_the_service_back() {
    let ended = |outcome| undo(RecordedRollout::Ended(outcome)).phase();
    assert_eq!(
        undo(RecordedRollout::Unfinished).phase(),
        ServicePhase::UndoUnfinished
    );
    assert_eq!(ended(Outcome::Succeeded), ServicePhase::Undone);
    // The rollout failed and rolled back to the new revision.
    assert_eq!(ended(Outcome::RolledBack), ServicePhase::Deployed);
}

#[test]
fn contract_state_follows_from_the_contract_migrations() {
    let state = |recorded| contract(recorded).contract_state();
    assert_eq!(
        forward(Outcome::Succeeded).contract_state(),
        ContractState::None
    );
    assert_eq!(state(RecordedRollout::NotBegun), ContractState::Due);
    assert_eq!(
        state(RecordedRollout::Unfinished),
        ContractState::Unfinished
    );
    assert_eq!(
        state(RecordedRollout::Ended(Outcome::Succeeded)),
        ContractState::Done
    );
}

#[test]
fn contract_migrations_that_have_begun_never_become_due_again() {
    let recorded = contract(RecordedRollout::Ended(Outcome::RolledBack));
    assert_eq!(recorded.contract_state(), ContractState::Unfinished);
}
