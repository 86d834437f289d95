//! A host as its own balancer: its packet filter sends what comes for the public port to one of the
//! slots.
//!
//! Connections that are there stay where they are: only new ones are sent.

use super::balancer::SlotSwitch;
use super::site::{HostContext, Input, LOCK_WAIT, Script, Text, UNIT_DIR, WORK};
use super::systemd::exec_word;
use crate::core::ids::{HostId, Port};

/// Reports which of the site's ports has the public port, and how many connections each has. Takes
/// no lock and changes nothing.
pub fn look_at_nftables(site: &HostContext, host: &HostId, public: Port) -> Script {
    text(site, host, public)
        .add(include_str!("sh/observe.sh"))
        .script(Input::default(), WORK)
}

/// Gives the public port to a slot or takes it away, and reports as [`look_at_nftables`] does.
///
/// It is one transaction: no connection comes in between. All that is in the service's own tables
/// is written anew, so that what somebody has broken there is whole again. There are no weights.
/// [`SlotSwitch::Cut`] ends no connection: those that are left end with the instance, which is told to
/// end next, and are not counted any more.
pub fn switch_nftables(
    site: &HostContext,
    host: &HostId,
    public: Port,
    port: Port,
    turn: SlotSwitch,
) -> Script {
    text(site, host, public)
        .ordered(site, &format!("{} {host}:{port}", turn.word()))
        .set("TURN", turn.word())
        .set("PORT", port)
        .set("UNIT_DIR", UNIT_DIR)
        .set("UNIT", unit(site))
        .add(include_str!("sh/unit.sh"))
        .add(include_str!("sh/nftables_switch.sh"))
        .script(Input::default(), LOCK_WAIT + WORK)
}

fn text(site: &HostContext, host: &HostId, public: Port) -> Text {
    let ports: Vec<_> = site.ports.iter().map(ToString::to_string).collect();
    Text::located(site)
        .set("HOST", host)
        .set("PORTS", ports.join(" "))
        .set("PUBLIC", public)
        .set("TABLE", format!("ship_{}{}", site.service, site.suffix()))
        .set(
            "KEEPER",
            format!("ship-{}.public{}.service", site.service, site.suffix()),
        )
        .add(include_str!("sh/base.sh"))
        .add(include_str!("sh/path.sh"))
        .add(include_str!("sh/nftables.sh"))
}

/// The unit that brings the rules back when the host starts, and after those of nftables' own unit,
/// which forgets all others; without its last newline.
fn unit(site: &HostContext) -> String {
    let service = &site.service;
    let rules = format!("{}/public.nft", site.root().replace('%', "%%"));
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
