//! Pause, resume and abort of stopped rollouts.

use ship::app::exit::Exit;
use ship::app::verbs::abort::{AbortRequest, abort};
use ship::app::verbs::pause::{PauseOutcome, pause};
use ship::app::verbs::resume::{ResumeRequest, resume};
use ship::app::verbs::rollback::{RollbackRequest, rollback};
use ship::core::journal::state::State;

use super::project::{on_four_hosts, on_one_host, version, with_settings};
use crate::scenario::Quality;

#[test]
fn paused_deploy_is_finished_by_resume() {
    on_four_hosts(async |project| {
        project.build("0.9", Quality::Gated);
        project.deploy_version("0.8").await;
        let deploy = project.start_deploy(version("0.9")).await;
        let paused = project.call(async |env| pause(env).await).await.value();
        assert_eq!(paused.outcome, PauseOutcome::Paused);
        let done = deploy.wait().await.exits(Exit::Paused);
        done.assert_printed(&[
            "paused by anna@here; finishing in-flight actions",
            ": 1 of 3 updated, 3 of 3 available",
        ]);
        assert_eq!(project.status().await.state, State::Paused);
        let again = project.call(async |env| pause(env).await).await;
        again.assert_refused(Exit::Refused, "service `page` is already paused");
        let request = RollbackRequest::default();
        let refused = project.call(async |env| rollback(env, request).await).await;
        refused.assert_refused(
            Exit::Locked,
            "cannot roll back service `page`: it is paused\nhint: resume it first with `ship resume`, \
             or roll back with `ship abort`",
        );
        project.open_gate();
        let resumed = project.call(async |env| resume(env, ResumeRequest::default()).await);
        let resumed = resumed.await.succeeds();
        resumed.assert_printed(&["service `page` resumed\n"]);
        assert_eq!(
            project.running().await,
            ["h1:8081 0.9", "h2:8081 0.9", "h4:8081 0.9"]
        );
        assert_eq!(project.history(), ["2 0.9 succeeded", "1 0.8 succeeded"]);
        let again = project.call(async |env| resume(env, ResumeRequest::default()).await);
        let again = again.await;
        again.assert_refused(Exit::Refused, "service `page` is not paused");
    });
}

#[test]
fn killed_deploy_is_aborted_with_its_settings() {
    on_four_hosts(async |project| {
        project.build("0.9", Quality::Gated);
        project.deploy_version("0.8").await;
        let setting = "rollout.progress_deadline=77s";
        let request = with_settings("0.9", &[setting]);
        project.start_deploy(request).await.kill_and_expire().await;
        let aborted = project.call(async |env| abort(env, AbortRequest::default()).await);
        aborted.await.exits(Exit::Done);
        assert_eq!(
            project.newest_settings(),
            [setting],
            "the rollout keeps its own overrides"
        );
        assert_eq!(
            project.running().await,
            ["h1:8081 0.8", "h2:8081 0.8", "h3:8081 0.8"]
        );
        assert_eq!(project.history(), ["2 0.9 rolled-back", "1 0.8 succeeded"]);
    });
}

#[test]
fn killed_deploy_is_rolled_back() {
    on_four_hosts(async |project| {
        project.build("0.9", Quality::Gated);
        project.deploy_version("0.8").await;
        let deploy = project.start_deploy(version("0.9")).await;
        deploy.kill_and_expire().await;
        let request = RollbackRequest::default();
        let done = project.call(async |env| rollback(env, request).await).await;
        done.succeeds();
        assert_eq!(
            project.running().await,
            ["h1:8081 0.8", "h2:8081 0.8", "h3:8081 0.8"]
        );
    });
}

#[test]
fn abort_of_a_first_deploy_has_no_rollback_target() {
    on_one_host(async |project| {
        project.build("0.8", Quality::Gated);
        let deploy = project.start_deploy(version("0.8")).await;
        let refused = project.call(async |env| abort(env, AbortRequest::default()).await);
        let refused = refused.await;
        refused.assert_refused(
            Exit::Refused,
            "cannot roll back this deploy: no other revision has been proven healthy\nhint: stop the \
             rollout with `ship pause`, or the service with `ship scale --replicas 0`",
        );
        project.open_gate();
        deploy.wait().await.succeeds();
    });
}

#[test]
fn killed_rollback_is_resumed_in_its_direction() {
    on_four_hosts(async |project| {
        project.build("0.9", Quality::Gated);
        project.deploy_version("0.8").await;
        let deploy = project.start_deploy(version("0.9")).await;
        let aborting = project.start(async |env| abort(env, AbortRequest::default()).await);
        deploy.await_words("aborted by ").await;
        deploy.kill();
        aborting.kill_and_expire().await;
        assert_eq!(project.status().await.state, State::Paused);
        project.open_gate();
        let resumed = project.call(async |env| resume(env, ResumeRequest::default()).await);
        let resumed = resumed.await.exits(Exit::RolledBack);
        resumed.assert_printed(&["rolled back to 0.8"]);
        assert_eq!(
            project.running().await,
            ["h1:8081 0.8", "h2:8081 0.8", "h3:8081 0.8"]
        );
    });
}
