//! `ship rollback`: its target, the number of replicas, and when it is refused.

use ship::app::conclusion::Conclusion;
use ship::app::exit::Exit;
use ship::app::verbs::abort::{AbortRequest, abort};
use ship::app::verbs::restart::{RestartRequest, restart};
use ship::app::verbs::rollback::{RollbackRequest, rollback};
use ship::app::verbs::scale::{ScaleRequest, scale};
use ship::core::ids::Revision;
use ship::report::LocalClock;

use super::project::{SimulatedProject, on_four_hosts, on_one_host, version};
use super::run::VerbRun;
use crate::scenario::Quality;

async fn roll_back(project: &SimulatedProject) -> VerbRun<Conclusion> {
    roll_back_by(project, RollbackRequest::default()).await
}

async fn roll_back_to(project: &SimulatedProject, revision: u32) -> VerbRun<Conclusion> {
    let request = RollbackRequest {
        to_revision: Some(Revision(revision)),
        ..RollbackRequest::default()
    };
    roll_back_by(project, request).await
}

async fn roll_back_by(project: &SimulatedProject, request: RollbackRequest) -> VerbRun<Conclusion> {
    project.call(async |env| rollback(env, request).await).await
}

async fn restart_all(project: &SimulatedProject) {
    let request = RestartRequest::default();
    let done = project.call(async |env| restart(env, request).await).await;
    done.succeeds();
}

/// When the newest rollout of a revision ended, in the format of messages.
fn end_of(project: &SimulatedProject, revision: u32) -> String {
    let revisions = project.revisions();
    let record = revisions
        .iter()
        .find(|record| record.revision == Revision(revision));
    let ended = record.expect("it is in the history").ended;
    LocalClock::local().day_and_time(ended.expect("it has ended"))
}

#[test]
fn rollback_after_an_automatic_rollback_is_refused() {
    on_one_host(async |project| {
        project.build("1.0", Quality::Mute);
        project.deploy_version("0.8").await;
        project.deploy_version("0.9").await;
        let failed = project.deploy(version("1.0")).await;
        failed.exits(Exit::RolledBack);
        let actions_before = project.action_count();
        let refusal = format!(
            "revision 3 (1.0) failed and was rolled back at {}, so revision 2 (0.9) runs; no \
             changes were made\nhint: `ship rollback --to-revision 1` rolls back further, to 0.8",
            end_of(&project, 3)
        );
        let refused = roll_back(&project).await;
        refused.assert_refused(Exit::Refused, &refusal);
        assert_eq!(project.action_count(), actions_before);
        assert_eq!(project.versions().await, ["0.9"]);
        // A restart is not a deploy, so a rollback is still refused.
        restart_all(&project).await;
        let refused = roll_back(&project).await.exits(Exit::Refused);
        refused.assert_printed(&["revision 3 (1.0) failed and was rolled back"]);
        roll_back_to(&project, 1).await.succeeds();
        assert_eq!(project.versions().await, ["0.8"]);
    });
}

#[test]
fn rollback_after_an_abort_is_refused_with_the_user() {
    on_one_host(async |project| {
        project.build("0.9", Quality::Gated);
        project.deploy_version("0.8").await;
        let deploy = project.start_deploy(version("0.9")).await;
        let request = AbortRequest::default();
        let aborted = project.call(async |env| abort(env, request).await).await;
        aborted.exits(Exit::Done);
        deploy.wait().await.exits(Exit::RolledBack);
        let refusal = format!(
            "revision 2 (0.9) was aborted by anna@here and was rolled back at {}, so revision 1 \
             (0.8) runs; no changes were made\nhint: no other revision has been proven healthy; \
             list the revisions with `ship history`",
            end_of(&project, 2)
        );
        let refused = roll_back(&project).await;
        refused.assert_refused(Exit::Refused, &refusal);
    });
}

#[test]
fn second_rollback_is_refused_with_the_targets() {
    on_one_host(async |project| {
        for version in ["0.8", "0.9", "1.0"] {
            project.deploy_version(version).await;
        }
        roll_back(&project).await.succeeds();
        assert_eq!(project.versions().await, ["0.9"]);
        let refusal = format!(
            "anna@here rolled back from revision 3 (1.0) at {}, so revision 4 (0.9) runs; no \
             changes were made\nhint: `ship rollback --to-revision 1` rolls back further, to 0.8; `ship \
             rollback --to-revision 3` returns to 1.0",
            end_of(&project, 4)
        );
        let refused = roll_back(&project).await;
        refused.assert_refused(Exit::Refused, &refusal);
        assert_eq!(project.versions().await, ["0.9"]);
        // The next deploy can be rolled back as usual.
        project.deploy_version("1.0").await;
        roll_back(&project).await.succeeds();
        assert_eq!(project.versions().await, ["0.9"]);
    });
}

