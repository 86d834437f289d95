//! `ship deploy --unattended`, `ship freeze` and `ship thaw`.

use std::time::Duration;

use ship::app::conclusion::Conclusion;
use ship::app::error::Error;
use ship::app::exit::Exit;
use ship::app::verbs::deploy::DeployRequest;
use ship::app::verbs::freeze::{freeze, thaw};
use ship::app::verbs::rollback::{RollbackRequest, rollback};
use ship::core::journal::state::State;
use ship::core::time::Time;

use super::project::{SimulatedProject, forced, on_four_hosts, unattended, version, with_settings};
use super::run::VerbRun;
use crate::scenario::Quality;
use crate::world::START;

/// Deploys 0.8 with `[unattended]` and a short soak.
async fn set_up_unattended(project: &SimulatedProject) {
    project.add_table("[unattended]\nsoak = \"200ms\"\n");
    project.deploy_version("0.8").await;
}

/// Deploys with `--unattended`, as cron does.
async fn deploy_unattended(
    project: &SimulatedProject,
    request: DeployRequest,
) -> VerbRun<Conclusion> {
    project.deploy(unattended(request)).await
}

async fn roll_back(project: &SimulatedProject) {
    let request = RollbackRequest::default();
    let done = project.call(async |env| rollback(env, request).await).await;
    done.succeeds();
}

async fn count(project: &SimulatedProject, version: &str) -> usize {
    let versions = project.versions().await;
    versions.iter().filter(|other| *other == version).count()
}

#[test]
fn unattended_deploy_starts_one_instance_first() {
    on_four_hosts(async |project| {
        set_up_unattended(&project).await;
        let done = deploy_unattended(&project, version("0.9")).await.succeeds();
        done.assert_printed(&["step 1 of 2 reached: 1 new instance, soaking for 200ms"]);
        assert_eq!(project.history(), ["2 0.9 succeeded", "1 0.8 succeeded"]);
    });
}

#[test]
fn unattended_deploy_of_the_running_release_does_nothing() {
    on_four_hosts(async |project| {
        set_up_unattended(&project).await;
        let actions_before = project.action_count();
        deploy_unattended(&project, version("0.8"))
            .await
            .does_nothing();
        assert_eq!(project.history().len(), 1);
        assert_eq!(project.action_count(), actions_before);
    });
}

#[test]
fn failed_release_is_skipped_until_a_new_build_or_force() {
    on_four_hosts(async |project| {
        set_up_unattended(&project).await;
        project.build("0.9", Quality::Mute);
        let failed = deploy_unattended(&project, version("0.9")).await;
        failed.exits(Exit::RolledBack);
        let actions_before = project.action_count();
        let skipped = deploy_unattended(&project, version("0.9"))
            .await
            .exits(Exit::Done);
        skipped.assert_skipped("0.9 is quarantined since it failed as revision 2 (");
        skipped.assert_skipped("deploy a new build, or use --force");
        assert_eq!(
            project.history(),
            ["2 0.9 rolled-back", "1 0.8 succeeded"],
            "nothing was tried"
        );
        assert_eq!(project.action_count(), actions_before);
        let insisted = deploy_unattended(&project, forced(version("0.9"))).await;
        insisted.exits(Exit::RolledBack);
        assert_eq!(project.history().len(), 3);
        // A new build is a new release, so it is not quarantined.
        project.build("0.9", Quality::Good);
        deploy_unattended(&project, version("0.9")).await.succeeds();
        assert_eq!(project.history()[0], "4 0.9 succeeded");
    });
}

#[test]
fn release_that_a_user_rolled_back_is_skipped() {
    on_four_hosts(async |project| {
        set_up_unattended(&project).await;
        project.deploy_version("0.9").await;
        roll_back(&project).await;
        let skipped = deploy_unattended(&project, version("0.9"))
            .await
            .exits(Exit::Done);
        skipped.assert_skipped("0.9 is quarantined since revision 2 was rolled back to");
        deploy_unattended(&project, version("1.0")).await.succeeds();
    });
}

