//! New versions that fail: the version and the number of replicas afterwards.

use ship::app::exit::Exit;
use ship::app::verbs::abort::{AbortRequest, abort};
use ship::app::verbs::restart::{RestartRequest, restart};
use ship::app::verbs::rollback::{RollbackRequest, rollback};
use ship::core::ids::Revision;

use super::project::{on_four_hosts, on_one_host, version, with_settings};
use crate::scenario::Quality;

#[test]
fn new_build_of_a_failed_version_is_deployed_under_the_same_name() {
    on_one_host(async |project| {
        project.build("0.9", Quality::Mute);
        project.deploy_version("0.8").await;
        let failed = project.deploy(version("0.9")).await;
        failed.exits(Exit::RolledBack);
        project.build("0.9", Quality::Good);
        project.deploy_version("0.9").await;
        assert_eq!(
            project.history(),
            ["3 0.9 succeeded", "2 0.9 rolled-back", "1 0.8 succeeded"]
        );
    });
}

#[test]
fn number_of_instances_is_rolled_back_with_the_version() {
    on_four_hosts(async |project| {
        project.change_playbook("replicas = 3", "replicas = 4");
        project.build("0.9", Quality::Mute);
        project.deploy_version("0.8").await;
        project.change_playbook("replicas = 4", "replicas = 2");
        let failed = project.deploy(version("0.9")).await;
        let failed = failed.exits(Exit::RolledBack);
        failed.assert_printed(&["rolled back to 0.8 (revision 1): 4 of 4 available"]);
        assert_eq!(project.versions().await, ["0.8"; 4]);
        assert_eq!(project.status().await.replicas.desired, 4);
    });
}

#[test]
fn failed_repair_is_held_and_not_rolled_back() {
    on_one_host(async |project| {
        project.deploy_version("0.8").await;
        project.build("0.9", Quality::Fragile);
        project.deploy_version("0.9").await;
        // From now on, 0.9 exits as soon as it starts.
        project.open_gate();
        let status = project.status().await;
        project.end_instance("h1", status.instances[0].slot);
        let failed = project.deploy(version("0.9")).await.exits(Exit::Held);
        failed.assert_printed(&["0.9 exited unexpectedly"]);
        assert_eq!(
            project.history(),
            ["3 0.9 held", "2 0.9 succeeded", "1 0.8 succeeded"]
        );
    });
}

#[test]
fn failure_of_the_old_version_too_is_held_and_not_blamed_on_the_new_one() {
    on_four_hosts(async |project| {
        project.build("0.9", Quality::Mute);
        project.deploy_version("0.8").await;
        let request = with_settings("0.9", &["rollout.progress_deadline=30s"]);
        let deploy = project.start_deploy(request).await;
        project.end_instance("h2", 8081);
        let failed = deploy.wait().await.exits(Exit::Held);
        failed.assert_printed(&[
            "held: instances of the old version 0.8 fail too (page-",
            "), so the new version may not be the cause",
        ]);
    });
}

#[test]
fn deploy_of_the_proven_version_is_never_rolled_back_past_it() {
    on_four_hosts(async |project| {
        project.build("0.9", Quality::Fragile);
        project.build("1.0", Quality::Gated);
        project.deploy_version("0.8").await;
        project.deploy_version("0.9").await;
        let deploy = project.start_deploy(version("1.0")).await;
        deploy.kill_and_expire().await;
        // From now on, 0.9 exits as soon as it starts, although the release has not changed.
        project.open_gate();
        let request = with_settings("0.9", &["rollout.replicas=4"]);
        let failed = project.deploy(request).await.exits(Exit::Held);
        failed.assert_printed(&["this revision was proven healthy before"]);
        let versions = project.versions().await;
        assert!(!versions.contains(&"0.8".to_owned()), "{versions:?}");
        let request = AbortRequest::default();
        let refused = project.call(async |env| abort(env, request).await).await;
        refused.exits(Exit::Refused);
    });
}

#[test]
fn current_version_is_the_rollback_target_and_not_an_interrupted_one() {
    on_one_host(async |project| {
        project.build("0.9", Quality::Gated);
        project.build("1.0", Quality::Mute);
        project.deploy_version("0.8").await;
        let deploy = project.start_deploy(version("0.9")).await;
        deploy.kill_and_expire().await;
        let failed = project.deploy(version("1.0")).await;
        failed.exits(Exit::RolledBack);
        let status = project.status().await;
        assert_eq!(
            (status.version.as_deref(), status.revision),
            (Some("0.8"), Some(Revision(1))),
            "{status:#?}"
        );
        let request = RollbackRequest::default();
        let refused = project.call(async |env| rollback(env, request).await).await;
        let refused = refused.exits(Exit::Refused);
        refused.assert_printed(&["so revision 1 (0.8) runs"]);
        let request = RestartRequest::default();
        let restarted = project.call(async |env| restart(env, request).await).await;
        restarted.succeeds();
        assert_eq!(project.versions().await, ["0.8"]);
    });
}