#[test]
fn rollback_restores_a_changed_number_of_replicas() {
    on_four_hosts(async |project| {
        project.deploy_version("0.8").await;
        project.change_playbook("replicas = 3", "replicas = 1");
        project.deploy_version("0.9").await;
        assert_eq!(project.versions().await, ["0.9"]);
        let rolled_back = roll_back(&project).await.succeeds();
        rolled_back.assert_printed(&[
            "restoring 3 replicas of 0.8 (revision 1); to keep the current number, use --set \
             rollout.replicas=1",
        ]);
        assert_eq!(project.versions().await, ["0.8", "0.8", "0.8"]);
        // A restart keeps the number, too: the one in the playbook applies from the next deploy on.
        restart_all(&project).await;
        assert_eq!(project.versions().await, ["0.8", "0.8", "0.8"]);
        assert_eq!(project.status().await.replicas.desired, 3);
    });
}

#[test]
fn rollback_keeps_a_scaled_number_of_replicas() {
    on_four_hosts(async |project| {
        project.change_playbook("replicas = 3", "replicas = 1");
        project.deploy_version("0.8").await;
        project.deploy_version("0.9").await;
        let (replicas, set) = (2, Vec::new());
        let request = ScaleRequest {
            replicas,
            set,
            ..ScaleRequest::default()
        };
        let scaled = project.call(async |env| scale(env, request).await).await;
        scaled.succeeds();
        roll_back(&project).await.succeeds();
        assert_eq!(project.versions().await, ["0.8", "0.8"]);
    });
}

#[test]
fn rollback_keeps_the_number_of_replicas_after_a_failed_deploy() {
    on_four_hosts(async |project| {
        project.deploy_version("0.8").await;
        project.deploy_version("0.9").await;
        project.build("1.0", Quality::Mute);
        project.change_playbook("replicas = 3", "replicas = 1");
        let failed = project.deploy(version("1.0")).await;
        failed.exits(Exit::RolledBack);
        assert_eq!(project.versions().await, ["0.9", "0.9", "0.9"]);
        roll_back_to(&project, 1).await.succeeds();
        assert_eq!(project.versions().await, ["0.8", "0.8", "0.8"]);
    });
}

#[test]
fn rollback_to_the_present_revision_does_nothing() {
    on_one_host(async |project| {
        project.deploy_version("0.8").await;
        project.deploy_version("0.9").await;
        let actions_before = project.action_count();
        let done = roll_back_to(&project, 2).await.value();
        assert_eq!(done, Conclusion::AlreadyCurrent(Revision(2)));
        assert_eq!(project.history(), ["2 0.9 succeeded", "1 0.8 succeeded"]);
        assert_eq!(project.action_count(), actions_before);
    });
}

#[test]
fn rollback_to_an_unknown_revision_is_refused() {
    on_one_host(async |project| {
        project.deploy_version("0.8").await;
        let refused = roll_back_to(&project, 7).await;
        refused.assert_refused(
            Exit::Refused,
            "unable to find specified revision 7 in history\nhint: list the revisions with `ship \
             history`",
        );
        assert_eq!(project.history(), ["1 0.8 succeeded"]);
    });
}

#[test]
fn rollback_without_another_proven_revision_is_refused() {
    on_one_host(async |project| {
        project.deploy_version("0.8").await;
        let refused = roll_back(&project).await;
        refused.assert_refused(
            Exit::Refused,
            "cannot roll back: no other revision has been proven healthy\nhint: choose a revision \
             from `ship history` with --to-revision",
        );
    });
}

#[test]
fn rollback_before_the_first_deploy_is_refused() {
    on_four_hosts(async |project| {
        let refused = roll_back(&project).await;
        refused.assert_refused(
            Exit::Refused,
            "nothing has been deployed yet, so there is nothing to roll back\nhint: run `ship deploy` \
             first",
        );
        assert_eq!(project.action_count(), 0);
    });
}
