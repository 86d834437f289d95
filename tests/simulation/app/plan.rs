//! `ship plan`.

use ship::app::verbs::plan::{DeployPlan, plan};
use ship::core::rollout::action::Action;
use ship::core::rollout::failure::Outcome;

use super::project::{SimulatedProject, in_place, on_four_hosts, version};

async fn plan_version(project: &SimulatedProject, wanted: &str) -> DeployPlan {
    let overrides = version(wanted).overrides;
    let preview = project.call(async |env| plan(env, overrides).await).await;
    preview.value()
}

/// The start and stop actions, in order.
fn steps(preview: &DeployPlan) -> Vec<String> {
    let actions = preview.simulated.batches.iter().flat_map(|it| &it.actions);
    let step = |action: &Action| match action {
        Action::Start { slot, .. } => Some(format!("start {slot}")),
        Action::Stop { slot, .. } => Some(format!("stop {slot}")),
        _ => None,
    };
    actions.filter_map(step).collect()
}

#[test]
fn plan_of_an_upgrade_has_order_and_worst_case() {
    on_four_hosts(async |project| {
        project.deploy_version("0.8").await;
        let actions_before = project.action_count();
        let preview = plan_version(&project, "0.9").await;
        assert_eq!(
            steps(&preview),
            [
                "start h4:8081",
                "stop h1:8081",
                "start h1:8081",
                "stop h2:8081",
                "start h2:8081",
                "stop h3:8081"
            ]
        );
        let simulated = preview.simulated;
        assert_eq!((simulated.fewest_available, simulated.most_running), (3, 4));
        assert_eq!(simulated.outcome, Some(Outcome::Succeeded));
        assert_eq!(project.action_count(), actions_before);
        assert_eq!(project.history(), ["1 0.8 succeeded"]);
    });
}

#[test]
fn plan_in_place_stops_the_old_instance_first() {
    in_place(async |project| {
        project.deploy_version("0.8").await;
        let preview = plan_version(&project, "0.9").await;
        assert_eq!(
            steps(&preview),
            [
                "stop h1:8081",
                "start h1:8081",
                "stop h2:8081",
                "start h2:8081"
            ]
        );
        let simulated = preview.simulated;
        assert_eq!((simulated.fewest_available, simulated.most_running), (1, 2));
        assert_eq!(simulated.outcome, Some(Outcome::Succeeded));
    });
}

#[test]
fn plan_of_the_running_version_only_claims_the_hosts() {
    on_four_hosts(async |project| {
        project.deploy_version("0.8").await;
        let simulated = plan_version(&project, "0.8").await.simulated;
        let mut actions = simulated.batches.iter().flat_map(|batch| &batch.actions);
        assert!(
            actions.all(|action| matches!(action, Action::Claim { .. })),
            "{:#?}",
            simulated.batches
        );
        assert_eq!(simulated.outcome, Some(Outcome::Succeeded));
    });
}
