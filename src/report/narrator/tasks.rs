//! Messages about hooks and tasks.

use super::super::message::{RolloutMessage, notable, routine};
use crate::core::ids::{HostId, Slot};
use crate::core::release::hook::still_running;
use crate::core::rollout::event::{Entry, Event};
use crate::core::rollout::task::TaskOutcome;
use crate::core::time::Human;
use crate::report::text;

/// The message about a hook.
pub(super) fn hook(entry: &Entry) -> Option<RolloutMessage> {
    match &entry.event {
        Event::HookRan {
            point,
            slot,
            host,
            ok,
            detail,
            took,
            output,
            ..
        } => {
            let host = || host.as_ref().map_or_else(String::new, HostId::to_string);
            let subject = slot.as_ref().map_or_else(host, Slot::to_string);
            let took = Human(*took);
            if *ok {
                let text = format!("{point} took {took}");
                match still_running(output) {
                    Some(leftover) => Some(notable(
                        entry.at,
                        subject,
                        "hook",
                        &format!("{text}; {leftover}"),
                    )),
                    None => Some(routine(entry.at, subject, "hook", &text)),
                }
            } else {
                let details = output
                    .iter()
                    .map(|line| format!("| {}", text::clean_indented(line)))
                    .collect();
                let text = format!("{point} failed after {took}: {detail}");
                Some(RolloutMessage {
                    details,
                    ..notable(entry.at, subject, "hook", &text)
                })
            }
        }
        _ => None,
    }
}

/// The message about a task.
pub(super) fn task(entry: &Entry) -> Option<RolloutMessage> {
    match &entry.event {
        Event::TaskStarted { task, host, .. } => {
            let subject = host.as_ref().map_or_else(String::new, HostId::to_string);
            Some(routine(entry.at, subject, "runs", task))
        }
        Event::TaskEnded {
            task,
            end,
            took,
            output,
            ..
        } => Some(match end {
            TaskOutcome::Done if still_running(output).is_some() => {
                let leftover = still_running(output).unwrap_or_default();
                let text = format!("{task}: done in {}; {leftover}", Human(*took));
                notable(entry.at, String::new(), "", &text)
            }
            TaskOutcome::Done => routine(
                entry.at,
                String::new(),
                "",
                &format!("{task}: done in {}", Human(*took)),
            ),
            TaskOutcome::DoneBefore => routine(
                entry.at,
                String::new(),
                "",
                &format!("{task}: already done"),
            ),
            TaskOutcome::Failed { error } => {
                let text = format!("{task}: failed after {}: {error}", Human(*took));
                notable(entry.at, String::new(), "", &text)
            }
            TaskOutcome::Unknown { why } => notable(
                entry.at,
                String::new(),
                "",
                &format!("{task}: lost contact, so its result is unknown: {why}"),
            ),
        }),
        _ => None,
    }
}
