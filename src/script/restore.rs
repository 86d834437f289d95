//! How a host restarts an instance by itself, if it was stopped before its successor was there and
//! the controller does not report that all is well.

use std::time::Duration;

use super::site::{
    HostContext, Input, LOCK_WAIT, SERVICE_PATH, Script, Text, UNIT_DIR, WORK, centiseconds,
};
use super::systemd::exec_word;
use crate::core::ids::Port;
use crate::core::time::whole_seconds;
use crate::script::halt::StopSpec;
use crate::script::launch::NUMBER_WAIT;

/// How long it waits for the lock, and for systemd to start the process. It is tried again after
/// that.
const PATIENCE: Duration = Duration::from_mins(15);

/// The time limit of its hooks, for which nobody waits.
const HOOK_TIME: Duration = Duration::from_hours(24);

/// Forgets the instance that the host would bring back in a slot. Where nothing is armed, nothing
/// is done.
pub fn disarm(site: &HostContext, port: Port) -> Script {
    Text::acting(site, "disarm")
        .set("PORT", port)
        .set("UNIT_DIR", UNIT_DIR)
        .add(include_str!("sh/guard.sh"))
        .add(include_str!("sh/disarm.sh"))
        .script(Input::default(), LOCK_WAIT + WORK)
}

/// The script that restarts the instance after this time.
pub(super) fn restore(site: &HostContext, halt: &StopSpec, after: Duration) -> String {
    Text::located(site)
        .set("PORT", halt.port)
        .set("RESTORE_S", whole_seconds(after))
        .set("PATIENCE_CS", centiseconds(PATIENCE))
        .set("SYSTEMD_WAIT_S", whole_seconds(PATIENCE))
        .set("SERVICE_PATH", SERVICE_PATH)
        .set("NUMBER_CS", centiseconds(NUMBER_WAIT))
        .set("UNIT_DIR", UNIT_DIR)
        .add(include_str!("sh/base.sh"))
        .add(include_str!("sh/alone.sh"))
        .add(include_str!("sh/look.sh"))
        .add(include_str!("sh/lock.sh"))
        .add(include_str!("sh/unit.sh"))
        .add(include_str!("sh/guard.sh"))
        .hooking(HOOK_TIME)
        .stopping(halt.stop_timeout)
        .add(include_str!("sh/start_process.sh"))
        .telling_units(site)
        .add(include_str!("sh/start_systemd.sh"))
        .add(include_str!("sh/restore.sh"))
        .text()
}

/// The unit that runs it where there is systemd: when its timer says so, and at the start of a host
/// that was armed; without its last newline.
pub(super) fn unit(site: &HostContext, port: Port) -> String {
    let service = &site.service;
    let script = format!("{}/armed/{port}/restore", site.root()).replace('%', "%%");
    format!(
        "\
# Written by ship for the service {service}. Changes are overwritten when it is deployed.
[Unit]
Description=Bringing {service} back on port {port}
After=network.target
ConditionPathExists={script}
StartLimitIntervalSec=0

[Service]
ExecStart=/bin/sh {run}
Restart=on-failure
RestartSec=60
SyslogIdentifier={service}

[Install]
WantedBy=multi-user.target",
        run = exec_word(&script),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::fleet::owner::Owner;
    use crate::core::ids::{ActionId, Epoch, InstanceId};
    use crate::script::stop::stop;

    fn site() -> HostContext {
        HostContext {
            service: "page".into(),
            base_dir: "/srv/50%".into(),
            epoch: Epoch(1),
            order: ActionId(1),
            host_address: "192.0.2.1".into(),
            ports: vec![8081],
            proven: [].into(),
            owner: Owner::default(),
            is_remote: true,
        }
    }

    #[test]
    fn restore_unit_belongs_to_one_slot() {
        insta::assert_snapshot!(unit(&site(), 8081), @r#"
        # Written by ship for the service page. Changes are overwritten when it is deployed.
        [Unit]
        Description=Bringing page back on port 8081
        After=network.target
        ConditionPathExists=/srv/50%%/page/armed/8081/restore
        StartLimitIntervalSec=0

        [Service]
        ExecStart=/bin/sh "/srv/50%%/page/armed/8081/restore"
        Restart=on-failure
        RestartSec=60
        SyslogIdentifier=page

        [Install]
        WantedBy=multi-user.target
        "#);
    }

    #[test]
    fn only_an_order_that_arms_knows_how() {
        let halt = |restore_after| StopSpec {
            port: 8081,
            instance: InstanceId::from("page-a"),
            stop_timeout: Duration::from_secs(30),
            hooks: Duration::ZERO,
            restore_after,
        };
        let (plain, armed) = (
            stop(&site(), &halt(None)),
            stop(&site(), &halt(Some(Duration::from_secs(70)))),
        );
        assert!(!plain.text.contains("systemd-run") && plain.input == Input::default());
        assert!(armed.text.contains("systemd-run") && !armed.input.head.is_empty());
    }
}
