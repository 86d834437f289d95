//! The systemd driver's scripts, as far as they can be tried without systemd.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use ship::core::fleet::{Instance, Listener, Occupant, Process};
use ship::core::ids::InstanceId;
use ship::core::release::Driver;
use ship::script::{
    LogQuery, LogRange, Needs, Script, StartSpec, StopSpec, Unreadable, check, disarm, logs,
    observe, read_log_tail, read_reply, start, stop,
};

use crate::host::{Host, Release, Shell, now, shells};

fn launch(host: &Host, release: &Release) -> StartSpec {
    StartSpec {
        driver: Driver::Systemd,
        ..host.launch("a", release)
    }
}

#[test]
fn every_shell_parses_the_scripts() {
    for shell in shells() {
        let host = Host::with(shell);
        let release = Release::new("hello");
        let second = Duration::from_secs(1);
        let instance = InstanceId::from("a");
        let halt = StopSpec {
            number: host.port,
            instance,
            stop_timeout: second,
            hooks: second,
            restore_after: Some(second),
            may_linger: false,
        };
        let scripts = [
            observe(&host.site),
            start(&host.site, &launch(&host, &release)),
            stop(&host.site, &halt),
            disarm(&host.site, host.port),
            logs(
                &host.site,
                &LogQuery {
                    history_slots: [host.port].into(),
                    lines_max: 5,
                    range: LogRange::Instance,
                },
            ),
            check(
                &host.site,
                &Needs {
                    driver: Driver::Systemd,
                    user: Some("app"),
                    ..Needs::NONE
                },
            ),
        ];
        for mut script in scripts {
            script.text.insert_str(0, "set -n\n");
            let output = host.command(&script).output().expect("a shell");
            assert!(
                output.status.success() && output.stderr.is_empty(),
                "{shell:?}: {output:?}"
            );
        }
    }
}

#[test]
fn unit_of_the_service_in_another_directory_is_reported_and_left_alone() {
    for shell in shells() {
        let host = Host::with(shell);
        let release = Release::new("hello");
        host.stage(&release);
        let (units, other) = (
            host.dir.path().join("units"),
            host.dir.path().join("other/testpage"),
        );
        fs::create_dir_all(other.join("slots")).expect("directory");
        fs::create_dir(&units).expect("directory");
        let name = format!("ship-testpage@{}.service", host.port);
        let text = format!(
            "[Unit]\nConditionPathExists={}/slots/{}/instance\n",
            other.display(),
            host.port
        );
        fs::write(units.join(&name), &text).expect("unit");
        fake_systemctl(&host, "");

        let seen = host.order(&moved(&host, observe(&host.site)));
        let who = format!("the unit {name} of {}", other.display());
        assert_eq!(
            seen.slots.get(&host.port),
            Some(&Occupant::OtherProcess(who)),
            "{shell:?}"
        );
        let refused = host.run(&moved(&host, start(&host.site, &launch(&host, &release))));
        let why = format!(
            "the unit {name} belongs to {}; rename the service, or choose other ports",
            other.display()
        );
        assert_eq!(refused.failure(), why);
        assert_eq!(fs::read_to_string(units.join(&name)).expect("unit"), text);

        fs::remove_dir_all(&other).expect("directory");
        let seen = host.order(&moved(&host, observe(&host.site)));
        assert!(
            seen.slots.is_empty(),
            "{shell:?}: the remains of a removed directory do not interfere"
        );
    }
}

#[test]
fn without_systemd_a_start_is_refused_with_advice() {
    if std::path::Path::new("/run/systemd/system").exists() {
        eprintln!("not run: systemd runs on this machine");
        return;
    }
    let (host, release) = Host::with_release();
    let refused = host.run(&start(&host.site, &launch(&host, &release)));
    let advice = "systemd is not running on this host; set driver = \"process\"";
    assert_eq!(refused.failure(), advice);
    assert!(refused.reply().observation.slots.is_empty());
}

