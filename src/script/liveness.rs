//! The liveness probe that a host makes by itself: a script in the slot, and the units by which
//! systemd runs it.

use std::time::Duration;

use super::site::{HostContext, SERVICE_PATH, Text, centiseconds};
use super::systemd::exec_word;
use crate::core::release::{Liveness, LivenessCheck};
use crate::core::time::whole_seconds;
use crate::script::launch::{StartSpec, enter_release};
use crate::script::quote::quote_all;

/// How long the script waits for the lock: two slots may have something to say at the same moment,
/// but whoever holds it for longer is ship at work.
const PATIENCE: Duration = Duration::from_secs(1);
/// The time for a question in addition to its known waits.
const MARGIN: Duration = Duration::from_mins(1);

/// The units that run the question of a slot, each without its last newline; empty where nobody
/// asks.
#[derive(Default)]
pub(super) struct Units {
    pub(super) service: String,
    pub(super) timer: String,
}

/// The programs of which a host needs one to ask, in the order of preference. A command needs one
/// to become the instance's user.
pub(super) fn askers(check: &LivenessCheck) -> &'static [&'static str] {
    match check {
        LivenessCheck::Tcp => &["bash"],
        LivenessCheck::Http(_) => &["curl", "bash", "wget"],
        LivenessCheck::Command(_) => &["setpriv"],
    }
}

/// The script that probes a slot's instance once and ends it after enough failures.
pub(super) fn question(site: &HostContext, launch: &StartSpec, liveness: &Liveness) -> String {
    let (way, path, argv) = match &liveness.check {
        LivenessCheck::Tcp => ("tcp", "", &[][..]),
        LivenessCheck::Http(path) => ("http", path.as_str(), &[][..]),
        LivenessCheck::Command(argv) => ("command", "", argv.as_slice()),
    };
    let enter = enter_release(site, launch.port, &launch.release);
    Text::looking(site)
        .set("PORT", launch.port)
        .set("WAY", way)
        .set("HTTP_PATH", path)
        .set(
            "HTTP_HOST",
            liveness.host_header.as_deref().unwrap_or_default(),
        )
        .set("RUN", format!("{enter}\nexec \"$@\" {}", quote_all(argv)))
        .running_as(site, launch.driver, launch.user.as_deref())
        .set("SERVICE_PATH", SERVICE_PATH)
        .set("TIMEOUT_S", whole_seconds(liveness.timeout))
        .set("FAILURES", liveness.failure_threshold)
        .set("DELAY_CS", centiseconds(liveness.initial_delay))
        .set("STOP_CS", centiseconds(launch.stop_timeout))
        .set("PATIENCE_CS", centiseconds(PATIENCE))
        .add(include_str!("sh/alone.sh"))
        .add(include_str!("sh/lock.sh"))
        .add(include_str!("sh/ask.sh"))
        .add(include_str!("sh/liveness.sh"))
        .text()
}

/// The units that ask a slot's liveness question.
pub(super) fn units(site: &HostContext, launch: &StartSpec, liveness: &Liveness) -> Units {
    let (service, port) = (&site.service, launch.port);
    let script = format!("{}/slots/{port}/liveness", site.root());
    let head = format!(
        "# Written by ship for the service {service}. Changes are overwritten when it is \
         deployed.\n[Unit]"
    );
    let deadline = liveness.timeout + launch.stop_timeout * 2 + MARGIN;
    let interval_ms = liveness.interval.as_millis();
    Units {
        service: format!(
            "\
{head}
Description=Whether {service} on port {port} still answers
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
Description=Whether {service} on port {port} still answers

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
    use std::collections::BTreeMap;

    use super::*;
    use crate::core::fleet::owner::Owner;
    use crate::core::ids::{ActionId, Epoch, InstanceId, ReleaseId, Revision};
    use crate::core::release::Driver;
    use crate::script::launch::SlotHooks;

    fn launch(check: LivenessCheck) -> StartSpec {
        StartSpec {
            port: 8081,
            instance: InstanceId::from("page-a"),
            release: ReleaseId::from("a".repeat(64)),
            revision: Revision(1),
            version: "1".into(),
            driver: Driver::Systemd,
            user: None,
            argv: vec!["./page".into()],
            env: BTreeMap::new(),
            stop_timeout: Duration::from_secs(30),
            liveness: Some(Liveness {
                check,
                interval: Duration::from_millis(1500),
                timeout: Duration::from_secs(2),
                failure_threshold: 3,
                initial_delay: Duration::ZERO,
                host_header: None,
            }),
            hooks: SlotHooks::default(),
            patience: Duration::ZERO,
            settle: Duration::ZERO,
        }
    }

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
    fn the_units_name_the_slot_and_its_interval() {
        let launch = launch(LivenessCheck::Tcp);
        let units = units(
            &site(),
            &launch,
            launch.liveness.as_ref().expect("liveness"),
        );
        insta::assert_snapshot!(units.service, @r#"
        # Written by ship for the service page. Changes are overwritten when it is deployed.
        [Unit]
        Description=Whether page on port 8081 still answers
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
        Description=Whether page on port 8081 still answers

        [Timer]
        OnActiveSec=1500ms
        OnUnitActiveSec=1500ms
        AccuracySec=100ms

        [Install]
        WantedBy=timers.target
        ");
    }

    #[test]
    fn a_question_takes_no_room_on_the_command_line() {
        let launch = launch(LivenessCheck::Command(vec!["word".repeat(1 << 16)]));
        let start = crate::script::start::start(&site(), &launch);
        assert!(start.text.len() < 48 << 10, "{}", start.text.len());
        assert!(start.input.head.len() > 1 << 16);
    }
}
