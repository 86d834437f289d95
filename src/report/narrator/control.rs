//! Messages about steps, user requests, and ship itself.

use super::super::message::{RolloutMessage, notable, routine};
use crate::core::rollout::event::{Entry, Event};
use crate::core::time::Human;
use crate::report::{phrases, text};

/// The message about a step.
pub(super) fn step(entry: &Entry) -> Option<RolloutMessage> {
    let text = text::clean(&phrases::step(&entry.event)?);
    let message = match &entry.event {
        Event::StepPassed { .. } => routine,
        _ => notable,
    };
    Some(message(entry.at, String::new(), "", &text))
}

/// The message about a user request, a signal, a suspension, or a newer epoch.
pub(super) fn request(entry: &Entry) -> Option<RolloutMessage> {
    match &entry.event {
        Event::ControllerResumed { slept } => {
            let text = format!(
                "ship was suspended for {}; re-checking all hosts",
                Human(*slept)
            );
            Some(notable(entry.at, String::new(), "", &text))
        }
        Event::Paused { by } => {
            let text = format!("paused by {by}; finishing in-flight actions");
            Some(notable(entry.at, String::new(), "", &text))
        }
        Event::Frozen { freeze } => {
            let text = format!("{freeze}; finishing in-flight actions");
            Some(notable(entry.at, String::new(), "", &text))
        }
        Event::Aborted { by } => Some(notable(
            entry.at,
            String::new(),
            "",
            &format!("aborted by {by}"),
        )),
        Event::Interrupted { by } => {
            let text = format!("{by}: finishing in-flight actions; press Ctrl-C again to exit now");
            Some(notable(entry.at, String::new(), "", &text))
        }
        Event::Fenced { host, seen } => {
            let text = format!(
                "rejected a command: it has accepted the newer epoch {seen} of another ship process"
            );
            Some(notable(entry.at, host.to_string(), "fenced", &text))
        }
        _ => None,
    }
}
