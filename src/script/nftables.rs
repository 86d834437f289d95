//! A host as its own balancer: its packet filter forwards the public port to one of the slots.
//!
//! Existing connections stay where they are; only new ones are forwarded.

use super::balancer::SlotSwitch;
use super::host_context::{HostContext, Input, LOCK_WAIT, Script, Text, UNIT_DIR, WORK};
use super::systemd::exec_word;
use crate::core::ids::{HostId, Port};

/// Reports to which slot the public port is forwarded, and the number of connections to each slot.
/// Takes no lock and changes nothing.
pub fn observe_nftables(context: &HostContext, host: &HostId, public: Port) -> Script {
    text(context, host, public)
        .refusing_unsafe()
        .finishing()
        .script(Input::default(), WORK)
}

/// Forwards the public port to a slot or to none, and reports like [`observe_nftables`].
///
/// The change is one transaction, so no connection is lost in between. It rewrites the service's
/// own tables completely, which also repairs them. There are no weights. [`SlotSwitch::Cut`] closes
/// no connections: the remaining ones are no longer counted, and end with the instance, which is
/// stopped next.
pub fn switch_nftables(
    context: &HostContext,
    host: &HostId,
    public: Port,
    port: Port,
    slot_switch: SlotSwitch,
) -> Script {
    text(context, host, public)
        .locking(context, &format!("{} {host}:{port}", slot_switch.word()))
        .set("CHANGE", slot_switch.word())
        .set("PORT", port)
        .set("UNIT_DIR", UNIT_DIR)
        .set("UNIT", unit(context))
        .add(include_str!("sh/unit.sh"))
        .add(include_str!("sh/nftables_switch.sh"))
        .script(Input::default(), LOCK_WAIT + WORK)
}

fn text(context: &HostContext, host: &HostId, public: Port) -> Text {
    let ports: Vec<_> = context.slots.keys().map(ToString::to_string).collect();
    Text::located(context)
        .set("HOST", host)
        .set("PORTS", ports.join(" "))
        .set("PUBLIC", public)
        .set(
            "TABLE",
            format!("ship_{}{}", context.service, context.suffix()),
        )
        .set(
            "RULES_UNIT",
            format!(
                "ship-{}.public{}.service",
                context.service,
                context.suffix()
            ),
        )
        .add(include_str!("sh/base.sh"))
        .add(include_str!("sh/path.sh"))
        .add(include_str!("sh/nftables.sh"))
}

/// The unit that loads the rules when the host starts, and after nftables' own unit, which removes
/// all other rules; without its last newline.
fn unit(context: &HostContext) -> String {
    let service = &context.service;
    let rules = format!("{}/public.nft", context.root().replace('%', "%%"));
    format!(
        "\
# Written by ship for the service {service}. Changes are overwritten when it is deployed.
[Unit]
Description=The public port of {service}
After=nftables.service
PartOf=nftables.service
ReloadPropagatedFrom=nftables.service
ConditionPathExists={rules}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/env nft -f {file}
ExecReload=/usr/bin/env nft -f {file}

[Install]
WantedBy=multi-user.target",
        file = exec_word(&rules),
    )
}
