//! Any balancer, controlled by the user's own commands.
//!
//! What they were told last is kept in a file for each slot: the commands only act, they do not say
//! what holds.

use std::time::Duration;

use super::balancer::SlotSwitch;
use super::site::{HostContext, Input, LOCK_WAIT, Script, Text, WORK};
use crate::core::ids::Slot;
use crate::core::time::whole_seconds;
use crate::script::quote::quote_all;

/// The time limit of a command that admits or drains.
const ACT_WAIT: Duration = Duration::from_secs(20);
/// The time limit of a command that counts the remaining requests.
const COUNT_WAIT: Duration = Duration::from_secs(5);

/// The commands for a slot, each a program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BalancerCommands {
    pub slot: Slot,
    /// The command that lets new requests reach the slot.
    pub admit: Vec<String>,
    /// The command that stops new requests to the slot.
    pub drain: Vec<String>,
    /// The command that prints the number of requests still under way.
    pub remaining: Vec<String>,
    /// The command that ends open connections; empty where there is none.
    pub cut: Vec<String>,
}

/// Reports what was told last of each slot, and how many requests remain to those that were closed
/// in the present epoch. Takes no lock and changes nothing.
pub fn look_at_gatekeepers(site: &HostContext, all: &[BalancerCommands]) -> Script {
    text(site, all)
        .add(include_str!("sh/observe.sh"))
        .script(Input::default(), COUNT_WAIT * 2 + WORK)
}

/// Runs the command for a slot, and reports as [`look_at_gatekeepers`] does.
///
/// There are no weights. An `admit` that fails is followed by `drain`, so that nothing comes to the
/// slot; one that was broken off is reported as open with no weight, until it is given again.
pub fn switch_gatekeeper(
    site: &HostContext,
    all: &[BalancerCommands],
    told: &BalancerCommands,
    turn: SlotSwitch,
) -> Script {
    text(site, all)
        .ordered(site, &format!("{} {}", turn.word(), told.slot))
        .set("TURN", turn.word())
        .set("KEPT", format!("{} {}", told.slot.host, told.slot.port))
        .set("ADMIT", quote_all(&told.admit))
        .set("DRAIN", quote_all(&told.drain))
        .set("CUT", quote_all(&told.cut))
        .set("ACT_S", whole_seconds(ACT_WAIT))
        .add(include_str!("sh/slot_order.sh"))
        .add(include_str!("sh/gatekeeper_switch.sh"))
        .script(
            Input::default(),
            LOCK_WAIT + ACT_WAIT * 2 + COUNT_WAIT * 2 + WORK,
        )
}

fn text(site: &HostContext, all: &[BalancerCommands]) -> Text {
    let rows = all.iter().map(|of| {
        format!(
            "{} {} {}",
            of.slot.host,
            of.slot.port,
            quote_all(&of.remaining)
        )
    });
    Text::located(site)
        .set("SLOTS", rows.collect::<Vec<_>>().join("\n"))
        .set("COUNT_S", whole_seconds(COUNT_WAIT))
        .add(include_str!("sh/base.sh"))
        .add(include_str!("sh/path.sh"))
        .add(include_str!("sh/gatekeeper.sh"))
}
