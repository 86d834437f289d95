//! `ship scale`.

use ship::app::conclusion::Conclusion;
use ship::app::exit::Exit;
use ship::app::verbs::pause::pause;
use ship::app::verbs::resume::{ResumeRequest, resume};
use ship::app::verbs::scale::{ScaleRequest, scale};
use ship::core::ids::Revision;
use ship::core::journal::state::State;
use ship::core::rollout::failure::Outcome;

use super::project::{SimulatedProject, on_four_hosts, version, with_settings};
use super::run::VerbRun;
use crate::scenario::Quality;

async fn set_scale(project: &SimulatedProject, replicas: u32) -> VerbRun<Conclusion> {
    let set = Vec::new();
    let request = ScaleRequest {
        replicas,
        set,
        ..ScaleRequest::default()
    };
    project.call(async |env| scale(env, request).await).await
}

/// Deploys 0.8 with this number of replicas.
async fn deploy_replicas(project: &SimulatedProject, replicas: u32) -> VerbRun<Conclusion> {
    let setting = format!("rollout.replicas={replicas}");
    let request = with_settings("0.8", &[&setting]);
    project.deploy(request).await.succeeds()
}

async fn count(project: &SimulatedProject, version: &str) -> usize {
    let versions = project.versions().await;
    versions.iter().filter(|other| *other == version).count()
}

#[test]
fn deploy_with_another_number_of_replicas_is_a_new_entry() {
    on_four_hosts(async |project| {
        project.deploy_version("0.8").await;
        deploy_replicas(&project, 6).await;
        assert_eq!(
            project.running().await,
            [
                "h1:8081 0.8",
                "h1:8082 0.8",
                "h2:8081 0.8",
                "h2:8082 0.8",
                "h3:8081 0.8",
                "h4:8081 0.8"
            ]
        );
        deploy_replicas(&project, 2).await;
        assert_eq!(project.running().await.len(), 2);
        deploy_replicas(&project, 0).await;
        assert_eq!(project.running().await, Vec::<String>::new());
        assert_eq!(
            project.history(),
            [
                "4 0.8 succeeded",
                "3 0.8 succeeded",
                "2 0.8 succeeded",
                "1 0.8 succeeded"
            ]
        );
    });
}

#[test]
fn scale_down_stops_surplus_instances() {
    on_four_hosts(async |project| {
        project.deploy_version("0.8").await;
        let done = deploy_replicas(&project, 0).await;
        done.assert_printed(&[
            "page 0.8 (revision 2) on simulated: 0 replicas",
            "rollout to finish: surplus replicas are pending termination...",
            "h1:8081  stopped   0.8 (surplus) in ",
            "h2:8081  stopped   0.8 (surplus) in ",
            "h3:8081  stopped   0.8 (surplus) in ",
            "page 0.8 (revision 2): 0 of 0 available in ",
        ]);
    });
}

#[test]
fn scale_up_starts_missing_instances() {
    on_four_hosts(async |project| {
        project.change_playbook("replicas = 3", "replicas = 1");
        project.deploy_version("0.8").await;
        let done = deploy_replicas(&project, 2).await;
        done.assert_printed(&[
            "page 0.8 (revision 2) on simulated: 2 replicas",
            "rollout to finish: 1 of 2 updated replicas are available...",
            "h2:8081  started   0.8 as ",
            "h2:8081  ready     0.8 after ",
            "page 0.8 (revision 2): 2 of 2 available in ",
        ]);
        assert!(!done.screen.contains("h1:8081  started"), "{}", done.screen);
    });
}

#[test]
fn scale_applies_until_the_playbook_changes() {
    on_four_hosts(async |project| {
        project.deploy_version("0.8").await;
        set_scale(&project, 5).await.succeeds();
        assert_eq!(project.running().await.len(), 5);
        assert_eq!(project.history(), ["2 0.8 succeeded", "1 0.8 succeeded"]);
        // The next deploy keeps the scaled number.
        project.deploy_version("0.9").await;
        assert_eq!(count(&project, "0.9").await, 5);
        project.change_playbook("replicas = 3", "replicas = 2");
        project.deploy_version("0.9").await;
        assert_eq!(project.running().await.len(), 2);
        set_scale(&project, 2).await.does_nothing();
    });
}

