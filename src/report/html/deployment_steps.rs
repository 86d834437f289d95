//! The commands that the page of a deployment suggests.

use super::next_steps::{NextStep, flag};
use super::page_input::DeploymentInput;
use crate::core::rollout::verb::Verb;
use crate::core::stack::{DeployedService, StackDirection, StackOutcome};

/// The commands that make sense now, ready to be copied.
pub(super) fn deployment_steps(input: &DeploymentInput<'_>) -> Vec<NextStep> {
    let deployment = input.deployment;
    let command =
        |why: &str, verb: &str, rest: &str| NextStep::new(why, verb, &input.arguments, rest);
    let resume = || command("Continue the deployment", "resume", "");
    let status = || command("Show the state of every service", "status", "");
    if !input.is_newest {
        // The others are about the newest deployment.
        let to = flag("--to-deployment", &deployment.number.to_string());
        let back = command("Return to the versions of this deployment", "rollback", &to);
        let is_whole = deployment.outcome == Some(StackOutcome::Deployed);
        return is_whole.then_some(back).into_iter().collect();
    }
    let is_back = deployment.direction == StackDirection::Back;
    let abort = (!is_back).then(|| command("Undo the deployment", "abort", ""));
    match deployment.outcome {
        Some(StackOutcome::Deployed) => {
            let undo = command("Take every service back", "rollback", "");
            can_undo(input).then_some(undo).into_iter().collect()
        }
        Some(StackOutcome::RolledBack) => {
            let again = command(
                "Every service runs its earlier revision. Fix the problem, then try again",
                "deploy",
                &deploy_flags(input),
            );
            let is_deploy = deployment.verb == Verb::Deploy;
            is_deploy.then_some(again).into_iter().collect()
        }
        Some(StackOutcome::RollbackFailed) => vec![status(), resume()],
        Some(StackOutcome::Held | StackOutcome::Stopped) | None => {
            [status(), resume()].into_iter().chain(abort).collect()
        }
    }
}

/// Whether `ship rollback` would undo the deployment.
fn can_undo(input: &DeploymentInput<'_>) -> bool {
    let mut services = input.deployment.services.iter();
    let can_undo = |it: &DeployedService| it.before.is_some() && it.contract.is_none();
    input.deployment.verb != Verb::Rollback && services.all(can_undo)
}

/// The flags of the deploy, for the same command again.
fn deploy_flags(input: &DeploymentInput<'_>) -> String {
    let services = &input.deployment.services;
    let Some(first) = services.first() else {
        return String::new();
    };
    let mut flags = String::new();
    if input.is_partial {
        flags.extend(services.iter().map(|it| flag("--service", &it.service)));
    }
    if services.iter().all(|it| it.version == first.version) {
        flags += &flag("--version", &first.version);
    } else {
        let of_one =
            |it: &DeployedService| flag("--version", &format!("{}={}", it.service, it.version));
        flags.extend(services.iter().map(of_one));
    }
    flags.extend(first.set.iter().map(|set| flag("--set", set)));
    let reason = &input.deployment.reason;
    // Without one, the reason is the command.
    if reason != input.deployment.verb.noun() {
        flags += &flag("--reason", reason);
    }
    flags
}
