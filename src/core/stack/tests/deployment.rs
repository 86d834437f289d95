//! Tests of which revisions of a service belong to a deployment.

use std::collections::BTreeSet;

use crate::core::ids::Revision;
use crate::core::policy::revision::RevisionRecord;
use crate::core::policy::testing::record;
use crate::core::rollout::failure::Outcome;
use crate::core::rollout::verb::Verb;
use crate::core::stack::{DeployedService, RecordedRollout, ServicePhase};

const SUCCEEDED: Option<Outcome> = Some(Outcome::Succeeded);

/// A service that ran revision 2 before, and whose goal is revision 3.
fn deployed() -> DeployedService {
    DeployedService {
        service: "page".into(),
        after: BTreeSet::new(),
        version: "1".into(),
        revision: Revision(3),
        before: Some(Revision(2)),
        set: Vec::new(),
        undo: None,
        contract: None,
    }
}

fn history(later: Vec<RevisionRecord>) -> Vec<RevisionRecord> {
    let first = record(1, Verb::Deploy, "a", SUCCEEDED);
    let second = record(2, Verb::Deploy, "b", SUCCEEDED);
    [vec![first, second], later].concat()
}

#[test]
fn rollback_after_a_deploy_takes_the_service_back() {
    let later = vec![
        record(3, Verb::Deploy, "c", SUCCEEDED),
        record(4, Verb::Rollback, "b", None),
    ];
    let recorded = deployed().record(Verb::Deploy, &history(later), false);
    assert_eq!(recorded.forward, RecordedRollout::Ended(Outcome::Succeeded));
    assert_eq!(recorded.undo, RecordedRollout::Unfinished);
}

/// Both rollouts have the same verb.
#[test]
fn rollback_to_the_release_before_takes_a_rollback_back() {
    let goal = record(3, Verb::Rollback, "a", SUCCEEDED);
    let unfinished = vec![goal.clone(), record(4, Verb::Rollback, "b", None)];
    let recorded = deployed().record(Verb::Rollback, &history(unfinished), false);
    assert_eq!(recorded.phase(), ServicePhase::UndoUnfinished);

    let undone = history(vec![goal, record(4, Verb::Rollback, "b", SUCCEEDED)]);
    let mut service = deployed();
    let recorded = service.record(Verb::Rollback, &undone, false);
    assert_eq!(recorded.phase(), ServicePhase::Undone);
    service.add_later_revisions(Verb::Rollback, &undone);
    assert_eq!(service.revision, Revision(3));
    assert_eq!(service.undo, Some(Revision(4)));
}

#[test]
fn continued_rollback_may_have_another_revision() {
    let continued = history(vec![
        record(3, Verb::Rollback, "a", Some(Outcome::Interrupted)),
        record(4, Verb::Rollback, "a", SUCCEEDED),
    ]);
    let mut service = deployed();
    let recorded = service.record(Verb::Rollback, &continued, false);
    assert_eq!(recorded.phase(), ServicePhase::Deployed);
    service.add_later_revisions(Verb::Rollback, &continued);
    assert_eq!((service.revision, service.undo), (Revision(4), None));
}