/// Where the script looks for systemd and its units, moved to a directory of the test's.
pub(crate) fn moved(host: &Host, script: Script) -> Script {
    let run = host.dir.path().to_str().expect("path");
    let text = script
        .text
        .replace("[ -d /run/systemd/system ]", &format!("[ -d '{run}' ]"));
    Script {
        text: text.replace(
            "UNIT_DIR='/etc/systemd/system'",
            &format!("UNIT_DIR='{run}/units'"),
        ),
        ..script
    }
}

fn start_moved(host: &Host, launch: &StartSpec) -> Instance {
    host.instance(host.order(&moved(host, start(&host.site, launch))))
}

pub(crate) fn calls(host: &Host) -> Vec<String> {
    let calls = fs::read_to_string(host.dir.path().join("calls")).unwrap_or_default();
    calls
        .lines()
        .filter(|call| !call.starts_with("show "))
        .map(String::from)
        .collect()
}

/// A `systemctl` that writes down how it was called; asked to show, it prints `shown`.
fn fake_systemctl(host: &Host, shown: &str) {
    let calls = host.dir.path().join("calls");
    let text = format!(
        "echo \"$*\" >>'{}'\n[ \"$1\" != show ] || printf '%s\\n' '{shown}'",
        calls.display()
    );
    host.fake("systemctl", &text);
}

#[test]
fn start_installs_the_unit_once_and_stop_empties_the_slot() {
    for shell in shells() {
        let host = Host::with(shell);
        let release = Release::new("hello");
        host.stage(&release);
        let units = host.dir.path().join("units");
        fs::create_dir(&units).expect("directory");
        host.fake(
            "useradd",
            &format!(
                "echo \"useradd $*\" >>'{}'",
                host.dir.path().join("calls").display()
            ),
        );
        let unit = format!("ship-testpage@{}.service", host.port);
        let shown = |state: &str| format!("Id={unit}\nNRestarts=0\nControlGroup=\n{state}");
        fake_systemctl(&host, &shown(&format!("MainPID={}", std::process::id())));
        let mut launch = launch(&host, &release);
        launch.settle = Duration::ZERO;
        launch.env.insert("A".into(), "it's".into());

        let instance = start_moved(&host, &launch);
        assert_eq!(instance.process, Process::Running);
        let started = format!("--no-ask-password start {unit}");
        let useradd = calls(&host).remove(0);
        assert!(
            useradd.starts_with("useradd --system ") && useradd.ends_with(" ship-testpage"),
            "{useradd}"
        );
        assert_eq!(
            calls(&host)[1..],
            ["daemon-reload".to_owned(), started],
            "{shell:?}"
        );
        let text = fs::read_to_string(units.join(&unit)).expect("unit");
        assert!(
            text.contains("\nUser=ship-testpage\n")
                && text.ends_with("\nWantedBy=multi-user.target\n"),
            "{text}"
        );
        let wanted = units.join("multi-user.target.wants").join(&unit);
        assert_eq!(fs::read_link(&wanted).expect("link"), units.join(&unit));
        assert!(host.slot().join("release/app/index.html").exists());
        assert_eq!(
            fs::read_to_string(host.slot().join("env")).expect("env"),
            "A=\"it's\"\n"
        );
        assert!(
            fs::read_to_string(host.slot().join("run"))
                .expect("run")
                .starts_with("exec '/usr/bin/env' 'python3'")
        );

        let count = calls(&host).len();
        start_moved(&host, &launch);
        assert_eq!(
            calls(&host).len(),
            count,
            "given twice, the second changes nothing"
        );

        let halt = host.halt("a", Duration::from_secs(1));
        let observation = host.order(&moved(&host, halt));
        assert!(observation.slots.is_empty());
        assert_eq!(
            calls(&host)[count..],
            [format!("--no-ask-password stop {unit}")],
            "{shell:?}"
        );
        assert!(
            fs::symlink_metadata(&wanted).is_err(),
            "it does not come back with the host"
        );
        let left: Vec<PathBuf> = fs::read_dir(host.slot())
            .expect("slot")
            .map(|e| e.expect("entry").path())
            .collect();
        assert!(left.is_empty(), "{left:?}");

        start_moved(&host, &launch);
        let reloads = calls(&host)
            .iter()
            .filter(|call| *call == "daemon-reload")
            .count();
        assert_eq!(reloads, 1, "a unit that is as it should be is left alone");
    }
}

