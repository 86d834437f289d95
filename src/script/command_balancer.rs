//! Any balancer, controlled by commands of the user.
//!
//! The commands change the balancer but cannot report its state. Therefore, a file for each slot
//! records the last change.

use std::time::Duration;

use super::balancer::SlotSwitch;
use super::host_context::{HostContext, Input, LOCK_WAIT, Script, Text, WORK};
use crate::core::ids::Slot;
use crate::core::time::whole_seconds;
use crate::script::quote::quote_all;

/// The time limit of a command that admits or drains.
const CHANGE_WAIT: Duration = Duration::from_secs(20);
/// The time limit of a command that counts pending requests.
const COUNT_WAIT: Duration = Duration::from_secs(5);

/// The commands for a slot, each a program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BalancerCommands {
    pub slot: Slot,
    /// Admits new requests to the slot.
    pub admit: Vec<String>,
    /// Stops new requests to the slot.
    pub drain: Vec<String>,
    /// Prints the number of pending requests.
    pub remaining: Vec<String>,
    /// Closes open connections; empty if there is no such command.
    pub cut: Vec<String>,
}

/// Reports the last change to each slot, and the pending requests of slots that were closed in the
/// current epoch. Takes no lock and changes nothing.
pub fn observe_command_balancer(context: &HostContext, all: &[BalancerCommands]) -> Script {
    text(context, all)
        .refusing_unsafe()
        .finishing()
        .script(Input::default(), COUNT_WAIT * 2 + WORK)
}

/// Runs the command for a slot, and reports like [`observe_command_balancer`].
///
/// There are no weights. After a failed `admit`, `drain` runs, so that the slot gets no requests.
/// An interrupted `admit` is reported as open with weight 0, until it is repeated.
pub fn switch_command_balancer(
    context: &HostContext,
    all: &[BalancerCommands],
    changed: &BalancerCommands,
    slot_switch: SlotSwitch,
) -> Script {
    text(context, all)
        .locking(context, &format!("{} {}", slot_switch.word(), changed.slot))
        .set("CHANGE", slot_switch.word())
        .set(
            "SLOT_NAME",
            format!("{} {}", changed.slot.host, changed.slot.number),
        )
        .set("ADMIT", quote_all(&changed.admit))
        .set("DRAIN", quote_all(&changed.drain))
        .set("CUT", quote_all(&changed.cut))
        .set("CHANGE_TIMEOUT_S", whole_seconds(CHANGE_WAIT))
        .add(include_str!("sh/balancer_lock.sh"))
        .add(include_str!("sh/command_balancer_switch.sh"))
        .script(
            Input::default(),
            LOCK_WAIT + CHANGE_WAIT * 2 + COUNT_WAIT * 2 + WORK,
        )
}

fn text(context: &HostContext, all: &[BalancerCommands]) -> Text {
    let rows = all.iter().map(|commands| {
        format!(
            "{} {} {}",
            commands.slot.host,
            commands.slot.number,
            quote_all(&commands.remaining)
        )
    });
    Text::located(context)
        .set("SLOTS", rows.collect::<Vec<_>>().join("\n"))
        .set("COUNT_S", whole_seconds(COUNT_WAIT))
        .add(include_str!("sh/base.sh"))
        .add(include_str!("sh/path.sh"))
        .add(include_str!("sh/command_balancer.sh"))
}
