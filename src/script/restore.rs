//! The dead-man switch of an in-place replacement: the old instance stops before its successor
//! starts. If the controller does not confirm in time that the successor is available, the host
//! restores the old instance on its own.

use std::time::Duration;

use super::host_context::{
    HostContext, Input, LOCK_WAIT, SERVICE_PATH, Script, Text, UNIT_DIR, WORK, centiseconds,
};
use super::systemd::exec_word;
use crate::core::ids::SlotNumber;
use crate::core::release::link::ACTIVATE_TIMEOUT;
use crate::core::time::whole_seconds;
use crate::script::start_spec::PID_WAIT;
use crate::script::stop_spec::StopSpec;

/// How long a restore waits for the lock, and for systemd to start the process, before it is
/// retried.
const LOCK_TIMEOUT: Duration = Duration::from_mins(15);

/// The time limit of the hooks. It is long, because nothing waits for a restore.
const HOOK_TIME: Duration = Duration::from_hours(24);

/// Disarms the switch of a slot. If it is not armed, nothing is done.
pub fn disarm(context: &HostContext, number: SlotNumber) -> Script {
    Text::changing(context, "disarm")
        .set("NUMBER", number)
        .set("UNIT_DIR", UNIT_DIR)
        .add(include_str!("sh/dead_mans_switch.sh"))
        .add(include_str!("sh/disarm.sh"))
        .script(Input::default(), LOCK_WAIT + WORK)
}

/// The script that restores the instance after this time.
pub(super) fn restore(context: &HostContext, spec: &StopSpec, after: Duration) -> String {
    Text::located(context)
        .set("NUMBER", spec.number)
        .set("RESTORE_S", whole_seconds(after))
        .set("LOCK_TIMEOUT_CS", centiseconds(LOCK_TIMEOUT))
        .set("SYSTEMD_WAIT_S", whole_seconds(LOCK_TIMEOUT))
        .set("SERVICE_PATH", SERVICE_PATH)
        .set("PID_WAIT_CS", centiseconds(PID_WAIT))
        .set("UNIT_DIR", UNIT_DIR)
        .add(include_str!("sh/base.sh"))
        .add(include_str!("sh/without_controller.sh"))
        .add(include_str!("sh/process.sh"))
        .add(include_str!("sh/observe_slots.sh"))
        .add(include_str!("sh/link.sh"))
        .add(include_str!("sh/lock.sh"))
        .add(include_str!("sh/unit.sh"))
        .add(include_str!("sh/dead_mans_switch.sh"))
        .running_hooks(HOOK_TIME)
        .stopping(spec.stop_timeout)
        .set("ACTIVATE_S", ACTIVATE_TIMEOUT.as_secs())
        .set("ACTIVATE", "")
        .set("SWITCHES_BACK", "")
        .add(include_str!("sh/start_process.sh"))
        .add(include_str!("sh/start_link.sh"))
        .distinguishing_units(context)
        .add(include_str!("sh/start_systemd.sh"))
        .add(include_str!("sh/restore.sh"))
        .into_text()
}

/// The systemd unit that runs the script: when its timer fires, and when a host starts with an
/// armed switch; without its last newline.
pub(super) fn unit(context: &HostContext, number: SlotNumber) -> String {
    let service = &context.service;
    let script = format!("{}/armed/{number}/restore", context.root()).replace('%', "%%");
    format!(
        "\
# Written by ship for the service {service}. Changes are overwritten when it is deployed.
[Unit]
Description=Restore {service} in slot {number}
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

    fn context() -> HostContext {
        HostContext {
            service: "page".into(),
            base_dir: "/srv/50%".into(),
            epoch: Epoch(1),
            order: ActionId(1),
            host_address: "192.0.2.1".into(),
            slots: [(8081, vec![8081])].into(),
            proven: [].into(),
            owner: Owner::default(),
            is_remote: true,
        }
    }

    #[test]
    fn restore_unit_contains_the_slot() {
        insta::assert_snapshot!(unit(&context(), 8081), @r#"
        # Written by ship for the service page. Changes are overwritten when it is deployed.
        [Unit]
        Description=Restore page in slot 8081
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
    fn stop_contains_the_restore_script_only_if_it_arms() {
        let spec = |restore_after| StopSpec {
            number: 8081,
            instance: InstanceId::from("page-a"),
            stop_timeout: Duration::from_secs(30),
            hooks: Duration::ZERO,
            restore_after,
            may_linger: false,
        };
        let (plain, armed) = (
            stop(&context(), &spec(None)),
            stop(&context(), &spec(Some(Duration::from_secs(70)))),
        );
        assert!(!plain.text.contains("systemd-run") && plain.input == Input::default());
        assert!(armed.text.contains("systemd-run") && !armed.input.head.is_empty());
    }
}