/// A host with a second slot, systemd's directories and a fake `systemctl`, which shows both slots'
/// units as running and `more` with them.
fn host_with_units(more: &str) -> (Host, Release, PathBuf) {
    let (mut host, release) = (Host::new(), Release::new("hello"));
    host.stage(&release);
    let units = host.dir.path().join("units");
    fs::create_dir(&units).expect("directory");
    host.fake("useradd", "");
    host.site.slots.insert(SECOND_PORT, vec![SECOND_PORT]);
    let own = format!("ship-testpage@{}.service", host.port);
    let more = more
        .replace("UNITS", units.to_str().expect("path"))
        .replace("OWN", &own);
    let running = format!("MainPID={}\nNRestarts=0\nControlGroup=", std::process::id());
    let second = format!("ship-testpage@{SECOND_PORT}.service");
    fake_systemctl(
        &host,
        &format!("Id={own}\n{running}\n{more}\n\nId={second}\n{running}"),
    );
    (host, release, units)
}

/// No test listens there.
const SECOND_PORT: u16 = 1;

fn reloads(host: &Host) -> usize {
    calls(host)
        .iter()
        .filter(|call| *call == "daemon-reload")
        .count()
}

#[test]
fn slot_keeps_its_user_and_stop_timeout_when_another_slot_gets_a_release_with_others() {
    let (host, release, units) = host_with_units("");
    let first = StartSpec {
        settle: Duration::ZERO,
        ..launch(&host, &release)
    };
    host.order(&moved(&host, start(&host.site, &first)));
    let unit = |port: u16| {
        fs::read_to_string(units.join(format!("ship-testpage@{port}.service"))).expect("unit")
    };
    let before = unit(host.port);
    let second = StartSpec {
        number: SECOND_PORT,
        instance: InstanceId::from("b"),
        user: Some("root".into()),
        stop_timeout: Duration::from_secs(1),
        ..first
    };
    host.order(&moved(&host, start(&host.site, &second)));
    assert_eq!(unit(host.port), before);
    assert!(
        before.contains("\nUser=ship-testpage\n") && before.contains("\nTimeoutStopSec=10\n"),
        "{before}"
    );
    let second = unit(SECOND_PORT);
    assert!(
        second.contains("\nUser=root\n") && second.contains("\nTimeoutStopSec=1\n"),
        "{second}"
    );
    assert!(!units.join("ship-testpage@.service").exists());
}

#[test]
fn start_replaces_the_template_of_an_earlier_version_once_no_instance_runs_from_it() {
    let (host, release, units) = host_with_units("");
    let launch = StartSpec {
        settle: Duration::ZERO,
        ..launch(&host, &release)
    };
    let template = units.join("ship-testpage@.service");
    let text = format!(
        "[Service]\nWorkingDirectory={}/slots/%i/release/app\n",
        host.root().display()
    );
    fs::write(
        &template,
        "[Service]\nWorkingDirectory=/elsewhere/testpage/slots/%i/release/app\n",
    )
    .expect("template");
    start_moved(&host, &launch);
    host.order(&moved(&host, host.halt("a", Duration::from_secs(1))));
    assert!(template.exists(), "it is that of another directory");
    fs::write(&template, text).expect("template");
    fs::create_dir_all(host.root().join("slots/1")).expect("slot");
    let record = format!(
        "name=old\nrelease={}\nrevision=1\ndriver=systemd\n",
        release.id
    );
    fs::write(host.root().join("slots/1/instance"), record).expect("record");
    start_moved(&host, &launch);
    assert!(template.exists(), "an instance still runs from it");
    let old = StopSpec {
        number: SECOND_PORT,
        instance: InstanceId::from("old"),
        stop_timeout: Duration::from_secs(1),
        hooks: Duration::ZERO,
        restore_after: None,
        may_linger: false,
    };
    host.order(&moved(&host, stop(&host.site, &old)));
    host.order(&moved(&host, host.halt("a", Duration::from_secs(1))));
    let count = reloads(&host);
    start_moved(&host, &launch);
    assert!(!template.exists());
    assert_eq!(reloads(&host), count + 1);
}