#[test]
fn scale_without_free_slots_is_refused() {
    on_four_hosts(async |project| {
        project.deploy_version("0.8").await;
        let actions_before = project.action_count();
        let refused = set_scale(&project, 9).await.exits(Exit::Refused);
        assert!(
            refused.screen.starts_with("error: 9 replicas need 9 slots"),
            "nothing is announced that is refused: {}",
            refused.screen
        );
        assert_eq!(project.action_count(), actions_before);
        project.deploy(version("0.8")).await.does_nothing();
    });
}

#[test]
fn scale_of_a_paused_deploy_is_kept_by_resume() {
    on_four_hosts(async |project| {
        project.build("0.9", Quality::Gated);
        project.deploy_version("0.8").await;
        let deploy = project.start_deploy(version("0.9")).await;
        project.call(async |env| pause(env).await).await.value();
        deploy.wait().await.exits(Exit::Paused);
        project.open_gate();

        set_scale(&project, 6).await.exits(Exit::Done);
        let parts = (count(&project, "0.8").await, count(&project, "0.9").await);
        assert_eq!(parts, (5, 1));
        assert_eq!(project.status().await.state, State::Paused);

        set_scale(&project, 3).await.exits(Exit::Done);
        let parts = (count(&project, "0.8").await, count(&project, "0.9").await);
        assert_eq!(parts, (3, 0));
        assert_eq!(project.status().await.state, State::Paused);

        set_scale(&project, 4).await.exits(Exit::Done);
        let request = ResumeRequest::default();
        let resumed = project.call(async |env| resume(env, request).await).await;
        resumed.succeeds();
        let parts = (count(&project, "0.8").await, count(&project, "0.9").await);
        assert_eq!(parts, (0, 4));
        assert_eq!(project.history(), ["2 0.9 succeeded", "1 0.8 succeeded"]);
    });
}

#[test]
fn version_deployed_to_no_instances_is_not_proven_and_not_rolled_back_to() {
    on_four_hosts(async |project| {
        project.change_playbook("replicas = 3", "replicas = 2");
        for version in ["0.9", "1.0"] {
            project.build(version, Quality::Mute);
        }
        project.deploy_version("0.8").await;
        set_scale(&project, 0).await.succeeds();
        project.deploy_version("0.9").await;
        let revisions = project.revisions();
        let record = revisions.last().expect("three revisions");
        assert_eq!(record.revision, Revision(3));
        assert_eq!(
            (record.proven, record.outcome.as_ref()),
            (false, Some(&Outcome::Succeeded))
        );
        let request = with_settings("1.0", &["rollout.replicas=2"]);
        project.deploy(request).await.exits(Exit::RolledBack);
        assert_eq!(
            project.versions().await,
            ["0.8", "0.8"],
            "the only version that ever served, in its number"
        );
        let status = project.status().await;
        assert_eq!(
            (status.version.as_deref(), status.replicas.updated),
            (Some("0.8"), 2),
            "{status:#?}"
        );
        assert_eq!(status.replicas.desired, 2);
    });
}

#[test]
fn scale_to_nothing_does_not_come_back_after_a_deploy_with_a_number() {
    on_four_hosts(async |project| {
        project.deploy_version("0.8").await;
        set_scale(&project, 0).await.succeeds();
        project.deploy_version("0.9").await;
        assert_eq!(
            project.versions().await,
            Vec::<String>::new(),
            "a scale holds"
        );
        let request = with_settings("0.9", &["rollout.replicas=2"]);
        project.deploy(request).await.succeeds();
        project.deploy_version("0.9").await;
        assert_eq!(
            project.versions().await,
            ["0.9", "0.9", "0.9"],
            "the playbook's number"
        );
    });
}
