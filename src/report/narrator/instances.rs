//! Messages about the observed state of instances, hosts and balancers.

use super::super::message::{RolloutMessage, notable, quoted, routine};
use crate::core::ids::HostId;
use crate::core::journal::event_context::EventContext;
use crate::core::rollout::event::{Entry, Event};
use crate::core::time::Human;
use crate::report::text::Versions;

/// The message about an instance: its readiness, its drain, and its end.
pub(super) fn instance(
    entry: &Entry,
    context: &EventContext,
    versions: &Versions,
) -> Option<RolloutMessage> {
    match &entry.event {
        Event::InstanceReady {
            slot,
            instance,
            release,
            answer,
        } => {
            let version = versions.of(release);
            let answer = if answer.trim().is_empty() {
                String::new()
            } else {
                format!(": {}", quoted(answer))
            };
            if context.is_unready(instance) {
                let text = format!("{version} again{answer}");
                return Some(notable(entry.at, slot.to_string(), "ready", &text));
            }
            // An instance from before the rollout is expected to be ready.
            let after = Human(entry.at.since(context.started(instance)?));
            let text = format!("{version} after {after}{answer}");
            Some(routine(entry.at, slot.to_string(), "ready", &text))
        }
        Event::InstanceNotReady {
            slot,
            release,
            answer,
            ..
        } => {
            let text = format!("{}: {}", versions.of(release), quoted(answer));
            Some(notable(entry.at, slot.to_string(), "not ready", &text))
        }
        Event::Drained {
            slot,
            result: receipt,
            ..
        } => {
            let (slot, text) = (slot.to_string(), receipt.to_string());
            Some(if receipt.cut > 0 {
                notable(entry.at, slot, "drained", &text)
            } else {
                routine(entry.at, slot, "drained", &text)
            })
        }
        Event::InstanceKilled { slot, after, .. } => {
            let text = format!(
                "it had not ended within the stop timeout ({})",
                Human(*after)
            );
            Some(notable(entry.at, slot.to_string(), "killed", &text))
        }
        Event::InstanceLingers { slot, linger, .. } => {
            let text = format!("it may finish its work for up to {}", Human(*linger));
            Some(routine(entry.at, slot.to_string(), "lingers", &text))
        }
        Event::SlotAwaited { slot, until } => {
            let rest = Human(until.since(entry.at));
            let text = format!("no slot is free; its instance lingers for up to another {rest}");
            Some(routine(entry.at, slot.to_string(), "waiting", &text))
        }
        _ => None,
    }
}

/// The message about a host or balancer that became unreachable or reachable again.
pub(super) fn reachability(entry: &Entry, context: &EventContext) -> Option<RolloutMessage> {
    let lost = |machine: &HostId, why: &str| {
        notable(
            entry.at,
            machine.to_string(),
            "lost",
            machine.without_name(why),
        )
    };
    let recovered = |machine: &HostId| {
        let after = context
            .lost_since(machine)
            .map(|since| format!(" after {}", Human(entry.at.since(since))));
        let text = format!("reachable again{}", after.unwrap_or_default());
        notable(entry.at, machine.to_string(), "back", &text)
    };
    match &entry.event {
        Event::HostLost { host, why } => Some(lost(host, why)),
        Event::BalancerLost { balancer, why } => Some(lost(balancer, why)),
        Event::HostRecovered { host } => Some(recovered(host)),
        Event::BalancerRecovered { balancer } => Some(recovered(balancer)),
        _ => None,
    }
}
