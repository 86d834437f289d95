//! The commands that the page suggests.

use serde::Serialize;

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

impl NextStep {
    /// `ship VERB ARGUMENTS REST`. `arguments` and `rest` are quoted for a shell.
    pub(super) fn new(why: &str, verb: &str, arguments: &str, rest: &str) -> Self {
        Self {
            why: why.to_owned(),
            command: format!("ship {verb} {arguments}{rest}"),
        }
    }
}

/// The commands that make sense after a rollout, ready to be copied. `arguments` name the service.
pub(super) fn next_steps(
    arguments: &str,
    reason: &str,
    summary: &RolloutSummary,
    start: &RolloutStart,
) -> Vec<NextStep> {
    let command = |why: &str, verb: &str, rest: &str| NextStep::new(why, verb, arguments, rest);
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
                &deploy_flags(reason, start),
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
fn deploy_flags(reason: &str, start: &RolloutStart) -> String {
    let mut flags = flag("--version", &start.target.version);
    flags.extend(start.set.iter().map(|set| flag("--set", set)));
    if !reason.is_empty() {
        flags += &flag("--reason", reason);
    }
    flags
}

/// An option with its value, quoted for a shell, after a space.
pub(super) fn flag(name: &str, value: &str) -> String {
    let value = shlex::try_quote(value).unwrap_or_else(|_| value.into());
    format!(" {name} {value}")
}
