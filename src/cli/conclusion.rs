//! Says what a verb came to, where its progress has not said so.

use super::args::OutputFormat;
use super::exit::Exit;
use super::output::{note, print};
use crate::app::conclusion::Conclusion;
use crate::core::rollout::failure::Outcome;

/// Says what a verb came to.
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
            subject,
            at,
            version,
            revision,
            replicas,
        } => Some(serde_json::json!({
            "event": "nothing_to_do", "at": at, "service": subject.service,
            "fleet": subject.fleet, "version": version, "revision": revision,
            "replicas": replicas,
        })),
        Conclusion::Skipped {
            subject,
            at,
            version,
            why,
        } => Some(serde_json::json!({
            "event": "skipped", "at": at, "service": subject.service, "fleet": subject.fleet,
            "version": version, "why": why,
        })),
        Conclusion::AlreadyThere(_)
        | Conclusion::NoContractDue(_)
        | Conclusion::Ended { .. }
        | Conclusion::EndedElsewhere { .. } => None,
    }
}

fn text(conclusion: &Conclusion) -> Option<String> {
    match conclusion {
        Conclusion::NothingToDo {
            subject,
            version,
            revision,
            replicas,
            ..
        } => Some(format!(
            "nothing to do: {} {version} (revision {revision}) is available on {replicas} of \
             {replicas}",
            subject.service
        )),
        Conclusion::Skipped { why, .. } => Some(format!("skipped: {why}")),
        Conclusion::AlreadyThere(revision) => Some(format!(
            "skipped rollback (current template already matches revision {revision})"
        )),
        Conclusion::NoContractDue(version) => Some(format!(
            "nothing to do: no contract of {version} is left to be made"
        )),
        Conclusion::EndedElsewhere {
            service, outcome, ..
        } => Some(match outcome {
            Outcome::RolledBack => format!("deployment \"{service}\" rolled back"),
            outcome => format!(
                "deployment \"{service}\" ended: {}; `ship status` shows it",
                outcome.word()
            ),
        }),
        Conclusion::Ended { .. } => None,
    }
}
