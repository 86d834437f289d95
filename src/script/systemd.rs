//! The systemd unit of an instance. Each slot has its own, because a release's settings must not
//! affect the instances of other releases.

use std::time::Duration;

use super::host_context::HostContext;
use crate::core::ids::Port;
use crate::core::release::own_user;
use crate::core::time::whole_seconds;

/// The text of `ship-SERVICE@PORT.service`, without the last newline.
///
/// The journal's rate limit is so high that no line is dropped; systemd before 257 replaces a limit
/// of 0 with its default.
pub(super) fn unit(
    context: &HostContext,
    port: Port,
    user: Option<&str>,
    stop_timeout: Duration,
) -> String {
    let slot = format!("{}/slots/{port}", context.root()).replace('%', "%%");
    let user = user.map_or_else(
        || own_user(&context.service),
        |user| user.replace('%', "%%"),
    );
    let service = &context.service;
    let stop_timeout_s = whole_seconds(stop_timeout);
    format!(
        "\
# Written by ship for the service {service}. Changes are overwritten when it is deployed.
[Unit]
Description={service} on port {port}
After=network.target
ConditionPathExists={slot}/instance
StartLimitIntervalSec=0

[Service]
User={user}
WorkingDirectory={slot}/release/app
EnvironmentFile={slot}/env
EnvironmentFile=-{slot}/release/secrets
ExecStart=/bin/sh {run}
Restart=always
RestartSec=1
KillMode=mixed
TimeoutStopSec={stop_timeout_s}
SyslogIdentifier={service}
LogRateLimitIntervalSec=1s
LogRateLimitBurst=1000000

[Install]
WantedBy=multi-user.target",
        run = exec_word(&format!("{slot}/run")),
    )
}

/// One word of an `ExecStart=` line.
pub(super) fn exec_word(word: &str) -> String {
    format!(
        "\"{}\"",
        word.replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('$', "$$")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::fleet::owner::Owner;
    use crate::core::ids::{ActionId, Epoch};

    fn context(base_dir: &str) -> HostContext {
        HostContext {
            service: "testpage".into(),
            base_dir: base_dir.into(),
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
    fn unit_belongs_to_one_slot() {
        insta::assert_snapshot!(unit(&context("/var/lib/ship"), 8081, None, Duration::from_millis(29_500)), @r#"
        # Written by ship for the service testpage. Changes are overwritten when it is deployed.
        [Unit]
        Description=testpage on port 8081
        After=network.target
        ConditionPathExists=/var/lib/ship/testpage/slots/8081/instance
        StartLimitIntervalSec=0

        [Service]
        User=ship-testpage
        WorkingDirectory=/var/lib/ship/testpage/slots/8081/release/app
        EnvironmentFile=/var/lib/ship/testpage/slots/8081/env
        EnvironmentFile=-/var/lib/ship/testpage/slots/8081/release/secrets
        ExecStart=/bin/sh "/var/lib/ship/testpage/slots/8081/run"
        Restart=always
        RestartSec=1
        KillMode=mixed
        TimeoutStopSec=30
        SyslogIdentifier=testpage
        LogRateLimitIntervalSec=1s
        LogRateLimitBurst=1000000

        [Install]
        WantedBy=multi-user.target
        "#);
    }

    #[test]
    fn unit_escapes_special_characters_of_systemd() {
        let unit = unit(
            &context("/srv/50% of $HOME"),
            8081,
            Some("app"),
            Duration::ZERO,
        );
        assert!(
            unit.contains("\nExecStart=/bin/sh \"/srv/50%% of $$HOME/testpage/slots/8081/run\"\n"),
            "{unit}"
        );
        assert!(
            unit.contains(
                "\nWorkingDirectory=/srv/50%% of $HOME/testpage/slots/8081/release/app\n"
            ),
            "{unit}"
        );
        assert!(unit.contains("\nTimeoutStopSec=1\n"), "{unit}");
    }
}
