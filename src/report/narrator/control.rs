//! Messages about steps, about requests of people, and about ship itself.

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
            let wait = if *pause {
                "; then it waits for `ship promote`"
            } else {
                ""
            };
            let text = phrases::step_reached((*step, *of), *instances, *soak, wait);
            Some(notable(entry.at, String::new(), "", &text))
        }
        Event::StepPassed { step, of } => Some(routine(
            entry.at,
            String::new(),
            "",
            &format!("step {step} of {of} is passed"),
        )),
        Event::Promoted { by, full } => {
            let far = if *full { " through all steps" } else { "" };
            Some(notable(
                entry.at,
                String::new(),
                "",
                &format!("promoted{far} by {}", text::clean(by)),
            ))
        }
        _ => None,
    }
}

/// The message about a request, a signal or a fence.
pub(super) fn request(entry: &Entry) -> Option<RolloutMessage> {
    match &entry.event {
        Event::ControllerResumed { slept } => {
            let text = format!(
                "ship itself slept for {}; it looks at everything again",
                Human(*slept)
            );
            Some(notable(entry.at, String::new(), "", &text))
        }
        Event::Paused { by } => {
            let text =
                format!("paused by {by}: nothing new is started, what is in flight ends first");
            Some(notable(entry.at, String::new(), "", &text))
        }
        Event::Frozen { freeze } => {
            let text = format!("{freeze}: nothing new is begun, what was begun ends first");
            Some(notable(entry.at, String::new(), "", &text))
        }
        Event::Aborted { by } => Some(notable(
            entry.at,
            String::new(),
            "",
            &format!("aborted by {by}"),
        )),
        Event::Interrupted { by } => {
            let text = format!(
                "{by}: nothing new is started, what is in flight ends first; once more leaves \
                     at once"
            );
            Some(notable(entry.at, String::new(), "", &text))
        }
        Event::Fenced { host, seen } => {
            let text = format!(
                "refused an order: it has seen the newer epoch {seen}, so another ship has \
                     taken over"
            );
            Some(notable(entry.at, host.to_string(), "fenced", &text))
        }
        _ => None,
    }
}
