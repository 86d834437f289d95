//! Steps and `ship promote`.

use ship::app::exit::Exit;
use ship::app::verbs::abort::{AbortRequest, abort};
use ship::app::verbs::promote::{PromoteRequest, Promotion, promote};
use ship::core::journal::state::State;

use super::project::{SimulatedProject, on_four_hosts, unattended, version};

/// Adds a first step of one instance that pauses, then deploys 0.8.
async fn set_up_pausing_step(project: &SimulatedProject) {
    project.change_playbook(
        "[rollout]\n",
        "[rollout]\nsteps = [{ instances = 1, soak = \"100ms\", pause = true }, \"100%\"]\n",
    );
    project.deploy_version("0.8").await;
}

#[test]
fn deploy_waits_at_its_step_for_promote() {
    on_four_hosts(async |project| {
        set_up_pausing_step(&project).await;
        let deploy = project.start_deploy(version("0.9")).await;
        deploy.await_words("then waiting for `ship promote`").await;
        let versions = project.versions().await;
        let new = versions.iter().filter(|version| *version == "0.9");
        assert_eq!(new.count(), 1);
        let request = PromoteRequest::default();
        let promoted = project.call(async |env| promote(env, request).await).await;
        let Promotion::Requested(accepted) = promoted.value() else {
            panic!("the rollout continued in another process");
        };
        assert_eq!(accepted.to_string(), "service `page` promoted");
        let done = deploy.wait().await.succeeds();
        done.assert_printed(&[
            "promoted by anna@here",
            "step 2 of 2 reached: 3 new instances",
        ]);
        assert_eq!(project.versions().await, ["0.9", "0.9", "0.9"]);
    });
}

#[test]
fn unattended_deploy_ends_at_its_step_and_promote_resumes() {
    on_four_hosts(async |project| {
        set_up_pausing_step(&project).await;
        let deployed = project.deploy(unattended(version("0.9"))).await;
        deployed.exits(Exit::Paused).assert_printed(&[
            "was paused by the gate of step 1 of 2, which waits for `ship promote`",
            ": 1 of 3 updated, 3 of 3 available",
        ]);
        let status = project.status().await;
        assert_eq!((status.state, status.replicas.updated), (State::Paused, 1));
        let request = PromoteRequest::default();
        let promoted = project.call(async |env| promote(env, request).await).await;
        let Promotion::Concluded(conclusion) = promoted.value() else {
            panic!("no other process carries it out");
        };
        assert_eq!(conclusion.exit(), Exit::Done);
        assert_eq!(project.versions().await, ["0.9", "0.9", "0.9"]);
        assert_eq!(project.status().await.state, State::Idle);
    });
}

#[test]
fn unattended_deploy_passes_its_step_with_on_gate_promote() {
    on_four_hosts(async |project| {
        set_up_pausing_step(&project).await;
        project.add_table("[unattended]\non_gate = \"promote\"\n");
        project.deploy(unattended(version("0.9"))).await.succeeds();
        assert_eq!(project.versions().await, ["0.9", "0.9", "0.9"]);
    });
}

#[test]
fn deploy_that_waits_at_its_step_can_be_aborted() {
    on_four_hosts(async |project| {
        set_up_pausing_step(&project).await;
        let deployed = project.deploy(unattended(version("0.9"))).await;
        deployed.exits(Exit::Paused);
        let request = AbortRequest::default();
        let aborted = project.call(async |env| abort(env, request).await).await;
        aborted.exits(Exit::Done);
        assert_eq!(project.versions().await, ["0.8", "0.8", "0.8"]);
    });
}

#[test]
fn promote_without_a_waiting_step_is_refused() {
    on_four_hosts(async |project| {
        set_up_pausing_step(&project).await;
        let request = PromoteRequest::default();
        let refused = project.call(async |env| promote(env, request).await).await;
        refused.assert_refused(
            Exit::Refused,
            "service `page` is not being rolled out, so there is nothing to promote",
        );
    });
}
