//! The systemd unit of an instance. Each slot has its own, because a release's settings must not
//! affect the instances of other releases.

use super::host_context::HostContext;
use super::start_spec::StartSpec;
use crate::core::release::own_user;
use crate::core::release::unit::UnitSection;
use crate::core::time::whole_seconds;

/// The text of `ship-SERVICE@SLOT.service`, without the last newline.
///
/// A directive of the playbook replaces one of the same name here, except for those that add to
/// each other. The journal's rate limit is so high that no line is dropped; systemd before 257
/// replaces a limit of 0 with its default.
pub fn unit(context: &HostContext, spec: &StartSpec) -> String {
    let number = spec.number;
    let path = format!("{}/slots/{number}", context.root());
    let slot = path.replace('%', "%%");
    let user = spec.user.as_deref().map_or_else(
        || own_user(&context.service),
        |user| user.replace('%', "%%"),
    );
    let service = &context.service;
    let mut unit_lines = vec![
        ("Description", format!("{service} in slot {number}")),
        ("After", "network.target".to_owned()),
        ("ConditionPathExists", format!("{slot}/instance")),
        ("StartLimitIntervalSec", "0".to_owned()),
    ];
    if spec.linger.is_some() {
        // A lingering instance must not be started again when it has finished its work.
        unit_lines.push(("ConditionPathExists", format!("!{slot}/linger")));
    }
    let stop_timeout_s = whole_seconds(spec.stop_timeout);
    let mut service_lines = vec![
        ("User", user),
        ("WorkingDirectory", format!("{slot}/release/app")),
        ("EnvironmentFile", format!("{slot}/env")),
        ("EnvironmentFile", format!("-{slot}/release/secrets")),
        (
            "ExecStart",
            format!("/bin/sh {}", exec_word(&format!("{slot}/run"))),
        ),
        ("ExecStopPost", record_exit(&slot)),
    ];
    if !spec.reload.is_empty() {
        service_lines.push(("ExecReload", reload_line(&path, &spec.reload)));
    }
    service_lines.extend([
        ("Restart", "always".to_owned()),
        ("RestartSec", "1".to_owned()),
        ("KillMode", "mixed".to_owned()),
        ("KillSignal", format!("SIG{}", spec.stop_signal.name())),
        ("TimeoutStopSec", stop_timeout_s.to_string()),
        ("SyslogIdentifier", service.clone()),
        ("LogRateLimitIntervalSec", "1s".to_owned()),
        ("LogRateLimitBurst", "1000000".to_owned()),
    ]);
    if spec.notifies {
        service_lines.push(("Type", "notify".to_owned()));
    }
    if may_start_slowly(spec) {
        // The rollout's own deadline applies.
        service_lines.push(("TimeoutStartSec", "infinity".to_owned()));
    }
    [
        format!(
            "# Written by ship for the service {service}. Changes are overwritten when it is deployed."
        ),
        section(spec, UnitSection::Unit, &unit_lines),
        String::new(),
        section(spec, UnitSection::Service, &service_lines),
        String::new(),
        "[Install]\nWantedBy=multi-user.target".to_owned(),
    ]
    .join("\n")
}

/// Directives that may occur several times, each adding to the others.
const ADDITIVE: [&str; 3] = ["After", "ConditionPathExists", "EnvironmentFile"];

/// A section with ship's lines, as far as the playbook does not replace them, and the playbook's.
fn section(spec: &StartSpec, section: UnitSection, lines: &[(&str, String)]) -> String {
    let is_replaced =
        |name: &str| !ADDITIVE.contains(&name) && spec.directives.get(section, name).is_some();
    let own = lines
        .iter()
        .filter(|(name, _)| !is_replaced(name))
        .map(|(name, value)| format!("{name}={value}"));
    let added = spec
        .directives
        .in_section(section)
        .map(|(name, value)| format!("{name}={value}"));
    let lines: Vec<_> = std::iter::once(format!("[{}]", section.name()))
        .chain(own)
        .chain(added)
        .collect();
    lines.join("\n")
}

/// The command that records how a process of the unit has ended, and when, in seconds since the
/// start of the host. It runs as root, because the slot
/// belongs to root, and never fails.
///
/// With version 1 of control groups, systemd does not notice that a process was killed for lack of
/// memory, but its group counts such kills.
fn record_exit(slot: &str) -> String {
    const RECORD: &str = "R=$SERVICE_RESULT; G=$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup); grep -qs '^oom_kill [1-9]' /sys/fs/cgroup/memory$G/memory.oom_control && R=oom-kill; echo $R $EXIT_CODE $EXIT_STATUS $(cut -d' ' -f1 /proc/uptime) >\"$0\"";
    let record = exec_word(&RECORD.replace('%', "%%"));
    format!(
        "-+/bin/sh -c {record} {}",
        exec_word(&format!("{slot}/exit"))
    )
}

/// The `ExecReload=` line of a command, in which `$MAINPID` is the main process. systemd accepts a
/// program only by its name or its absolute path, so a path in the release gets that of the slot.
fn reload_line(slot: &str, command: &[String]) -> String {
    let mut words = command.to_vec();
    if let Some(program) = words.first_mut()
        && program.contains('/')
        && !program.starts_with('/')
    {
        *program = format!("{slot}/release/app/{program}");
    }
    // Elsewhere, a shell may replace `$MAINPID`, which is also a variable of its environment.
    let words = words.iter().map(|word| match word.as_str() {
        "$MAINPID" => word.clone(),
        _ => exec_word(word).replace("$${MAINPID}", "${MAINPID}"),
    });
    let line = words.collect::<Vec<_>>().join(" ");
    line.replace('%', "%%")
}

