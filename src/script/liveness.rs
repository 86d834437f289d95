//! The liveness probe that a host runs on its own: a script in the slot, and the systemd units that
//! run it.

use std::time::Duration;

use super::host_context::{HostContext, SERVICE_PATH, Text, centiseconds};
use super::systemd::exec_word;
use crate::core::release::{Liveness, LivenessCheck};
use crate::core::time::whole_seconds;
use crate::script::probe::probe_run;
use crate::script::start_spec::{StartSpec, enter_release};

/// How long the probe waits for the lock. The probe of another slot, which may count a failure at
/// the same time, holds it for a shorter time; whatever holds it for longer is a ship script.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);
/// The margin of a probe's time limit, in addition to its known waits.
const MARGIN: Duration = Duration::from_mins(1);

/// The units that run the probe of a slot, each without its last newline; empty without a probe.
#[derive(Default)]
pub(super) struct Units {
    pub(super) service: String,
    pub(super) timer: String,
}

/// The programs for the probe, in order of preference; the host needs one of them. A command probe
/// needs one to change to the instance's user.
pub(super) fn probe_tools(check: &LivenessCheck) -> &'static [&'static str] {
    match check {
        LivenessCheck::Tcp => &["bash"],
        LivenessCheck::Http(_) => &["curl", "bash", "wget"],
        LivenessCheck::Command(_) => &["setpriv"],
    }
}

/// The script that probes a slot's instance once, and kills it after enough failures.
pub(super) fn probe_script(context: &HostContext, spec: &StartSpec, liveness: &Liveness) -> String {
    let (kind, path, argv) = match &liveness.check {
        LivenessCheck::Tcp => ("tcp", "", &[][..]),
        LivenessCheck::Http(path) => ("http", path.as_str(), &[][..]),
        LivenessCheck::Command(argv) => ("command", "", argv.as_slice()),
    };
    let enter = enter_release(context, spec.number, &spec.release);
    Text::observing(context)
        .set("NUMBER", spec.number)
        .set("PORT", probed_port(spec, liveness))
        .set("STOP_SIGNAL", spec.stop_signal.name())
        .set("PROBE_KIND", kind)
        .set("HTTP_PATH", path)
        .set(
            "HTTP_HOST",
            liveness.host_header.as_deref().unwrap_or_default(),
        )
        .set("RUN", probe_run(&enter, &spec.instance, argv))
        .running_as(context, spec.driver, spec.user.as_deref())
        .set("SERVICE_PATH", SERVICE_PATH)
        .set("TIMEOUT_S", whole_seconds(liveness.timeout))
        .set("FAILURES", liveness.failure_threshold)
        .set("DELAY_CS", centiseconds(liveness.initial_delay))
        .set("STOP_CS", centiseconds(spec.stop_timeout))
        .set("LOCK_TIMEOUT_CS", centiseconds(LOCK_TIMEOUT))
        .add(include_str!("sh/without_controller.sh"))
        .add(include_str!("sh/lock.sh"))
        .add(include_str!("sh/probe_command.sh"))
        .add(include_str!("sh/liveness.sh"))
        .into_text()
}

/// The port to probe; empty for a command.
fn probed_port(spec: &StartSpec, liveness: &Liveness) -> String {
    match liveness.check {
        LivenessCheck::Command(_) => String::new(),
        _ => spec
            .liveness_port
            .map(|port| port.to_string())
            .unwrap_or_default(),
    }
}

/// The units that run a slot's liveness probe.
pub(super) fn units(context: &HostContext, spec: &StartSpec, liveness: &Liveness) -> Units {
    let (service, number) = (&context.service, spec.number);
    let script = format!("{}/slots/{number}/liveness", context.root());
    let head = format!(
        "# Written by ship for the service {service}. Changes are overwritten when it is \
         deployed.\n[Unit]"
    );
    let deadline = liveness.timeout + spec.stop_timeout * 2 + MARGIN;
    let interval_ms = liveness.interval.as_millis();
    Units {
        service: format!(
            "\
{head}
Description=Liveness probe of {service} in slot {number}
ConditionPathExists={condition}
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart=/bin/sh {run}
TimeoutStartSec={deadline_s}
TimeoutStopSec=1
SyslogIdentifier={service}
SyslogLevel=notice
LogLevelMax=notice",
            condition = script.replace('%', "%%"),
            run = exec_word(&script.replace('%', "%%")),
            deadline_s = whole_seconds(deadline),
        ),
        timer: format!(
            "\
{head}
Description=Liveness probe of {service} in slot {number}

[Timer]
OnActiveSec={interval_ms}ms
OnUnitActiveSec={interval_ms}ms
AccuracySec=100ms

[Install]
WantedBy=timers.target"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::fleet::owner::Owner;
    use crate::core::ids::{ActionId, Epoch};
    use crate::script::start_spec::testing;

    fn spec(check: LivenessCheck) -> StartSpec {
        StartSpec {
            liveness: Some(Liveness {
                check,
                port: None,
                interval: Duration::from_millis(1500),
                timeout: Duration::from_secs(2),
                failure_threshold: 3,
                initial_delay: Duration::ZERO,
                host_header: None,
            }),
            ..testing::start_spec()
        }
    }

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
    fn liveness_units_contain_the_slot_and_the_interval() {
        let spec = spec(LivenessCheck::Tcp);
        let units = units(&context(), &spec, spec.liveness.as_ref().expect("liveness"));
        insta::assert_snapshot!(units.service, @r#"
        # Written by ship for the service page. Changes are overwritten when it is deployed.
        [Unit]
        Description=Liveness probe of page in slot 8081
        ConditionPathExists=/srv/50%%/page/slots/8081/liveness
        StartLimitIntervalSec=0

        [Service]
        Type=oneshot
        ExecStart=/bin/sh "/srv/50%%/page/slots/8081/liveness"
        TimeoutStartSec=122
        TimeoutStopSec=1
        SyslogIdentifier=page
        SyslogLevel=notice
        LogLevelMax=notice
        "#);
        insta::assert_snapshot!(units.timer, @"
        # Written by ship for the service page. Changes are overwritten when it is deployed.
        [Unit]
        Description=Liveness probe of page in slot 8081

        [Timer]
        OnActiveSec=1500ms
        OnUnitActiveSec=1500ms
        AccuracySec=100ms

        [Install]
        WantedBy=timers.target
        ");
    }

    #[test]
    fn liveness_probe_is_sent_as_input_not_on_the_command_line() {
        let spec = spec(LivenessCheck::Command(vec!["word".repeat(1 << 16)]));
        let start = crate::script::start::start(&context(), &spec);
        assert!(start.text.len() < 1 << 16, "{}", start.text.len());
        assert!(start.input.head.len() > 1 << 16);
    }
}
