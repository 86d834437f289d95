//! Messages about steps, user requests, and ship itself.

use super::super::message::{RolloutMessage, notable, routine};
use crate::core::rollout::event::{Entry, Event};
use crate::core::time::Human;
use crate::report::{phrases, text};

/// The message about a step.
pub(super) fn step(entry: &Entry) -> Option<RolloutMessage> {
    match &entry.event {
        Event::StepReached {
            step,
            of,
            instances,
            soak,
            pause,
        } => {
            let text = phrases::step_reached((*step, *of), *instances, *soak, *pause);
            Some(notable(entry.at, String::new(), "", &text))
        }
        Event::StepPassed { step, of } => Some(routine(
            entry.at,
            String::new(),
            "",
            &phrases::step_passed((*step, *of)),
        )),
        Event::Promoted { by, full } => {
            let scope = if *full { " through all steps" } else { "" };
            Some(notable(
                entry.at,
                String::new(),
                "",
                &format!("promoted{scope} by {}", text::clean(by)),
            ))
        }
        _ => None,
    }
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
