//! Prints how a deployment ended.

use super::super::conclusion as of_service;
use super::super::exit::{CliError, Exit};
use super::super::output::{note, print};
use super::super::shared_args::OutputFormat;
use crate::app::stack::StackConclusion;
use crate::core::stack::{Deployment, StackDirection, StackOutcome};
use crate::core::time::Human;
use crate::report::clock::rfc3339;

/// Prints the conclusion and returns its exit code.
pub(super) fn conclude(
    conclusion: &StackConclusion,
    output: OutputFormat,
) -> Result<Exit, CliError> {
    for unchanged in &conclusion.unchanged {
        of_service::conclude(unchanged, output);
    }
    for error in &conclusion.errors {
        note(&format!("error: {error}"));
    }
    if let Some(deployment) = &conclusion.deployment {
        match output {
            OutputFormat::Json => {
                print(&format!("{}\n", event(deployment)))?;
            }
            OutputFormat::Text => note(&text(deployment)),
        }
    }
    Ok(conclusion.exit)
}

fn event(deployment: &Deployment) -> serde_json::Value {
    serde_json::json!({
        "event": "deployment_finished",
        "time": deployment.ended.map(rfc3339),
        "at": deployment.ended,
        "deployment": deployment.number,
        "outcome": deployment.outcome.map(StackOutcome::word),
        "services": services(deployment),
    })
}

/// The services of a deployment, for JSON.
pub(super) fn services(deployment: &Deployment) -> Vec<serde_json::Value> {
    let service = |it: &crate::core::stack::DeployedService| {
        serde_json::json!({
            "service": it.service, "version": it.version, "revision": it.revision,
            "before": it.before, "undo": it.undo, "contract": it.contract,
        })
    };
    deployment.services.iter().map(service).collect()
}

fn text(deployment: &Deployment) -> String {
    let (number, services) = (deployment.number, deployment.versions());
    let took = deployment
        .ended
        .map(|ended| format!(" in {}", Human(ended.since(deployment.began))))
        .unwrap_or_default();
    match deployment.outcome {
        Some(StackOutcome::Deployed) => format!("deployment {number} succeeded{took}: {services}"),
        Some(StackOutcome::RolledBack) => format!(
            "deployment {number} rolled back{took}: every service runs its earlier revision"
        ),
        Some(StackOutcome::Held) => format!(
            "deployment {number} is held: new and earlier revisions may run side by side\nhint: see `ship \
             status`; `ship resume` continues, `ship abort` undoes the deployment"
        ),
        Some(StackOutcome::RollbackFailed) => format!(
            "deployment {number}: the rollback failed\nhint: see `ship status`; `ship resume` tries again"
        ),
        Some(StackOutcome::Stopped) | None if deployment.direction == StackDirection::Back => {
            format!(
                "deployment {number} stopped while it rolled back\nhint: `ship resume` continues the rollback"
            )
        }
        Some(StackOutcome::Stopped) | None => format!(
            "deployment {number} stopped\nhint: `ship resume` continues, `ship abort` undoes it"
        ),
    }
}