#[test]
fn systemd_is_reloaded_only_if_it_does_not_know_the_units_as_they_are() {
    let shown =
        |unit: &str, reload: &str| format!("FragmentPath=UNITS/{unit}\nNeedDaemonReload={reload}");
    for (what, shown, want) in [
        (
            "a new unit that systemd reads by itself",
            shown("OWN", "no"),
            0,
        ),
        (
            "a new unit that was loaded from another file",
            shown("OWN", "yes"),
            1,
        ),
        (
            "a new unit that was loaded from the template",
            shown("ship-testpage@.service", "no"),
            1,
        ),
        (
            "a new unit that systemd does not find",
            "FragmentPath=".into(),
            1,
        ),
    ] {
        let (host, release, _) = host_with_units(&shown);
        let launch = StartSpec {
            settle: Duration::ZERO,
            ..launch(&host, &release)
        };
        start_moved(&host, &launch);
        assert_eq!(reloads(&host), want, "{what}");

        host.order(&moved(&host, host.halt("a", Duration::from_secs(1))));
        start_moved(&host, &launch);
        assert_eq!(reloads(&host), want, "{what}: the same unit again");

        host.order(&moved(&host, host.halt("a", Duration::from_secs(1))));
        start_moved(
            &host,
            &StartSpec {
                user: Some("root".into()),
                ..launch.clone()
            },
        );
        assert_eq!(reloads(&host), want + 1, "{what}: a unit that differs");
        assert!(!host.root().join("unread").exists());

        // A script that died between the two.
        fs::write(host.root().join("unread"), "").expect("file");
        host.order(&moved(&host, host.halt("a", Duration::from_secs(1))));
        start_moved(
            &host,
            &StartSpec {
                user: Some("root".into()),
                ..launch
            },
        );
        assert_eq!(
            reloads(&host),
            want + 2,
            "{what}: a unit that systemd may not have read"
        );
    }
}