/// Whether systemd may need long until it counts the unit as started, so that nothing waits for
/// that.
pub(super) fn may_start_slowly(spec: &StartSpec) -> bool {
    let directive = |name| spec.directives.get(UnitSection::Service, name);
    let is_notify = directive("Type").is_some_and(|kind| kind.starts_with("notify"));
    let has_command = ["ExecStartPre", "ExecStartPost", "ExecCondition"]
        .iter()
        .any(|name| directive(name).is_some());
    spec.notifies || is_notify || has_command
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
    use std::time::Duration;

    use super::*;
    use crate::core::fleet::owner::Owner;
    use crate::core::ids::{ActionId, Epoch};
    use crate::core::release::unit::Directives;
    use crate::script::start_spec::testing;

    fn context(base_dir: &str) -> HostContext {
        HostContext {
            service: "testpage".into(),
            base_dir: base_dir.into(),
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
    fn reload_is_a_command_of_the_unit() {
        let reload = |command: &str| {
            let spec = StartSpec {
                reload: command.split('|').map(str::to_owned).collect(),
                ..testing::start_spec()
            };
            let unit = unit(&context("/srv/100%"), &spec);
            let mut lines = unit.lines();
            let line = lines.find_map(|line| line.strip_prefix("ExecReload="));
            line.expect("a reload").to_owned()
        };
        assert_eq!(reload("kill|-HUP|$MAINPID"), r#""kill" "-HUP" $MAINPID"#);
        assert_eq!(
            reload("./bin/reload|-p${MAINPID}|100%"),
            r#""/srv/100%%/testpage/slots/8081/release/app/./bin/reload" "-p${MAINPID}" "100%%""#
        );
        assert_eq!(
            reload("/bin/sh|-c|kill $MAINPID"),
            r#""/bin/sh" "-c" "kill $$MAINPID""#
        );
    }

    #[test]
    fn unit_belongs_to_one_slot() {
        let spec = StartSpec {
            stop_timeout: Duration::from_millis(29_500),
            ..testing::start_spec()
        };
        insta::assert_snapshot!(unit(&context("/var/lib/ship"), &spec), @r#"
        # Written by ship for the service testpage. Changes are overwritten when it is deployed.
        [Unit]
        Description=testpage in slot 8081
        After=network.target
        ConditionPathExists=/var/lib/ship/testpage/slots/8081/instance
        StartLimitIntervalSec=0

        [Service]
        User=ship-testpage
        WorkingDirectory=/var/lib/ship/testpage/slots/8081/release/app
        EnvironmentFile=/var/lib/ship/testpage/slots/8081/env
        EnvironmentFile=-/var/lib/ship/testpage/slots/8081/release/secrets
        ExecStart=/bin/sh "/var/lib/ship/testpage/slots/8081/run"
        ExecStopPost=-+/bin/sh -c "R=$$SERVICE_RESULT; G=$$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup); grep -qs '^oom_kill [1-9]' /sys/fs/cgroup/memory$$G/memory.oom_control && R=oom-kill; echo $$R $$EXIT_CODE $$EXIT_STATUS $$(cut -d' ' -f1 /proc/uptime) >\"$$0\"" "/var/lib/ship/testpage/slots/8081/exit"
        Restart=always
        RestartSec=1
        KillMode=mixed
        KillSignal=SIGTERM
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
        let spec = StartSpec {
            user: Some("app".to_owned()),
            stop_timeout: Duration::ZERO,
            ..testing::start_spec()
        };
        let unit = unit(&context("/srv/50% of $HOME"), &spec);
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

    #[test]
    fn directives_of_the_playbook_replace_or_add_to_those_of_ship() {
        let section = |lines: &[(&str, &[&str])]| {
            let values = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
            lines
                .iter()
                .map(|(name, of)| ((*name).to_owned(), values(of)))
                .collect()
        };
        let spec = StartSpec {
            directives: Directives(
                [
                    (
                        UnitSection::Unit,
                        section(&[("After", &["postgresql.service"])]),
                    ),
                    (
                        UnitSection::Service,
                        section(&[
                            ("ExecStartPre", &["/bin/true", "/bin/date"]),
                            ("MemoryMax", &["512M"]),
                            ("RestartSec", &["5"]),
                            ("Type", &["notify"]),
                        ]),
                    ),
                ]
                .into(),
            ),
            ..testing::start_spec()
        };
        let unit = unit(&context("/var/lib/ship"), &spec);
        assert!(
            unit.contains("\nAfter=network.target\n")
                && unit.contains("\nAfter=postgresql.service\n"),
            "{unit}"
        );
        let service = unit.split("[Service]").nth(1).expect("a section");
        let added = "\nExecStartPre=/bin/true\nExecStartPre=/bin/date\nMemoryMax=512M\nRestartSec=5\nType=notify\n";
        assert!(service.contains(added), "{unit}");
        assert!(!service.contains("RestartSec=1\n"), "{unit}");
        assert!(service.contains("\nTimeoutStartSec=infinity\n"), "{unit}");
    }
}