#[test]
fn unhealthy_fleet_permits_only_its_own_version() {
    on_four_hosts(async |project| {
        set_up_unattended(&project).await;
        project.end_instance("h1", 8081);
        let actions_before = project.action_count();
        let refused = deploy_unattended(&project, version("0.9"))
            .await
            .exits(Exit::Refused);
        refused.assert_printed(&[
            "the fleet is not healthy: 2 of 3 replicas are available",
            "no changes were made",
        ]);
        assert_eq!(project.history().len(), 1);
        assert_eq!(project.action_count(), actions_before);
        deploy_unattended(&project, version("0.8")).await.succeeds();
        assert_eq!(project.running().await.len(), 3);
        deploy_unattended(&project, version("0.9")).await.succeeds();
    });
}

#[test]
fn held_rollout_refuses_unattended_deploys() {
    on_four_hosts(async |project| {
        set_up_unattended(&project).await;
        project.build("0.9", Quality::Mute);
        let hold = with_settings("0.9", &["rollout.on_failure=hold"]);
        deploy_unattended(&project, hold).await.exits(Exit::Held);
        let refused = deploy_unattended(&project, version("0.8"))
            .await
            .exits(Exit::Refused);
        refused.assert_printed(&[
            "the last rollout is held",
            "a person is needed",
            "`ship abort`",
        ]);
    });
}

#[test]
fn frozen_fleet_refuses_deploys_until_thawed() {
    on_four_hosts(async |project| {
        set_up_unattended(&project).await;
        project.deploy_version("0.9").await;
        let until = Some(START + Duration::from_hours(72));
        let frozen =
            project.call(async |env| freeze(env, |_| Ok::<_, Error>(until), "the sale".into()));
        let frozen = frozen.await.value();
        assert_eq!(
            (frozen.service_key.service.as_str(), frozen.stops_rollout),
            ("page", false)
        );
        let words = frozen.freeze.to_string();
        assert!(words.starts_with("anna@here until "), "{words}");
        assert!(words.ends_with(" (the sale)"), "{words}");
        let actions_before = project.action_count();
        for request in [version("1.0"), unattended(version("1.0"))] {
            let refused = project.deploy(request).await.exits(Exit::Locked);
            refused.assert_printed(&[
                "is frozen by ",
                "(the sale)",
                "no changes were made",
                "use --force",
            ]);
        }
        assert_eq!(project.action_count(), actions_before);
        // A rollback is always permitted.
        roll_back(&project).await;
        deploy_unattended(&project, forced(version("1.0")))
            .await
            .succeeds();
        let (_, was_frozen) = project.call(async |env| thaw(env)).await.value();
        assert!(was_frozen);
        project.deploy_version("0.9").await;
        let (_, was_frozen) = project.call(async |env| thaw(env)).await.value();
        assert!(!was_frozen);
    });
}

#[test]
fn freeze_ends_automatically_at_its_time() {
    on_four_hosts(async |project| {
        set_up_unattended(&project).await;
        let now = START + Duration::from_hours(1);
        let frozen =
            project.call(async |env| freeze(env, |_| Ok::<_, Error>(Some(now)), String::new()));
        frozen.await.value();
        let refused = project.deploy(version("0.9")).await;
        refused.exits(Exit::Locked);
        project.wait(Duration::from_hours(1)).await;
        project.deploy_version("0.9").await;
    });
}

#[test]
fn freeze_until_a_past_time_is_refused() {
    on_four_hosts(async |project| {
        let past = Some(Time(START.0 - 1));
        let refused =
            project.call(async |env| freeze(env, |_| Ok::<_, Error>(past), String::new()));
        let refused = refused.await;
        refused.assert_refused(Exit::Refused, "--until is in the past");
    });
}