#[test]
fn systemds_word_on_all_slots_is_asked_for_once() {
    for shell in shells() {
        let mut host = Host::with(shell);
        let release = Release::new("hello");
        host.stage(&release);
        host.site.slots.clear();
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("boot");
        for port in 1..=4 {
            let slot = host.root().join(format!("slots/{port}"));
            fs::create_dir(&slot).expect("slot");
            let record = format!(
                "name=i{port}\nrelease={}\nrevision=3\ndriver=systemd\nstarted=1.00",
                release.id
            );
            fs::write(slot.join("instance"), format!("{record}\nboot={boot}")).expect("record");
        }
        let block = |port: u16, rest: &str| format!("Id=ship-testpage@{port}.service\n{rest}");
        let shown = [
            block(
                1,
                "ActiveState=active\nType=notify\nSubState=running\nMainPID=1\nNRestarts=2\nControlGroup=/no/such\nExecMainCode=0\nExecMainStatus=0",
            ),
            block(
                2,
                "SubState=auto-restart\nMainPID=0\nNRestarts=7\nExecMainCode=1\nExecMainStatus=3",
            ),
            block(
                3,
                "SubState=failed\nMainPID=0\nNRestarts=0\nExecMainCode=2\nExecMainStatus=9\nResult=oom-kill",
            ),
            block(
                4,
                "SubState=dead\nMainPID=0\nNRestarts=0\nExecMainCode=0\nExecMainStatus=0",
            ),
        ];
        // What the unit of slot 1 has recorded about its previous process.
        let exit = host.root().join("slots/1/exit");
        fs::write(exit, "oom-kill killed KILL\n").expect("a file of the slot");
        fake_systemctl(&host, &shown.join("\n\n"));
        let slots = host.observe().slots;
        match slots.get(&1) {
            Some(Occupant::Instance(Instance { sighting, .. })) => assert_eq!(
                (sighting.has_notified, sighting.last_exit.as_str()),
                (true, "signal KILL: out of memory (see MemoryMax)"),
                "{shell:?}"
            ),
            other => panic!("{other:?}"),
        }
        let seen = |port: u16| match slots.get(&port) {
            Some(Occupant::Instance(instance)) => (instance.process.to_string(), instance.restarts),
            other => panic!("{other:?}"),
        };
        assert_eq!(seen(1), ("running".into(), 2), "{shell:?}");
        assert_eq!(
            seen(2),
            ("ended (exit status 3; systemd starts it again)".into(), 7)
        );
        assert_eq!(
            seen(3),
            ("ended (signal 9: out of memory (see MemoryMax))".into(), 0)
        );
        assert_eq!(seen(4), ("ended (not started)".into(), 0));
        assert_eq!(
            fs::read_to_string(host.dir.path().join("calls"))
                .expect("calls")
                .lines()
                .count(),
            1
        );

        host.fake(
            "systemctl",
            "echo 'Failed to connect to bus: No such file or directory' >&2; exit 1",
        );
        let unseen = read_reply(&host.run(&observe(&host.site)).stdout, now());
        let why = "systemctl show: Failed to connect to bus: No such file or directory";
        assert_eq!(unseen, Err(Unreadable::ObservationFailed(why.into())));
    }
}

#[test]
fn instance_whose_user_cannot_enter_its_directory_is_reported_with_that_directory() {
    let is_root = std::process::Command::new("id")
        .arg("-u")
        .output()
        .expect("id")
        .stdout
        == b"0\n";
    if !is_root
        || std::process::Command::new("setpriv")
            .arg("--version")
            .output()
            .is_err()
    {
        eprintln!("not run: becoming another user takes root and setpriv");
        return;
    }
    // Busybox has a setpriv that cannot become another user: there the directory is not tried.
    for shell in shells()
        .into_iter()
        .filter(|shell| *shell != Shell::Busybox)
    {
        let host = Host::with(shell);
        let release = Release::new("hello");
        host.stage(&release);
        fs::create_dir_all(host.slot()).expect("slot");
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("boot");
        let record = format!(
            "name=a\nrelease={}\nrevision=3\ndriver=systemd\nuser={}\nstarted=1.00",
            release.id, "nobody"
        );
        fs::write(
            host.slot().join("instance"),
            format!("{record}\nboot={boot}"),
        )
        .expect("record");
        let state =
            "SubState=auto-restart\nMainPID=0\nNRestarts=7\nExecMainCode=1\nExecMainStatus=200";
        fake_systemctl(
            &host,
            &format!("Id=ship-testpage@{}.service\n{state}", host.port),
        );
        fs::set_permissions(host.dir.path(), fs::Permissions::from_mode(0o700)).expect("mode");
        let barred = host.dir.path().display();
        let printed = format!(
            "ended (exit status 200: user nobody cannot enter {barred}; systemd starts it again)"
        );
        assert_eq!(
            host.instance(host.observe()).process.to_string(),
            printed,
            "{shell:?}"
        );
    }
}

