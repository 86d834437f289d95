//! nginx as a balancer: it includes a file with the servers of an upstream, and reads it on a
//! reload.

use std::time::Duration;

use super::balancer::SlotSwitch;
use super::host_context::{HostContext, Input, LOCK_WAIT, Script, Text, WORK, centiseconds};
use crate::core::ids::{Port, Slot};
use crate::script::quote::quote_all;

/// The time limit for new workers after a reload.
const RELOAD_WAIT: Duration = Duration::from_secs(10);
/// The time limit of each nginx command.
const COMMAND_WAIT: Duration = Duration::from_secs(20);
/// The weight of a server with the full weight; other weights are percentages of it.
const FULL_WEIGHT: u32 = 100;

#[derive(Clone, Debug)]
pub struct Nginx {
    /// The absolute path of the file on the balancer's machine that contains the servers of the
    /// upstream.
    pub include: String,
    pub upstream: String,
    /// The command that tests the configuration.
    pub test: Vec<String>,
    /// The command that makes nginx reload its configuration.
    pub reload: Vec<String>,
}

/// A slot and its address from the balancer's point of view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotAddress {
    pub slot: Slot,
    /// The address or name of its host.
    pub address: String,
    /// The port that gets the requests.
    pub port: Port,
}

/// Reports the state of the slots that the file contains. Takes no lock and changes nothing.
pub fn observe_nginx(context: &HostContext, nginx: &Nginx, slots: &[SlotAddress]) -> Script {
    text(context, nginx, &slots.iter().collect::<Vec<_>>())
        .refusing_unsafe()
        .finishing()
        .script(Input::default(), WORK)
}

/// Changes a slot, and reports like [`observe_nginx`].
///
/// The script rewrites the file and tests the configuration. If nginx rejects it, the script
/// restores the file and fails with nginx's message. Otherwise it reloads nginx and waits for new
/// workers. A slot without requests stays in the file as `down`, because nginx requires at least
/// one server in an upstream. [`SlotSwitch::Cut`] ends the old workers that still have connections
/// to the slot, with all their connections.
pub fn switch_nginx(
    context: &HostContext,
    nginx: &Nginx,
    slots: &[SlotAddress],
    slot: &SlotAddress,
    slot_switch: SlotSwitch,
) -> Script {
    let weight = match slot_switch {
        SlotSwitch::Open { weight_percent } => weight_percent.unwrap_or(FULL_WEIGHT).max(1),
        SlotSwitch::LimitToBound | SlotSwitch::Close | SlotSwitch::Cut => FULL_WEIGHT,
    };
    let known = slots.contains(slot);
    let slots: Vec<_> = slots.iter().chain((!known).then_some(slot)).collect();
    text(context, nginx, &slots)
        .locking(context, &format!("{} {}", slot_switch.word(), slot.slot))
        .set("CHANGE", slot_switch.word())
        .set("AT", nginx_address(slot))
        .set("WEIGHT", weight)
        .set("UPSTREAM", &nginx.upstream)
        .set("TEST", quote_all(&nginx.test))
        .set("RELOAD", quote_all(&nginx.reload))
        .set("RELOAD_CS", centiseconds(RELOAD_WAIT))
        .set("COMMAND_S", COMMAND_WAIT.as_secs())
        .add(include_str!("sh/balancer_lock.sh"))
        .add(include_str!("sh/nginx_switch.sh"))
        .script(
            Input::default(),
            LOCK_WAIT + COMMAND_WAIT * 3 + RELOAD_WAIT + WORK,
        )
}

fn text(context: &HostContext, nginx: &Nginx, slots: &[&SlotAddress]) -> Text {
    let rows: Vec<_> = slots
        .iter()
        .map(|slot| {
            format!(
                "{} {} {}",
                slot.slot.host,
                slot.slot.number,
                nginx_address(slot)
            )
        })
        .collect();
    Text::located(context)
        .set("INCLUDE", &nginx.include)
        .set("FULL_WEIGHT", FULL_WEIGHT)
        .set("SLOTS", rows.join("\n"))
        .add(include_str!("sh/base.sh"))
        .add(include_str!("sh/path.sh"))
        .add(include_str!("sh/nginx.sh"))
}

/// The address in nginx's format.
fn nginx_address(slot: &SlotAddress) -> String {
    let address = slot.address.trim_matches(['[', ']']);
    if address.contains(':') {
        format!("[{address}]:{}", slot.port)
    } else {
        format!("{address}:{}", slot.port)
    }
}