#[test]
fn freeze_stops_a_deploy_and_the_next_one_resumes_it() {
    on_four_hosts(async |project| {
        project.build("0.9", Quality::Gated);
        project.deploy_version("0.8").await;
        let deploy = project.start_deploy(version("0.9")).await;
        let frozen = project.call(async |env| freeze(env, |_| Ok::<_, Error>(None), String::new()));
        assert!(frozen.await.value().stops_rollout);
        deploy.await_words("finishing in-flight actions").await;
        project.open_gate();
        let done = deploy.wait().await.exits(Exit::Locked);
        done.assert_printed(&[
            "stopped after ",
            "1 of 3 updated, 3 of 3 available",
            "the next deploy or `ship resume` continues",
        ]);
        assert_eq!(project.status().await.state, State::Paused);
        assert_eq!(count(&project, "0.9").await, 1);
        project.call(async |env| thaw(env)).await.value();
        project.deploy_version("0.9").await;
        assert_eq!(count(&project, "0.9").await, 3);
    });
}

/// Deploys 0.8 with a deploy window. The simulation starts at 02:42 UTC.
async fn set_up_window(project: &SimulatedProject, from: &str, until: &str) {
    project.add_table(&format!(
        "[unattended]\nsoak = \"200ms\"\nwindows = \"{from}-{until}\"\ntime_zone = \"UTC\"\n"
    ));
    project.deploy_version("0.8").await;
}

#[test]
fn unattended_deploy_outside_of_its_windows_is_refused() {
    on_four_hosts(async |project| {
        set_up_window(&project, "07:00", "09:00").await;
        let actions_before = project.action_count();
        let refused = deploy_unattended(&project, version("0.9"))
            .await
            .exits(Exit::Locked);
        refused.assert_printed(&[
            "no deploy window is open; ",
            "07:00-09:00 UTC opens in 4h17m",
            "no changes were made",
        ]);
        assert_eq!(project.action_count(), actions_before);
        // An attended deploy has no windows.
        project.deploy_version("0.9").await;
        deploy_unattended(&project, forced(version("0.8")))
            .await
            .succeeds();
    });
}

#[test]
fn unattended_deploy_starts_only_if_the_window_is_long_enough() {
    on_four_hosts(async |project| {
        set_up_window(&project, "02:30", "04:30").await;
        let long = with_settings("0.9", &["unattended.soak=3h"]);
        let refused = deploy_unattended(&project, long).await.exits(Exit::Locked);
        refused.assert_printed(&[
            "02:30-04:30 UTC closes in 1h47m",
            "work started now takes at least 3h",
            "no changes were made",
        ]);
        assert_eq!(project.history().len(), 1);
        deploy_unattended(&project, version("0.9")).await.succeeds();
    });
}

#[test]
fn killed_deploy_is_finished_by_the_next() {
    on_four_hosts(async |project| {
        kill_unattended_deploy(&project).await;
        deploy_unattended(&project, version("0.9")).await.succeeds();
        assert_eq!(project.history(), ["2 0.9 succeeded", "1 0.8 succeeded"]);
    });
}

#[test]
fn killed_deploy_is_rolled_back_by_the_next_with_on_interrupted_abort() {
    on_four_hosts(async |project| {
        kill_unattended_deploy(&project).await;
        let request = with_settings("0.9", &["unattended.on_interrupted=abort"]);
        let done = deploy_unattended(&project, request)
            .await
            .exits(Exit::RolledBack);
        done.assert_printed(&["the deploy of 0.9 is unfinished; rolling it back"]);
        assert_eq!(project.versions().await, ["0.8", "0.8", "0.8"]);
    });
}

/// Kills an unattended deploy of 0.9 in the middle.
async fn kill_unattended_deploy(project: &SimulatedProject) {
    set_up_unattended(project).await;
    project.build("0.9", Quality::Gated);
    let deploy = project.start_deploy(unattended(version("0.9"))).await;
    deploy.kill_and_expire().await;
    project.open_gate();
}
