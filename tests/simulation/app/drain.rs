//! Hosts that are drained before they leave the fleet.

use ship::app::exit::Exit;
use ship::app::verbs::scale::{ScaleRequest, scale};

use super::project::{run_on, scenario, version};

#[test]
fn drain_that_leaves_too_few_slots_is_refused() {
    run_on(scenario(4, 1, [1, 0]), 3, async |project| {
        project.deploy_version("0.8").await;
        project.drain("h1");
        let actions_before = project.action_count();
        let refused = project.deploy(version("0.8")).await.exits(Exit::Refused);
        refused.assert_printed(&["the fleet offers 3 (3 hosts × 1 slot)"]);
        assert_eq!(project.action_count(), actions_before);
    });
}

#[test]
fn deploy_with_every_host_drained_is_refused() {
    run_on(scenario(1, 2, [1, 0]), 1, async |project| {
        project.change_playbook("replicas = 1\n", "");
        project.deploy_version("0.8").await;
        project.drain("h1");
        let refused = project.deploy(version("0.8")).await.exits(Exit::Refused);
        refused.assert_printed(&["every host of the inventory is drained"]);
        assert_eq!(project.versions().await, ["0.8"]);
        let request = ScaleRequest::default();
        let scaled = project.call(async |env| scale(env, request).await).await;
        scaled.succeeds();
        assert_eq!(project.versions().await, Vec::<String>::new());
    });
}