#[test]
fn listening_main_process_belongs_to_the_instance() {
    let (host, release) = Host::with_release();
    fs::create_dir(host.dir.path().join("units")).expect("directory");
    host.fake("useradd", "");
    let state = format!("MainPID={}\nNRestarts=0\nControlGroup=", std::process::id());
    fake_systemctl(
        &host,
        &format!("Id=ship-testpage@{}.service\n{state}", host.port),
    );
    let starting = launch(&host, &release);
    let own = host.site.host_address.clone();
    let address = (own.as_str(), host.port);
    std::thread::scope(|scope| {
        let started = scope.spawn(|| start_moved(&host, &starting));
        // Only once the script has looked for strangers.
        crate::host::wait_for("the record", || host.slot().join("instance").exists());
        let _listener = std::net::TcpListener::bind(address).expect("bind");
        assert_eq!(
            started.join().expect("started").listener(host.port).clone(),
            Listener::Own {
                address: own.clone()
            }
        );
    });
}

/// The same script where control groups are mounted below a directory of the test's.
fn with_groups(host: &Host, script: Script) -> Script {
    let groups = host.dir.path().join("groups");
    let text = script
        .text
        .replace("/sys/fs/cgroup", groups.to_str().expect("path"));
    assert_ne!(text, script.text);
    Script { text, ..script }
}

/// Makes a control group that holds this process, if any.
fn fill_group(host: &Host, path: &str, pid: Option<u32>) {
    let group = host.dir.path().join("groups").join(path);
    fs::create_dir_all(&group).expect("group");
    fs::write(
        group.join("cgroup.procs"),
        pid.map(|pid| format!("{pid}\n")).unwrap_or_default(),
    )
    .expect("processes");
}

#[test]
fn process_in_a_control_group_below_the_units_is_the_instances() {
    for shell in shells() {
        for below in ["payload", "payload/deeper/still"] {
            for mounted in ["", "systemd/"] {
                let host = Host::with(shell);
                let release = Release::new("hello");
                let record = format!(
                    "name=a\nrelease={}\nrevision=3\ndriver=systemd\nstarted=1.00\nboot=x",
                    release.id
                );
                fs::create_dir_all(host.slot()).expect("slot");
                fs::write(host.slot().join("instance"), record).expect("record");
                let mut main = Command::new("sleep").arg("60").spawn().expect("sleep");
                let state = format!("MainPID={}\nNRestarts=0\nControlGroup=/unit", main.id());
                fake_systemctl(
                    &host,
                    &format!("Id=ship-testpage@{}.service\n{state}", host.port),
                );
                fill_group(&host, &format!("{mounted}unit"), Some(main.id()));
                fill_group(
                    &host,
                    &format!("{mounted}unit/{below}"),
                    Some(std::process::id()),
                );
                for between in ["payload", "payload/deeper"]
                    .iter()
                    .filter(|between| **between != below)
                {
                    fill_group(&host, &format!("{mounted}unit/{between}"), None);
                }
                let own = host.site.host_address.clone();
                let _listener =
                    std::net::TcpListener::bind((own.as_str(), host.port)).expect("bind");
                let seen = host.order(&with_groups(&host, observe(&host.site)));
                main.kill().and_then(|()| main.wait()).expect("kill");
                let what = format!("{shell:?}: {mounted}unit/{below}");
                assert_eq!(
                    host.instance(seen).listener(host.port).clone(),
                    Listener::Own { address: own },
                    "{what}"
                );
            }
        }
    }
}

