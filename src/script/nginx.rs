//! nginx as a balancer: the servers of an upstream are a file that it includes, and it reads them
//! on a reload.

use std::time::Duration;

use super::balancer::SlotSwitch;
use super::site::{HostContext, Input, LOCK_WAIT, Script, Text, WORK, centiseconds};
use crate::core::ids::Slot;
use crate::script::quote::quote_all;

/// The time limit for new workers after a reload.
const RELOAD_WAIT: Duration = Duration::from_secs(10);
/// The time limit of one of its commands.
const COMMAND_WAIT: Duration = Duration::from_secs(20);
/// The weight of a server with the full weight; the others have a percentage of it.
const FULL_WEIGHT: u32 = 100;

#[derive(Clone, Debug)]
pub struct Nginx {
    /// The absolute path of the file on the balancer's machine that holds the servers of the
    /// upstream.
    pub include: String,
    pub upstream: String,
    /// The command that tests the configuration.
    pub test: Vec<String>,
    /// The command that makes nginx read its configuration again.
    pub reload: Vec<String>,
}

/// A slot and its address as nginx reaches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotAddress {
    pub slot: Slot,
    /// Its host's address or name, as the balancer reaches it.
    pub address: String,
}

/// Reports what nginx does with the slots: those of them that the file names. Takes no lock and
/// changes nothing.
pub fn look_at_nginx(site: &HostContext, nginx: &Nginx, slots: &[SlotAddress]) -> Script {
    text(site, nginx, &slots.iter().collect::<Vec<_>>())
        .add(include_str!("sh/observe.sh"))
        .script(Input::default(), WORK)
}

/// Tells nginx what to do with one of the slots, and reports as [`look_at_nginx`] does.
///
/// The file is written anew and tested; if nginx objects to the configuration, the file is put back
/// and nginx's words are the failure. Otherwise nginx is reloaded, and new workers are waited for.
/// What has no requests stays in the file, as `down`: nginx takes no upstream without servers.
/// [`SlotSwitch::Cut`] ends the old workers that still have connections to the slot, with all that they
/// have.
pub fn switch_nginx(
    site: &HostContext,
    nginx: &Nginx,
    slots: &[SlotAddress],
    slot: &SlotAddress,
    turn: SlotSwitch,
) -> Script {
    let weight = match turn {
        SlotSwitch::Open { weight_percent } => weight_percent.unwrap_or(FULL_WEIGHT).max(1),
        SlotSwitch::Ease | SlotSwitch::Close | SlotSwitch::Cut => FULL_WEIGHT,
    };
    let known = slots.contains(slot);
    let slots: Vec<_> = slots.iter().chain((!known).then_some(slot)).collect();
    text(site, nginx, &slots)
        .ordered(site, &format!("{} {}", turn.word(), slot.slot))
        .set("TURN", turn.word())
        .set("AT", at(slot))
        .set("WEIGHT", weight)
        .set("UPSTREAM", &nginx.upstream)
        .set("TEST", quote_all(&nginx.test))
        .set("RELOAD", quote_all(&nginx.reload))
        .set("RELOAD_CS", centiseconds(RELOAD_WAIT))
        .set("COMMAND_S", COMMAND_WAIT.as_secs())
        .add(include_str!("sh/slot_order.sh"))
        .add(include_str!("sh/nginx_switch.sh"))
        .script(
            Input::default(),
            LOCK_WAIT + COMMAND_WAIT * 3 + RELOAD_WAIT + WORK,
        )
}

fn text(site: &HostContext, nginx: &Nginx, slots: &[&SlotAddress]) -> Text {
    let rows: Vec<_> = slots
        .iter()
        .map(|to| format!("{} {} {}", to.slot.host, to.slot.port, at(to)))
        .collect();
    Text::located(site)
        .set("INCLUDE", &nginx.include)
        .set("FULL_WEIGHT", FULL_WEIGHT)
        .set("SLOTS", rows.join("\n"))
        .add(include_str!("sh/base.sh"))
        .add(include_str!("sh/path.sh"))
        .add(include_str!("sh/nginx.sh"))
}

/// The address as nginx writes it.
fn at(to: &SlotAddress) -> String {
    let address = to.address.trim_matches(['[', ']']);
    if address.contains(':') {
        format!("[{address}]:{}", to.slot.port)
    } else {
        format!("{address}:{}", to.slot.port)
    }
}
