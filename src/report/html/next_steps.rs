//! The commands that the page suggests.

use serde::Serialize;

use super::page_input::PageInput;
use crate::core::journal::rollout_summary::RolloutSummary;
use crate::core::rollout::event::RolloutStart;
use crate::core::rollout::failure::Outcome;
use crate::core::rollout::verb::Verb;

/// A command that makes sense now.
#[derive(Debug, Serialize)]
pub(super) struct NextStep {
    why: String,
    command: String,
}

/// The commands that make sense now, ready to be copied.
pub(super) fn next_steps(
    input: &PageInput<'_>,
    summary: &RolloutSummary,
    start: &RolloutStart,
) -> Vec<NextStep> {
    let inventory = shlex::try_quote(input.inventory).unwrap_or_else(|_| input.inventory.into());
    let command = |why: &str, verb: &str, rest: &str| NextStep {
        why: why.to_owned(),
        command: format!("ship {verb} {inventory}{rest}"),
    };
    let back = start.rollback_target.as_ref();
    let resume = command("Continue the rollout", "resume", "");
    let status = command("Show the state of the service", "status", "");
    let abort = back.map(|back| command(&format!("Roll back to {}", back.version), "abort", ""));
    match &summary.outcome {
        Some(Outcome::Succeeded) if start.verb == Verb::Scale => Vec::new(),
        Some(Outcome::Succeeded) => back
            .filter(|back| back.release != start.target.release)
            .map(|back| {
                let revision = format!(" --to-revision {}", back.revision);
                command(
                    &format!("Roll back to {}, the previous revision", back.version),
                    "rollback",
                    &revision,
                )
            })
            .into_iter()
            .collect(),
        Some(Outcome::RolledBack) => {
            let is_deploy = start.verb == Verb::Deploy;
            let again = command(
                "The rollback is complete. Fix the problem, then try again",
                "deploy",
                &deploy_flags(input, start),
            );
            is_deploy.then_some(again).into_iter().collect()
        }
        Some(Outcome::Held { .. }) => [Some(status), Some(resume), abort]
            .into_iter()
            .flatten()
            .collect(),
        Some(Outcome::RollbackFailed { .. }) => vec![status, resume],
        Some(Outcome::Fenced { .. }) => vec![
            status,
            command("Show what the other process deployed", "history", ""),
        ],
        Some(Outcome::Paused { .. }) if summary.step.is_some() => {
            let promote = command("Continue from this step", "promote", "");
            [Some(promote), abort].into_iter().flatten().collect()
        }
        Some(Outcome::Interrupted | Outcome::WindowClosed { .. } | Outcome::Paused { .. })
        | None => [Some(resume), abort].into_iter().flatten().collect(),
    }
}

/// The flags of the deploy, for the same command again.
fn deploy_flags(input: &PageInput<'_>, start: &RolloutStart) -> String {
    let flag = |name: &str, value: &str| {
        let value = shlex::try_quote(value).unwrap_or_else(|_| value.into());
        format!(" {name} {value}")
    };
    let mut flags = flag("--version", &start.target.version);
    flags.extend(start.set.iter().map(|set| flag("--set", set)));
    if !input.reason.is_empty() {
        flags += &flag("--reason", input.reason);
    }
    flags
}