#[test]
fn stop_ends_what_systemd_has_left_in_the_control_group() {
    for shell in shells() {
        let host = Host::with(shell);
        let release = Release::new("hello");
        let record = format!(
            "name=a\nrelease={}\nrevision=3\ndriver=systemd\nstarted=1.00\nboot=x",
            release.id
        );
        fs::create_dir_all(host.slot()).expect("slot");
        fs::create_dir_all(host.root().join("tmp")).expect("directory");
        fs::create_dir_all(host.root().join("releases")).expect("directory");
        fs::write(host.slot().join("instance"), record).expect("record");
        fake_systemctl(&host, "ActiveState=failed\nControlGroup=/unit\nMainPID=0");
        let mut leftovers = [
            "exec sleep 60",
            "trap '' TERM; while :; do sleep 0.05; done",
        ]
        .map(|script| Command::new("sh").args(["-c", script]).spawn().expect("sh"));
        fill_group(&host, "unit", Some(leftovers[0].id()));
        fill_group(&host, "unit/below", Some(leftovers[1].id()));
        let halt = with_groups(
            &host,
            moved(&host, host.halt("a", Duration::from_millis(300))),
        );
        assert!(host.order(&halt).slots.is_empty(), "{shell:?}");
        let ends = leftovers
            .each_mut()
            .map(|leftover| leftover.try_wait().expect("status"));
        assert!(ends.iter().all(Option::is_some), "{shell:?}: {ends:?}");
        let unit = format!("ship-testpage@{}.service", host.port);
        assert_eq!(
            calls(&host).last(),
            Some(&format!("reset-failed {unit}")),
            "{shell:?}"
        );
    }
}

/// Records that the slot has an instance of the systemd driver.
fn record_instance(host: &Host) {
    let slot = host.slot();
    fs::create_dir_all(&slot).expect("slot");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("boot");
    let record = format!("driver=systemd\nstarted=1.00\nboot={boot}");
    fs::write(slot.join("instance"), record).expect("record");
}

#[test]
fn logs_query_the_journal_for_the_current_instance() {
    let host = Host::new();
    record_instance(&host);
    host.fake("journalctl", "printf '8081 %s\\n' \"$@\"");
    let query = LogQuery {
        history_slots: [host.port].into(),
        lines_max: 9,
        range: LogRange::Instance,
    };
    let script = logs(&host.site, &query);
    let printed = host.run(&moved(&host, script)).stdout;
    let asked = read_log_tail(&printed, 99);
    // Journals of systemd before 254 count lines from the beginning, but for a reversed list.
    assert!(
        asked.contains(&"--reverse".to_owned()) && asked.contains(&"--lines=9".to_owned()),
        "{asked:?}"
    );
    assert!(
        asked.contains(&format!("--unit=ship-testpage@{}.service", host.port)),
        "{asked:?}"
    );
    assert!(
        asked
            .iter()
            .any(|word| word.starts_with("--since=-") && word.ends_with("0ms")),
        "{asked:?}"
    );
}

#[test]
fn logs_before_restart_end_with_the_run_that_exited() {
    let host = Host::new();
    record_instance(&host);
    // The journal in reverse: the current run, systemd's message, and the run that exited.
    host.fake(
        "journalctl",
        r#"for line in 2:ready 2:starting :restarted 1:fatal 1:ready 1:starting; do
    printf '{"MESSAGE":"%s","_SYSTEMD_INVOCATION_ID":"%s"}\n' "${line#*:}" "${line%%:*}"
done"#,
    );
    let printed = |main_pid: u32, restarts: u32, range: LogRange| {
        let show = format!("printf 'MainPID={main_pid}\nNRestarts={restarts}\nInvocationID=2\n'");
        host.fake("systemctl", &show);
        let query = LogQuery {
            history_slots: [host.port].into(),
            lines_max: 3,
            range,
        };
        let script = logs(&host.site, &query);
        read_log_tail(&host.run(&moved(&host, script)).stdout, 3)
    };
    let exited = ["ready", "fatal", "restarted"];
    let newest = ["restarted", "starting", "ready"];
    assert_eq!(printed(7, 1, LogRange::InstanceBeforeRestart), exited);
    assert_eq!(printed(7, 1, LogRange::Instance), newest);
    // Nothing is left out if it was never restarted, or has ended again.
    assert_eq!(printed(7, 0, LogRange::InstanceBeforeRestart), newest);
    assert_eq!(printed(0, 1, LogRange::InstanceBeforeRestart), newest);
}
