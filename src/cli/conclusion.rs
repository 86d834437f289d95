//! Prints the conclusion of a verb, unless its progress has shown it already.

use super::exit::Exit;
use super::output::{note, print};
use super::shared_args::OutputFormat;
use crate::app::conclusion::Conclusion;
use crate::core::rollout::failure::Outcome;

/// Prints the conclusion of a verb and returns its exit code.
pub(super) fn conclude(conclusion: &Conclusion, output: OutputFormat) -> Exit {
    match (json(conclusion), text(conclusion)) {
        (Some(event), _) if output == OutputFormat::Json => drop(print(&format!("{event}\n"))),
        (_, Some(text)) => note(&text),
        _ => {}
    }
    conclusion.exit()
}

fn json(conclusion: &Conclusion) -> Option<serde_json::Value> {
    match conclusion {
        Conclusion::NothingToDo {
            service_key,
            at,
            version,
            revision,
            replicas,
        } => Some(serde_json::json!({
            "event": "nothing_to_do", "at": at, "service": service_key.service,
            "fleet": service_key.fleet, "version": version, "revision": revision,
            "replicas": replicas,
        })),
        Conclusion::Skipped {
            service_key,
            at,
            version,
            why,
        } => Some(serde_json::json!({
            "event": "skipped", "at": at, "service": service_key.service, "fleet": service_key.fleet,
            "version": version, "why": why,
        })),
        Conclusion::AlreadyCurrent(_)
        | Conclusion::NoContractDue { .. }
        | Conclusion::Ended { .. }
        | Conclusion::EndedElsewhere { .. } => None,
    }
}

fn text(conclusion: &Conclusion) -> Option<String> {
    match conclusion {
        Conclusion::NothingToDo {
            service_key,
            version,
            revision,
            replicas,
            ..
        } => Some(format!(
            "nothing to do: {} {version} (revision {revision}) is available on {replicas} of \
             {replicas}",
            service_key.service
        )),
        Conclusion::Skipped { why, .. } => Some(format!("skipped: {why}")),
        Conclusion::AlreadyCurrent(revision) => Some(format!(
            "skipped: the fleet already runs revision {revision}"
        )),
        Conclusion::NoContractDue { service, version } => Some(format!(
            "nothing to do: {service} {version} has no pending contract migrations"
        )),
        Conclusion::EndedElsewhere {
            service, outcome, ..
        } => Some(match outcome {
            Outcome::RolledBack => format!("service `{service}` rolled back"),
            outcome => format!(
                "service `{service}`: the rollout ended as {}; see `ship status`",
                outcome.word()
            ),
        }),
        Conclusion::Ended { .. } => None,
    }
}
